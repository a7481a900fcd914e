"""The steered run with its trainer killed: what was trained on twice was the same, and no window was decided on twice.

Each life of the trainer is a group of processes, ranks that talk by gloo, some with a DataLoader worker. They are
killed together with SIGKILL, at random, and the next life goes on from what was saved beside, on another number of
ranks. Each rank notes what it trained on. At the end a fresh process reads the whole run, as still other ranks.
"""

import json
import os
import random
import time
from collections.abc import Iterator
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import xxhash
from processes import Beside, in_fresh_process
from streaming import StreamingDataLoader
from student import BATCH, WINDOW, Student, make_dataset
from torch.nn.parallel import DistributedDataParallel

from streamdocs.steering.decisions import Decisions

#: In turn; and as how many the run is read at the end.
RANKS, READ_AGAIN_AS = (1, 2, 4), 8
SAVE_EVERY = 3
NAME, CONTROLLER = "kills", "ucb"
_DEADLINE = 120.0


class Killed(NamedTuple):
    """What came of a run.

    batches: Different ones that were trained on. again: How often one was trained on anew. wrong: Of all these, those
    that differ from what is read at the end. windows: That were decided on. changed: Decisions that are not as they
    were when they were first seen, or missing, or other ones in a manifest.
    """

    kills: int
    batches: int
    again: int
    wrong: int
    windows: int
    changed: int


