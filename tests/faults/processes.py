"""Whole groups of processes: Ctrl-C, SIGKILL of all at once, and what is left of them."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

from streaming import StreamingDataLoader

from conftest import write_run_file
from exactness import Child, Setup, train_for_ever
from faults.kills import RECIPE, Run
from faults.table import Outcome, fault
from faults.trainer import digest_of
from faults.world import committed, corpus_of, dataset_of, is_alive, lines, lost, until

#: Ctrl-C has so many seconds, on a machine of its own.
CTRL_C_SECONDS = 5.0
#: A machine that is busy with other tests may be so much slower.
SLOWER = 3.0


def children_of(process: int) -> list[int]:
    """All processes below one."""
    try:
        found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [each for child in map(int, found) for each in (child, *children_of(child))]


def cpu_seconds(process: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Job:
    """A trainer with workers and a server, each with a process group of its own as a terminal gives them.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dataset = dataset_of(corpus_of(folder, 400), folder / "store", RECIPE)
        self.run_file = write_run_file(folder / "run.yaml", self.dataset)
        self.processes: list[subprocess.Popen] = []

    def train(self, workers: int) -> subprocess.Popen:
        trainer = Path(__file__).with_name("trainer.py")
        return self._start(str(trainer), str(self.run_file), str(workers))

    def serve(self, tokens_per_second: int = 3000) -> subprocess.Popen:
        command = ("-m", "streamdocs_server", str(self.run_file), "--tokens-per-second", str(tokens_per_second))
        return self._start(*command)

    def _start(self, *arguments: str) -> subprocess.Popen:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def batches(self) -> int:
        return len(lines(self.folder / "run.yaml.batches"))

    def wrong(self) -> int:
        """Batches of any life that are not what is read here, now that nobody disturbs it."""
        found = lines(self.folder / "run.yaml.batches")
        loader = StreamingDataLoader(self.dataset, batch_size=4)
        wanted = range(max(number for number, _ in found) + 1)
        reference = [digest_of(batch) for _, batch in zip(wanted, chain.from_iterable(repeat(loader)), strict=False)]
        return sum(reference[number] != digest for number, digest in found)

    def trains(self, trainer: subprocess.Popen, more: int = 3) -> float:
        before = self.batches()
        return until(lambda: self.batches() >= before + more or trainer.poll() is not None, "the trainer gets on")

    def serves(self) -> float:
        before = len(committed(self.dataset.store, ("texts",)))
        return until(lambda: len(committed(self.dataset.store, ("texts",))) > before, "the server gets on")

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self.processes:
            if process.poll() is None:  # otherwise its number may be somebody else's
                for each in (*children_of(process.pid), process.pid):
                    if is_alive(each):
                        os.kill(each, signal.SIGKILL)
                process.wait()


@fault("Ctrl-C of trainer with workers, and of server", 3, 1)
def interrupted(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """SIGINT to each group, once: all of it is gone within five seconds, and the next start goes on."""
    outcome, longest = Outcome(tried=tries), 0.0
    with Job(folder) as job:
        for _ in range(tries):
            began = time.monotonic()
            server, trainer = job.serve(), job.train(workers=2)
            job.serves()
            job.trains(trainer)
            assert server.poll() is None and trainer.poll() is None, job.log.read_text()
            outcome.took(time.monotonic() - began)
            time.sleep(rng.uniform(0, 0.5))
            before = committed(job.dataset.store)
            everybody = [each for process in (server, trainer) for each in (process.pid, *children_of(process.pid))]
            assert len(everybody) >= 4
            began = time.monotonic()
            for process in (server, trainer):
                os.killpg(process.pid, signal.SIGINT)
            until(lambda: all(each.poll() is not None for each in (server, trainer)), "both end")  # noqa: B023
            until(lambda: not any(map(is_alive, everybody)), "nobody is left")  # noqa: B023
            longest = max(longest, time.monotonic() - began)
            assert longest < CTRL_C_SECONDS * SLOWER, f"{longest:.1f} s\n{job.log.read_text()[-3000:]}"
            assert server.returncode == 0, job.log.read_text()[-3000:]
            outcome.lost += lost(before, committed(job.dataset.store))
        outcome.wrong = job.wrong()
    outcome.note = f"gone in {longest:.1f} s at most"
    return outcome


class GroupRun(Run):
    """A run whose trainer leads a group of processes, with a temporary folder of its own."""

    def start(self, role: str) -> None:
        if role == "generator":
            super().start(role)
        else:
            self.running[role] = Child(train_in_group, self.setup, self.folder)


def train_in_group(setup: Setup, folder: Path) -> None:
    os.setsid()
    (folder / "tmp").mkdir(exist_ok=True)
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder / "tmp")
    train_for_ever(setup, 2, folder)


@fault("SIGKILL of whole groups, and what is left", 50, 3)
def everybody_killed(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """Trainer and workers at once: nothing grows in /dev/shm, in the temporary folder or in the store's."""
    outcome, left, pids = Outcome(tried=tries), [], set()
    with GroupRun(folder, rng) as run:
        for _ in range(tries):
            run.works("trainer")
            time.sleep(rng.uniform(0, 0.1))
            before = committed(run.store)
            trainer = run.running["trainer"].process.pid
            pids |= {trainer, *children_of(trainer)}
            os.killpg(trainer, signal.SIGKILL)
            began = time.monotonic()
            run.running["trainer"].kill()
            outcome.lost += lost(before, committed(run.store))
            left.append(left_behind(folder, pids))
            run.start("trainer")
            run.works("trainer")
            outcome.took(time.monotonic() - began)
        for child in run.running.values():
            child.kill()
        outcome.wrong = run.wrong()
    assert left[-1] == left[0], left
    outcome.note = f"{left[-1]} files left after {tries} kills, those of the store"
    return outcome


def left_behind(folder: Path, pids: set[int]) -> int:
    """Files in the run's temporary and store folders, and in /dev/shm with the name of one of these processes."""
    shared = sum(any(f"_{pid}_" in name for pid in pids) for name in os.listdir("/dev/shm"))
    return shared + sum(len(list(place.rglob("*"))) for place in (folder / "tmp", folder / "store"))


@fault("SIGKILL of a trainer; its workers", 16, 1)
def orphans(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """No worker outlives its trainer, whether it reads or waits for generations; who waits does not spin."""
    outcome, busiest = Outcome(tried=tries), 0.0
    with Run(folder, rng, workers=2) as run:
        nothing = replace(run.setup, store=folder / "empty")
        (folder / "waiting").mkdir()
        for number in range(tries):
            waits = number % 2 == 0
            if waits:
                trainer = Child(train_for_ever, nothing, 2, folder / "waiting")
                pid = trainer.process.pid
                until(lambda: len(children_of(pid)) >= 2, "it has workers")  # noqa: B023
                time.sleep(0.5)
            else:
                trainer = run.running["trainer"]
                pid = trainer.process.pid
                run.works("trainer")
            workers = children_of(pid)
            if waits:
                used, began = sum(map(cpu_seconds, workers)), time.monotonic()
                time.sleep(1.0)
                busiest = max(busiest, (sum(map(cpu_seconds, workers)) - used) / (time.monotonic() - began))
                assert busiest < 0.5, f"{busiest:.2f} cores while nothing is to be done"
            trainer.kill()
            outcome.took(until(lambda: not any(map(is_alive, workers)), "no worker is left"))  # noqa: B023
            if not waits:
                run.start("trainer")
    outcome.note = f"{busiest:.2f} cores at most while they wait"
    return outcome
