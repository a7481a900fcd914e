"""What workers share is worked out once, is the same as without sharing, and goes with whoever made it."""

import multiprocessing
import os
import signal
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from conftest import forked, make_dataset
from streamdocs.reading import shared_arrays
from streamdocs.reading.assembly import _WebPass
from streamdocs.reading.shared_arrays import SharedArrays
from streamdocs.schedule.order import Shuffle, SourceOrder


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def made(number: int) -> np.ndarray:
    return np.arange(5) + number


def never() -> np.ndarray:
    raise AssertionError("it was there already")


def files(temporary: Path) -> list[str]:
    return sorted(each.name for each in temporary.rglob("*.npy"))


def test_who_needs_one_first_works_it_out_and_two_beside_it_are_kept(temporary):
    shared = SharedArrays()
    for number in range(4):
        assert shared.get("a", number, partial(made, number)).tolist() == made(number).tolist()
    first = shared.get("b-1", 0, partial(made, 7))
    assert files(temporary) == ["a-2.npy", "a-3.npy", "b-1-0.npy"]
    with forked(2) as pool:
        assert pool.submit(shared.get, "b-1", 0, never).result(60).tolist() == first.tolist()
    assert not first.flags.writeable and type(first) is np.ndarray
    del shared
    assert not os.listdir(temporary) and first.tolist() == made(7).tolist()  # who has it mapped goes on with it


def test_of_two_that_work_it_out_together_both_map_one_file(temporary):
    shared = SharedArrays()
    inner = []

    def meanwhile() -> np.ndarray:
        inner.append(shared.get("a", 0, partial(made, 1)))
        return made(1)

    found = shared.get("a", 0, meanwhile)
    (path,) = temporary.rglob("*.npy")
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(bytes(8))
    assert found[-1] == inner[0][-1] == 0
    assert len(list(path.parent.iterdir())) == 1


def test_without_room_arrays_stay_in_memory(temporary, monkeypatch):
    shared = SharedArrays()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        assert shared.get("a", 0, partial(made, 1)).tolist() == made(1).tolist()
    (folder,) = temporary.iterdir()
    assert not list(folder.iterdir())
    folder.rmdir()  # somebody tidied up
    assert shared.get("a", 0, partial(made, 1)).tolist() == made(1).tolist()


def share_and_wait(ready) -> None:
    shared = SharedArrays()
    shared.get("a", 0, partial(made, 1))
    ready.set()
    signal.pause()


def test_what_a_killed_trainer_left_goes_with_the_next_one(temporary):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    child = context.Process(target=share_and_wait, args=(ready,))
    child.start()
    assert ready.wait(60)
    SharedArrays()
    assert files(temporary) == ["a-0.npy"]
    child.kill()
    child.join()
    SharedArrays()
    assert not os.listdir(temporary)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_runs_that_share_read_the_same(small_corpus, full_store, monkeypatch, temporary, start):
    def read(workers: int) -> list:
        dataset = make_dataset(small_corpus, full_store)
        context = start if workers else None
        loader = DataLoader(dataset, batch_size=4, num_workers=workers, multiprocessing_context=context)
        found = [each["input_ids"].tolist() for each in loader]
        kept.append(files(temporary))
        return found

    kept: list[list[str]] = []
    expected = read(0)
    monkeypatch.setattr(shared_arrays, "_MANY", 1)
    assert read(2) == read(0) == expected
    assert kept == [[], *2 * [["web-0.npy", "web-1.npy"]]]


def test_orders_and_ranks_are_the_same_shared():
    sizes = np.array([30, 40, 50])
    alone, shared = SourceOrder(sizes, Shuffle(1), "synthetic"), SourceOrder(sizes, Shuffle(1), "synthetic")
    shared.share(SharedArrays().get)
    for _ in range(2):
        for sweep in range(3):
            np.testing.assert_array_equal(shared.rank(sweep), alone.rank(sweep))
            np.testing.assert_array_equal(shared.order(sweep), alone.order(sweep))


@pytest.mark.parametrize("stride", [1, 3, 4096])
def test_documents_of_a_stretch_of_a_pass(small_corpus, monkeypatch, stride):
    monkeypatch.setattr(_WebPass, "_STRIDE", stride)
    run = make_dataset(small_corpus).run
    order = run.web[0].order.order(0)
    ends = np.cumsum(run.web[0].document_tokens(order))
    found = _WebPass(order, run.web[0])
    rng = np.random.default_rng(0)
    stretches = [(0, 1), (0, ends[-1]), (ends[-1] - 1, ends[-1] + 9), (ends[3], ends[4]), (ends[3] - 1, ends[3] + 1)]
    for one, other in [*stretches, *rng.integers(0, ends[-1], (200, 2))]:
        start, stop = min(one, other), max(one, other) + (one == other)
        documents, before = found.between(int(start), int(stop))
        here = [
            n for n, end in enumerate(ends) if end > start and end - run.web[0].document_tokens(order[[n]])[0] < stop
        ]
        assert documents.tolist() == order[here].tolist()
        assert before == start - (ends[here[0] - 1] if here[0] else 0)
