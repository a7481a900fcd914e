"""SIGKILL at random moments: trainer, DataLoader worker, generator, all of them, and the server's own process."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from exactness import GLOBAL_BATCH, Child, Setup, generate_for_ever, read_in_one_go, train_for_ever
from faults.table import Outcome, fault
from faults.world import committed, corpus_of, is_alive, lines, lost, until
from streamdocs import Stitch
from streamdocs.store import LmdbStore

RECIPE = Stitch(generations=16, per_round=1)
#: Slow enough that there is something to do for as long as it takes.
TOKENS_PER_SECOND = 2500


class Run:
    """A trainer and a generator of one run, started again whenever they are killed.

    Args:
        folder: Of the run.
        workers: DataLoader workers; None for sometimes none, sometimes some.
    """

    def __init__(self, folder: Path, rng: random.Random, workers: int | None = None) -> None:
        self.folder, self.rng, self.workers = folder, rng, workers
        self.setup = Setup(corpus_of(folder, 400), folder / "store", RECIPE)
        self.store = LmdbStore(self.setup.store)
        self.running: dict[str, Child] = {}
        for role in ("generator", "trainer"):
            self.start(role)

    def start(self, role: str) -> None:
        if role == "generator":
            self.running[role] = Child(generate_for_ever, self.setup, TOKENS_PER_SECOND)
        else:
            workers = self.rng.choice((0, 0, 1, 2)) if self.workers is None else self.workers
            self.running[role] = Child(train_for_ever, self.setup, workers, self.folder)

    def consumed(self) -> list[list]:
        return lines(self.folder / "consumed.jsonl")

    def progress(self, role: str) -> int:
        """What grows as a role gets on."""
        if role == "trainer":
            path = self.folder / "consumed.jsonl"
            return path.stat().st_size if path.exists() else 0
        with self.store.read() as snapshot:
            return sum(1 for _ in snapshot.scan("texts", b""))

    def works(self, role: str) -> float:
        """Wait until a role gets on; the seconds that it took."""
        before = self.progress(role)

        def gets_on() -> bool:
            assert self.running[role].process.is_alive(), self.running[role].result()
            return self.progress(role) > before

        return until(gets_on, f"{role} gets on")

    def workers_of_trainer(self) -> list[int]:
        trainer = self.running["trainer"].process.pid
        return [int(pid) for pid in Path(f"/proc/{trainer}/task/{trainer}/children").read_text().split()]

    def wrong(self) -> int:
        """Sequences that differ from what a run reads that nobody disturbed, or that one position had two of."""
        found: dict[int, list[str]] = {}
        wrong = 0
        for position, batch in self.consumed():
            wrong += sum(a != b for a, b in zip(found.setdefault(position, batch), batch, strict=True))
        batches = len(found)
        assert sorted(found) == list(range(0, batches * GLOBAL_BATCH, GLOBAL_BATCH)), "batches are missing"
        reference = Child(read_in_one_go, self.setup, batches).result()
        for position, batch in zip(sorted(found), reference, strict=True):
            wrong += sum(a != b for a, b in zip(found[position], batch, strict=True))
        return wrong

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *exception: object) -> None:
        for child in self.running.values():
            child.kill()


def killed(victims: tuple[str, ...], folder: Path, tries: int, rng: random.Random) -> Outcome:
    """Kill some roles at random moments, and start them again."""
    outcome = Outcome(tried=tries)
    with Run(folder, rng) as run:
        for role in run.running:
            run.works(role)
        for _ in range(tries):
            time.sleep(rng.uniform(0, 0.15))
            before = committed(run.store)
            for role in victims:
                run.running[role].kill()
            began = time.monotonic()
            outcome.lost += lost(before, committed(run.store))
            for role in victims:
                run.start(role)
            if rng.random() < 0.7:  # otherwise the next kill comes while it starts
                for role in victims:
                    run.works(role)
                outcome.took(time.monotonic() - began)
        for role in run.running:
            run.works(role)
        for child in run.running.values():
            child.kill()
        outcome.wrong = run.wrong()
    return outcome


fault("SIGKILL of the trainer", 90, 5)(partial(killed, ("trainer",)))
fault("SIGKILL of the generator", 90, 5)(partial(killed, ("generator",)))
fault("SIGKILL of both at once", 40, 3)(partial(killed, ("trainer", "generator")))


@fault("SIGKILL of a DataLoader worker", 50, 3)
def worker_killed(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """The trainer says which worker was killed, and the next start goes on."""
    outcome, locked = Outcome(tried=tries), 0
    with Run(folder, rng, workers=2) as run:
        for _ in range(tries):
            run.works("trainer")
            time.sleep(rng.uniform(0, 0.1))
            before = committed(run.store)
            workers = run.workers_of_trainer()
            os.kill(rng.choice(workers), signal.SIGKILL)
            began = time.monotonic()
            if waits_for_lock_of_pytorch(run.running["trainer"], folder):
                locked += 1
                run.running["trainer"].kill()
            else:
                message = error_of(run.running["trainer"])
                # By who notices first: our own error, PyTorch's signal handler, or its look at its workers every 5 s.
                said = ("was killed", "is killed by signal", "exited unexpectedly")
                assert "DataLoader worker" in message and any(each in message for each in said), message
            outcome.lost += lost(before, committed(run.store))
            run.start("trainer")
            run.works("trainer")
            outcome.took(time.monotonic() - began)
            # Also where the one that was killed held the lock of the queue that the other one writes to.
            until(lambda: not any(map(is_alive, workers)), "no worker is left")  # noqa: B023
        for child in run.running.values():
            child.kill()
        outcome.wrong = run.wrong()
    outcome.note = f"{locked} times with PyTorch's lock" if locked else ""
    return outcome


def waits_for_lock_of_pytorch(trainer: Child, folder: Path) -> bool:
    """Whether the worker was killed while it held the lock of PyTorch's "done event": then the trainer waits for ever.

    A worker holds it for some microseconds a batch, and nobody but PyTorch can do anything about it.
    """
    if trainer.answers(30):
        return False
    os.kill(trainer.process.pid, signal.SIGUSR1)
    until(lambda: (folder / "stack").read_text().endswith("\n"), "the trainer's stack is written")
    time.sleep(0.5)
    stack = (folder / "stack").read_text()
    where = ("in _mark_worker_as_unavailable\n", "in _shutdown_workers\n")
    return "multiprocessing/synchronize.py" in stack and any(each in stack for each in where)


def error_of(child: Child) -> str:
    """With which error a child ends."""
    try:
        child.result()
    except AssertionError as error:
        return str(error)
    raise AssertionError("it ended without an error")


@fault("SIGKILL of streamdocs-server", 6, 0)
def server_killed(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """The command itself; what it had committed is there, and the next one goes on from it."""
    from conftest import write_run_file
    from faults.world import dataset_of

    outcome = Outcome(tried=tries)
    corpus = corpus_of(folder, 400)
    dataset = dataset_of(corpus, folder / "store", RECIPE)
    run_file = write_run_file(folder / "run.yaml", dataset)

    def start(run_file: Path = run_file, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "streamdocs_server", str(run_file), *options]
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def start_slowly() -> subprocess.Popen:
        return start(run_file, "--tokens-per-second", str(TOKENS_PER_SECOND))

    def written() -> int:
        return sum(key[0] == "texts" for key in committed(dataset.store))

    with ExitStack() as stack:
        server = start_slowly()
        stack.callback(lambda: server.kill())  # noqa: PLW0108 (the last one that was started)
        for _ in range(tries):
            began, seen = time.monotonic(), written()
            until(lambda seen=seen, server=server: written() > seen or server.poll() is not None, "the server writes")
            assert server.poll() is None, (folder / "log").read_text()
            outcome.took(time.monotonic() - began)
            time.sleep(rng.uniform(0, 0.3))
            before = committed(dataset.store)
            server.kill()
            server.wait()
            outcome.lost += lost(before, committed(dataset.store))
            server = start_slowly()
        server.kill()
        server.wait()
        # One that is never killed writes the same: the template engine's text hangs on the key alone.
        found, whole = committed(dataset.store, ("texts", "tokens")), LmdbStore(folder / "whole")
        server = start(write_run_file(folder / "whole.yaml", dataset_of(corpus, whole, RECIPE)))
        until(lambda: server.poll() is not None or found.keys() <= committed(whole).keys(), "the other one writes")
        outcome.wrong = lost(found, committed(whole))
    return outcome
