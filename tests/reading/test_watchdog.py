import multiprocessing
import os
import signal
import time

import pytest
from streaming import StreamingDataLoader

from conftest import make_dataset
from faults.world import is_alive
from streamdocs.reading.watchdog import end_with_parent


def wait_for_a_lock(lock, sender) -> None:
    end_with_parent()
    end_with_parent()
    sender.send(os.getpid())
    lock.acquire()


def start_one_that_waits(method: str, sender) -> None:
    context = multiprocessing.get_context(method)
    lock = context.Lock()
    lock.acquire()
    context.Process(target=wait_for_a_lock, args=(lock, sender)).start()
    signal.pause()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_who_waits_for_ever_ends_with_its_parent(method):
    receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
    parent = multiprocessing.get_context("spawn").Process(target=start_one_that_waits, args=(method, sender))
    parent.start()
    assert receiver.poll(60)
    child = receiver.recv()
    time.sleep(2.5)
    assert is_alive(child)  # while its parent is
    parent.kill()
    parent.join()
    deadline = time.monotonic() + 30
    while is_alive(child):
        assert time.monotonic() < deadline, "it outlives its parent"
        time.sleep(0.05)


def die_with_the_first_worker(corpus, sender) -> None:
    loader = StreamingDataLoader(
        make_dataset(corpus), batch_size=4, num_workers=1, multiprocessing_context=multiprocessing.get_context("fork")
    )
    os.register_at_fork(
        after_in_child=lambda: (time.sleep(1), sender.send(os.getpid())),
        after_in_parent=lambda: os.kill(os.getpid(), signal.SIGKILL),
    )
    next(iter(loader))


def test_a_worker_whose_trainer_is_killed_before_it_asks_for_anything_ends(small_corpus):
    receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
    trainer = multiprocessing.get_context("spawn").Process(
        target=die_with_the_first_worker, args=(small_corpus, sender)
    )
    trainer.start()
    trainer.join()
    assert receiver.poll(30)
    worker, deadline = receiver.recv(), time.monotonic() + 20
    while is_alive(worker):
        assert time.monotonic() < deadline, "it outlives its trainer"
        time.sleep(0.05)
