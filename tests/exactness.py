"""Exactness: what a run reads that was never interrupted, against what each state of it reads, restored afresh."""

import asyncio
import faulthandler
import gc
import json
import logging
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import xxhash

from conftest import TEMPLATE, make_loop, make_run
from streamdocs import Recipe, StreamingMegadocDataset
from streamdocs.generations.progress import read_watermark
from streamdocs.store import LmdbStore, SharedStore, open_store

#: Processes are forked from one that has imported everything and never opened a corpus or a store.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["pytest", "streamdocs.dataset", "streamdocs_server.work.loop", "streamdocs_server.engines.template"]
)

SAVE_EVERY = 3
GLOBAL_BATCH, LENGTH, WINDOW, EPOCH = 8, 32, 12, 56  # no window ends with a batch, every seventh batch ends an epoch
DEADLINE = 120.0

Batch = list[str]  # a digest of each of its sequences, over all ranks


@dataclass(frozen=True)
class Split:
    """How a global batch is dealt out: to the workers of ranks on nodes."""

    ranks: int = 1
    workers: int = 0
    nodes: int = 1
    replication: int = 1

    def environment(self, rank: int) -> dict[str, str]:
        """What a launcher tells a rank."""
        here = self.ranks // self.nodes
        numbers = {"RANK": rank, "WORLD_SIZE": self.ranks, "LOCAL_RANK": rank % here, "LOCAL_WORLD_SIZE": here}
        return {name: str(number) for name, number in numbers.items()}


@dataclass(frozen=True)
class Setup:
    """A run, but for how it is dealt out.

    Args:
        corpus: Its folder.
        store: Its folder, or its URL: then each of its processes is on another node, or on one of two.
        recipe, when_behind, keep_checkpoints: As the dataset's; in place of a recipe, a mapping of streams.
        steps: Batches of the run.
        gates: Before a step, (generated items, retired rounds) that the run waits for.
    """

    corpus: Path
    store: Path | str
    recipe: Recipe | dict[str, Any]
    when_behind: str = "reuse"
    keep_checkpoints: int = 2
    steps: int = 12
    gates: dict[int, tuple[int, int]] = field(default_factory=dict)

    def run(self, name: str = ""):
        """The run as its server sees it."""
        mix = {"length": LENGTH, "window": WINDOW, "name": name, "when_behind": self.when_behind}
        return make_run(self.corpus, self.recipe, **mix)

    def cache(self, node: object = "") -> Path:
        """Where a node keeps what it reads."""
        return self.corpus.parent / f"cache-{node}"

    def opened(self, node: object = "") -> LmdbStore | SharedStore:
        """The store on a node."""
        return open_store(self.store, cache=self.cache(node))

    def loader(self, split: Split, rank: int, name: str, node: int | None = None):
        """The loader of one rank, on a node; this process is that rank from now on."""
        from streaming import StreamingDataLoader

        os.environ.update(split.environment(rank))
        batch_size = GLOBAL_BATCH * split.replication // split.ranks
        streams = {"recipe": self.recipe, "synthetic_fraction": 0.75}
        if isinstance(self.recipe, dict):
            streams = {"streams": self.recipe}
        dataset = StreamingMegadocDataset(
            **streams,
            local=self.corpus,
            store=str(self.store),
            cache=self.cache(rank % 2 if node is None else node),
            generator=TEMPLATE,
            max_seq_len=LENGTH,
            window=WINDOW,
            when_behind=self.when_behind,
            shuffle_seed=17,
            batch_size=batch_size,
            epoch_size=EPOCH,
            replication=split.replication if split.replication > 1 else None,
            wait_timeout=DEADLINE,
            keep_checkpoints=self.keep_checkpoints,
            name=name,
        )
        prefetch = {"prefetch_factor": 1, "persistent_workers": split.workers > 1} if split.workers else {}
        return StreamingDataLoader(dataset, batch_size=batch_size, num_workers=split.workers, **prefetch)


@dataclass(frozen=True)
class Reading:
    """A run that was never interrupted: its batches, and the state before each as JSON."""

    setup: Setup
    split: Split
    name: str
    batches: list[Batch]
    states: list[str]


def uninterrupted(setup: Setup, split: Split, name: str) -> Reading:
    """Read a whole run, its ranks side by side."""
    children = [Child(read_rank, setup, split, rank, name) for rank in range(split.ranks)]
    found = [child.result() for child in children]
    return Reading(setup, split, name, together([batches for batches, _ in found], split), found[0][1])


def train_for_ever(setup: Setup, workers: int, folder: Path) -> None:
    """One life of a trainer: goes on where the last saved state says, and logs every batch that it consumed."""
    faulthandler.register(signal.SIGUSR1, (folder / "stack").open("w"))
    loader = setup.loader(Split(workers=workers), 0, "")
    saved, position = folder / "state.json", 0
    if saved.exists():
        state = json.loads(saved.read_text())
        loader.load_state_dict(state)
        position = state["position"]
    with (folder / "consumed.jsonl").open("ab", buffering=0) as log:
        for step, batch in enumerate(endless(loader), 1):
            log.write(json.dumps([position, batch]).encode() + b"\n")
            position += GLOBAL_BATCH
            if step % SAVE_EVERY == 0:
                (folder / "state.new").write_text(json.dumps(loader.state_dict()))
                os.replace(folder / "state.new", saved)