def kill_often(folder: Path, kills: int, seed: int = 0) -> Killed:
    """Train, and kill the trainer so many times.

    Raises:
        RuntimeError: A trainer ended by itself, or did not come to train in time.
    """
    rng, noted = random.Random(seed), dict[int, str]()
    changed = set[int]()
    run, store = (found := make_dataset(folder, NAME, CONTROLLER)).run, found.store
    assert run.decisions is not None and store is not None
    run.attach(store)
    for life in range(kills + 1):
        ranks, workers = RANKS[life % len(RANKS)], rng.choice((0, 0, 1))
        before = count_lines(folder)
        group = [Beside(live, folder, life, rank, ranks, workers) for rank in range(ranks)]
        try:
            if life == kills or rng.random() < 0.8:  # after some batches of this life; otherwise at any moment
                _wait(folder, before + ranks * (SAVE_EVERY + 1 if life == kills else rng.randint(1, 12)), group)
            time.sleep(rng.uniform(0, 0.3))
            dead = [each for each in group if not each.process.is_alive()]
        finally:
            for each in group:
                each.process.kill()
        for each in dead:
            each.result()  # which says why
        for each in group:
            each.kill()
        changed |= note(run.decisions, noted)
    wanted = consumed(folder)
    last = max(position for position, _ in wanted)
    windows = last // WINDOW + 1
    found_again = in_fresh_process(partial(read_again, folder, last + 1))
    wrong = {position // BATCH for position, digest in wanted if found_again[position] != digest}
    changed |= {window for window in range(windows) if window not in noted}
    changed |= in_fresh_process(partial(other_manifests, folder, windows))
    batches = {position // BATCH for position, _ in wanted}
    assert batches == set(range(len(batches)))
    return Killed(kills, len(batches), len(wanted) // BATCH - len(batches), len(wrong), windows, len(changed))


def live(folder: Path, life: int, rank: int, ranks: int, workers: int) -> None:
    """One rank of one life of the trainer: train from the last saved state on, until it is killed."""
    numbers = {"RANK": rank, "WORLD_SIZE": ranks, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": ranks}
    os.environ.update({name: str(number) for name, number in numbers.items()})
    if ranks > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder / f'meet-{life}'}", rank=rank, world_size=ranks)
    dataset = make_dataset(folder, NAME, CONTROLLER, batch_size=BATCH // ranks)
    loader = StreamingDataLoader(dataset, batch_size=BATCH // ranks, num_workers=workers)
    student, position, saved = Student(dataset.corpus, 0), 0, folder / "state.pt"
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        student.model.load_state_dict(state["model"])
        student.optimizer.load_state_dict(state["optimizer"])
        loader.load_state_dict(state["loader"])
        position = state["loader"]["position"]
    model = DistributedDataParallel(student.model) if ranks > 1 else student.model
    with (folder / f"consumed-{rank}.jsonl").open("ab", buffering=0) as log:
        for step, batch in enumerate(chain.from_iterable(repeat(loader)), 1):
            losses = student.step(model, batch)
            log.write(json.dumps([batch["position"].tolist(), digests(batch)]).encode() + b"\n")
            dataset.report(batch, losses)
            position += BATCH
            if position % WINDOW == 0 and rank == 0:
                dataset.report(held_out=student.evaluate(), position=position)
            if step % SAVE_EVERY == 0 and rank == 0:
                state = {"model": student.model.state_dict(), "optimizer": student.optimizer.state_dict()}
                torch.save({**state, "loader": loader.state_dict()}, folder / "state.new")
                os.replace(folder / "state.new", saved)


def digests(batch: dict[str, torch.Tensor]) -> list[str]:
    """Of each sequence of a batch, and its stream."""
    rows = zip(batch["input_ids"].numpy(), batch["stream"].tolist(), strict=True)
    return [f"{xxhash.xxh3_64_hexdigest(tokens.tobytes())} {stream}" for tokens, stream in rows]


def consumed(folder: Path) -> list[tuple[int, str]]:
    """Positions that were trained on, with the digests of what was there, as often as they were."""
    found: list[tuple[int, str]] = []
    for path in folder.glob("consumed-*.jsonl"):
        for line in path.read_bytes().splitlines():
            found += zip(*json.loads(line), strict=True)
    return found


def read_again(folder: Path, until: int) -> dict[int, str]:
    """The digests of all positions before one, as ranks that never trained read them, one after another."""
    found: dict[int, str] = {}
    for rank in range(READ_AGAIN_AS):
        dataset = make_dataset(
            folder, NAME, CONTROLLER, batch_size=BATCH // READ_AGAIN_AS, rank=rank, ranks=READ_AGAIN_AS
        )
        for batch in batches_before(dataset, until):
            found.update(zip(batch["position"].tolist(), digests(batch), strict=True))
    return found


def batches_before(dataset: Any, until: int) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of a dataset, epoch after epoch, until one reaches a position."""
    for batch in chain.from_iterable(repeat(StreamingDataLoader(dataset, batch_size=dataset.batch_size))):
        if int(batch["position"].min()) >= until:
            return
        yield batch


def note(decisions: Decisions, noted: dict[int, str]) -> set[int]:
    """Note the decisions that were made; those that were noted otherwise before."""
    found = {decision.window: decision.digest for decision in decisions.made()}
    changed = {window for window, digest in noted.items() if found.get(window) != digest}
    noted.update({window: digest for window, digest in found.items() if window not in noted})
    return changed


def other_manifests(folder: Path, windows: int) -> set[int]:
    """Windows with a manifest that has another decision than the store."""
    dataset = make_dataset(folder, NAME, CONTROLLER)
    decisions, ledgers = dataset.run.decisions, dataset.ledgers.values()
    assert decisions is not None and ledgers
    return {
        window
        for window in range(windows)
        for ledger in ledgers
        if ledger.sealed(window) and ledger.manifest(window).decision != decisions.of(window).pack()
    }


def _wait(folder: Path, lines: int, group: list[Beside]) -> None:
    """Until so much was trained on, or one of the group ended."""
    deadline = time.monotonic() + _DEADLINE
    while count_lines(folder) < lines and all(each.process.is_alive() for each in group):
        if time.monotonic() > deadline:
            raise RuntimeError(f"no {lines} batches in {_DEADLINE} s")
        time.sleep(0.02)


def count_lines(folder: Path) -> int:
    """Batches of all ranks that were trained on."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("consumed-*.jsonl"))
