"""Which rank reads what, whoever says which rank it is; and what a loader, or a look at one batch, does to that."""

import json
import logging
import sys
from types import SimpleNamespace

import pytest
import torch
from streaming import StreamingDataLoader
from torch import distributed, multiprocessing
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from streamdocs import StreamingMegadocDataset
from streamdocs.errors import ConfigError

EPOCH = 48


@pytest.fixture
def make(small_corpus):
    def make_one(**options) -> StreamingMegadocDataset:
        options = {"max_seq_len": 64, "batch_size": 4, "epoch_size": EPOCH, **options}
        return StreamingMegadocDataset(local=small_corpus, **options)

    return make_one


@pytest.fixture
def places(make):
    """Positions of sequences, by their tokens."""
    dataset = make()
    of_row = {dataset[p]["input_ids"].numpy().tobytes(): p for p in range(3 * EPOCH)}
    return lambda rows: [of_row[row.numpy().tobytes()] for row in rows]


def positions(places, batches) -> list[int]:
    return [p for batch in batches for p in places(batch["input_ids"])]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_workers": 2},
        {"num_workers": 2, "persistent_workers": True},
        {"num_workers": 1, "multiprocessing_context": "forkserver"},
        {"num_workers": 3, "prefetch_factor": 4},
    ],
    ids=str,
)
def test_after_looks_at_one_batch_training_begins_at_the_beginning(make, places, options):
    for loader_of_training in (True, False)["multiprocessing_context" in options :]:
        dataset = make()
        loader = StreamingDataLoader(dataset, batch_size=4, **options)
        for _ in range(2):
            assert places(next(iter(loader))["input_ids"]) == [0, 1, 2, 3]
        if not loader_of_training:
            loader = StreamingDataLoader(dataset, batch_size=4)
        assert loader_of_training or loader.state_dict()["position"] == 0
        assert positions(places, loader) == list(range(EPOCH))
        assert positions(places, loader) == list(range(EPOCH, 2 * EPOCH))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("workers_before", "read"), [(0, 3), (2, 3), (3, 4)])
def test_an_epoch_that_is_left_later_is_over_and_said_to_be(make, places, workers_before, read, workers, caplog):
    dataset = make()
    loader = StreamingDataLoader(dataset, batch_size=4, num_workers=workers_before, prefetch_factor=None)
    for number, _ in enumerate(loader, 1):
        if number == read:
            break
    with caplog.at_level(logging.WARNING):
        again = StreamingDataLoader(dataset, batch_size=4, num_workers=workers)
        assert positions(places, again) == list(range(EPOCH, 2 * EPOCH))
    assert workers or "epoch 0 was left after some " in caplog.text


def test_epochs_of_one_batch_follow_each_other(make, places):
    dataset = make(epoch_size=4)
    for workers in (0, 1):
        first = dataset.state_dict(0, True)["position"]
        loader = DataLoader(dataset, batch_size=4, num_workers=workers)
        assert [positions(places, loader) for _ in range(2)] == [[*range(p, p + 4)] for p in (first, first + 4)]


def read_as_rank(rank: int, options: dict, folder: str, workers: int, early: bool) -> None:
    dataset = StreamingMegadocDataset(**options) if early else None
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet{early}{workers}", rank=rank, world_size=2)
    dataset = dataset or StreamingMegadocDataset(**options)
    loader = StreamingDataLoader(dataset, batch_size=4, num_workers=workers)
    iterator = iter(loader)
    rows = [row for _ in range(2) for row in next(iterator)["input_ids"]]
    state = loader.state_dict()
    torch.save((rows, state, len(dataset)), f"{folder}/read{rank}")
    distributed.destroy_process_group()


