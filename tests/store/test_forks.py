"""A process that is forked while its other threads use the store."""

import multiprocessing
import threading
import time

import pytest

from streamdocs.store import LmdbStore, environment

FORK = multiprocessing.get_context("fork")


@pytest.mark.timeout(60)
def test_a_child_does_not_wait_for_threads_that_it_has_not(tmp_path):
    stores = [LmdbStore(str(tmp_path / name)) for name in ("one", "other")]
    for store in stores:
        store.add("texts", {b"a": b"1"})
    over, errors = threading.Event(), []

    def use() -> None:
        try:
            while not over.is_set():
                stores[0].update(b"counter", lambda old: b"%d" % (int(old or b"0") + 1))
                with stores[0].read() as snapshot, stores[1].read() as other:  # while it forks: within one, the other
                    assert snapshot.get("texts", b"a") == other.get("texts", b"a")
                stores[1].delete("texts", [b"b"])
        except Exception as error:
            errors.append(error)

    def read() -> None:
        for store in stores:
            with store.read() as snapshot:
                assert snapshot.get("texts", b"a") == b"1"
        stores[0].update(b"counter", lambda old: b"%d" % (int(old) + 1))

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    children = [FORK.Process(target=read) for _ in range(40)]
    for child in children:
        child.start()
    for child in children:
        child.join(20)
    ended = [child.exitcode for child in children]
    over.set()
    for child in children:
        child.kill()
    for thread in threads:
        thread.join()
    assert ended == [0] * len(children) and not errors


def test_a_fork_waits_for_who_is_reading(tmp_path):
    store = LmdbStore(str(tmp_path))
    store.add("texts", {b"a": b"1"})
    reading, read = threading.Event(), []

    def use() -> None:
        with store.read() as snapshot:
            reading.set()
            time.sleep(0.5)
            read.append(snapshot.get("texts", b"a"))

    reader = threading.Thread(target=use)
    reader.start()
    assert reading.wait(10)
    child = FORK.Process(target=store.add, args=("texts", {b"b": b"2"}))
    child.start()
    assert read == [b"1"]
    child.join(20)
    reader.join()
    assert child.exitcode == 0
    with store.read() as snapshot:
        assert snapshot.get("texts", b"b") == b"2"


def test_a_fork_does_not_wait_for_ever(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(environment, "_PATIENCE", 0.2)
    store = LmdbStore(str(tmp_path))
    store.add("texts", {b"a": b"1"})
    reading, over = threading.Event(), threading.Event()

    def use() -> None:
        with store.read():
            reading.set()
            over.wait(20)

    reader = threading.Thread(target=use)
    reader.start()
    assert reading.wait(10)
    child = FORK.Process(target=store.size)
    child.start()
    child.join(20)
    over.set()
    reader.join()
    assert "another thread has been using a store for 0 s" in caplog.text
    assert child.exitcode == 1  # it says so, and does not hang
    with store.read() as snapshot:
        assert snapshot.get("texts", b"a") == b"1"