def read_in_one_go(setup: Setup, batches: int) -> list[Batch]:
    """What nobody disturbed."""
    return list(islice(endless(setup.loader(Split(), 0, "")), batches))


def differences(readings: list[Reading], steps: range) -> list[str]:
    """Which states of these runs, each restored in a process of its own, do not read the whole rest as the run did."""
    cases = [(reading, step) for reading in readings for step in steps]

    def differs(case: tuple[Reading, int]) -> bool:
        reading, step = case
        state, left = reading.states[step], len(reading.batches) - step
        batches, _ = Child(restored, reading.setup, reading.split, reading.name, state, left).result()
        return batches != reading.batches[step:]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(differs, cases))
    return [f"{reading.split}, step {step}" for (reading, step), wrong in zip(cases, found, strict=True) if wrong]


def restored(setup: Setup, split: Split, name: str, state: str, steps: int) -> tuple[list[Batch], str]:
    """The first ``steps`` batches after a state, read rank by rank, and the state after them."""
    ranks = []
    for rank in reversed(range(split.ranks)):
        loader = setup.loader(split, rank, name)
        loader.load_state_dict(json.loads(state))
        ranks.insert(0, [batch for _, batch in zip(range(steps), endless(loader), strict=False)])
    return together(ranks, split), json.dumps(loader.state_dict())


def read_rank(setup: Setup, split: Split, rank: int, name: str) -> tuple[list[Batch], list[str]]:
    """What one rank reads, and the states it would save; it never looks at the others."""
    loader = setup.loader(split, rank, name)
    batches, states = [], []
    reading = endless(loader)
    for step in range(setup.steps):
        states.append(json.dumps(loader.state_dict()))
        wait_for_generator(setup, *setup.gates.get(step, (0, 0)))
        batches.append(next(reading))
    return batches, states


def endless(loader) -> Iterator[Batch]:
    """Digests of its batches, epoch after epoch."""
    while True:
        for batch in loader:
            rows = zip(batch["input_ids"].numpy(), batch["labels"].numpy(), batch["synthetic"].numpy(), strict=True)
            yield [xxhash.xxh3_64_hexdigest(b"".join(column.tobytes() for column in row)) for row in rows]


def together(ranks: list[list[Batch]], split: Split) -> list[Batch]:
    """The global batches from those of each rank; ranks that read the same must have read the same."""
    groups = [ranks[first : first + split.replication] for first in range(0, split.ranks, split.replication)]
    assert all(rank == group[0] for group in groups for rank in group)
    return [[row for part in parts for row in part] for parts in zip(*(group[0] for group in groups), strict=True)]


def wait_for_generator(setup: Setup, items: int, retired: int) -> None:
    """Wait until so many items are generated, and rounds retired."""
    from streamdocs_server.work.retire import Retirer

    store, run = setup.opened(), setup.run()

    def is_there() -> bool:
        with store.read() as snapshot:
            there = sum(read_watermark(snapshot, stream.scope) for stream in run.synthetic)
        return there >= items and all(Retirer(store, each.scope).retired_rounds >= retired for each in run.synthetic)

    wait_until(is_there)


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again, until the deadline."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE} s"
        time.sleep(0.01)


def generate_for_ever(setup: Setup, tokens_per_second: float | None) -> None:
    """A server for a run: writes and retires until it is killed."""
    from streamdocs_server.engines.template import TemplateEngine
    from streamdocs_server.work import loop, retire
    from streamdocs_server.work.lanes.leases import server_name

    loop._BEAT_SECONDS, retire._GRACE_SECONDS = 0.1, 2.0
    engine = TemplateEngine(tokens_per_second=tokens_per_second)
    server = make_loop(
        setup.run(), setup.opened("server"), engine=engine, name=server_name(), max_lead=10**6, max_in_flight=16
    )
    asyncio.run(server.run())


class Child:
    """A process that runs a function. Never a daemon, because it may have DataLoader workers."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._receiver, sender = CONTEXT.Pipe(duplex=False)
        self.process = CONTEXT.Process(target=_answer, args=(sender, function, arguments))
        self.process.start()
        sender.close()

    def answers(self, seconds: float) -> bool:
        """Whether it returns or raises in time."""
        return self._receiver.poll(seconds)

    def result(self) -> Any:
        """What the function returns; an error where it raised one or did not end."""
        try:
            assert self.answers(DEADLINE), f"no answer in {DEADLINE} s"
            value, error = self._receiver.recv()
        finally:
            self.kill()
        assert error is None, error
        return value

    def kill(self) -> None:
        """End it with SIGKILL, unless it has ended."""
        self.process.kill()
        self.process.join()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()


def _answer(sender, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    import warnings

    import torch

    gc.freeze()  # what is imported stays shared with those that are forked from here
    multiprocessing.set_start_method("fork", force=True)  # of DataLoader workers: the usual one
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    try:
        sender.send((function(*arguments), None))
    except BaseException:
        sender.send((None, traceback.format_exc()))