@pytest.mark.parametrize(("workers", "early"), [(0, False), (0, True), (2, True)])
def test_ranks_that_torch_distributed_knows_read_different_sequences(small_corpus, places, tmp_path, workers, early):
    """As after mp.spawn: nothing in the environment says which rank a process is."""
    options = {"local": small_corpus, "max_seq_len": 64, "batch_size": 4, "epoch_size": EPOCH}
    multiprocessing.spawn(read_as_rank, (options, str(tmp_path), workers, early), nprocs=2)
    read = [torch.load(tmp_path / f"read{rank}") for rank in (0, 1)]
    assert [places(rows) for rows, _, _ in read] == [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]]
    assert [(state["position"], length) for _, state, length in read] == [(16, EPOCH // 2)] * 2


@pytest.mark.parametrize(
    ("environment", "message"),
    [({"RANK": "2", "WORLD_SIZE": "2"}, "rank 2 of 2"), ({"RANK": "1"}, "rank 1 of 1"), ({"RANK": "-1"}, "rank -1")],
)
def test_an_environment_that_contradicts_itself_is_refused(make, monkeypatch, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        make()


def test_what_is_given_goes_over_the_environment(make, places, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert positions(places, [next(iter(DataLoader(make(rank=1, ranks=2), batch_size=4)))]) == [4, 5, 6, 7]
    assert len(make(rank=0, ranks=1)) == EPOCH == 4 * len(make())
    with pytest.raises(ConfigError, match="rank 2 of 2"):
        make(rank=2, ranks=2)


def test_torch_distributed_and_an_environment_of_another_mind(make, monkeypatch, tmp_path):
    dataset = make()
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(ConfigError, match=r"rank 0 of 1 for torch\.distributed, and rank 1 of 2 for the env"):
            next(iter(dataset))
        assert len(make(rank=0, ranks=1)) == EPOCH
    finally:
        distributed.destroy_process_group()


def test_ranks_that_change_while_sequences_are_read_are_refused(make, monkeypatch):
    dataset = make()
    next(iter(DataLoader(dataset, batch_size=4)))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="rank 0 of 1 began to read, and is rank 1 of 2 now"):
        next(iter(dataset))


def test_who_else_may_deal_is_asked_for(make, monkeypatch):
    """accelerate deals a prepared loader out by itself, and a loader does not know that it is prepared."""
    state = SimpleNamespace(AcceleratorState=SimpleNamespace(_shared_state={"num_processes": 2}))
    dataset, told = make(), make(rank=0, ranks=1)
    monkeypatch.setitem(sys.modules, "accelerate.state", state)
    with pytest.raises(ConfigError, match="accelerate runs 2 processes"):
        next(iter(dataset))
    assert next(iter(told))["input_ids"].shape == (64,)
    state.AcceleratorState._shared_state["num_processes"] = 1
    assert next(iter(dataset))["input_ids"].shape == (64,)


@pytest.mark.parametrize("kind", [DataLoader, StreamingDataLoader])
@pytest.mark.parametrize(("batch_size", "workers"), [(2, 0), (2, 2), (8, 0), (12, 2), (5, 1)])
def test_a_loader_with_another_batch_size_is_refused(make, kind, batch_size, workers):
    with pytest.raises(ConfigError, match=f"batches of {batch_size} sequences, and the dataset .* batches of 4"):
        next(iter(kind(make(), batch_size=batch_size, num_workers=workers)))


def as_they_are(samples):
    return samples


def beside_their_numbers(samples):
    return list(enumerate(samples))


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_leave_a_worker_in_whatever_form_they_are_kept(make, places, workers):
    options = {"num_workers": workers, "batch_size": 4}
    kept = [sample for batch in DataLoader(make(), **options, collate_fn=as_they_are) for sample in batch]
    assert places(sample["input_ids"] for sample in kept) == list(range(EPOCH))
    assert {type(sample["synthetic"].item()) for sample in kept} == {bool}
    pairs = [pair for batch in DataLoader(make(), **options, collate_fn=beside_their_numbers) for pair in batch]
    assert places(sample["input_ids"] for _, sample in pairs) == list(range(EPOCH))
    single = [sample["input_ids"] for sample in DataLoader(make(), batch_size=None, num_workers=min(workers, 1))]
    assert places(single) == list(range(EPOCH))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_stateful_loader_goes_on_where_it_was(make, places, workers):
    options = {"batch_size": 4, "num_workers": workers}
    for read in (0, 1, 3, 4, EPOCH // 4 - 1):
        iterator = iter(loader := StatefulDataLoader(make(), **options))
        seen = positions(places, [next(iterator) for _ in range(read)])
        state = loader.state_dict()
        again = StatefulDataLoader(make(), **options)
        again.load_state_dict(state)
        rest = positions(places, again)
        assert seen + rest == list(range(EPOCH)), (read, seen, rest)
        assert positions(places, again) == list(range(EPOCH, 2 * EPOCH))


def test_a_state_by_own_count(make, places):
    dataset = make()
    iterator = iter(dataset)
    for _ in range(12):
        next(iterator)
    state = json.loads(json.dumps(dataset.state_dict()))
    assert (state["position"], "worker" in state) == (12, False)
    resumed = make()
    resumed.load_state_dict(state)
    assert positions(places, DataLoader(resumed, batch_size=4)) == list(range(12, EPOCH))
    assert resumed.state_dict()["position"] == EPOCH


def test_a_state_that_nobody_can_know_is_refused(make):
    dataset = make()
    iterator = iter(DataLoader(dataset, batch_size=4, num_workers=2))
    next(iterator)
    with pytest.raises(ConfigError, match="DataLoader workers read ahead"):
        dataset.state_dict()
    dataset = make()
    counting = StreamingDataLoader(dataset, batch_size=4)
    for number, _ in enumerate(DataLoader(dataset, batch_size=4)):  # as accelerate makes of a loader it prepares
        if number == 2:
            break
    with pytest.raises(ConfigError, match="counted none of the 12 sequences"):
        counting.state_dict()
    assert dataset.state_dict(12, True)["position"] == 12


def test_the_state_of_a_worker_is_for_that_worker(make):
    dataset = make()
    with pytest.raises(ConfigError, match="worker 1 of 2, and this is a trainer"):
        dataset.load_state_dict({**dataset.state_dict(4, True), "worker": [1, 2]})
