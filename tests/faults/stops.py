"""SIGSTOP at random moments, then SIGCONT: a suspended job, a paused container, a debugger."""

import os
import random
import signal
import time
from functools import partial
from pathlib import Path

from faults.kills import Run
from faults.table import Outcome, fault
from faults.world import committed, lost

#: Who has to get on while a role is stopped.
OTHERS = {"trainer": "generator", "worker": "generator", "generator": "trainer"}


def stopped(role: str, folder: Path, tries: int, rng: random.Random) -> Outcome:
    """While one is stopped the other goes on, unless it was stopped while it wrote; then everything goes on."""
    outcome = Outcome(tried=tries)
    with Run(folder, rng, workers=2 if role == "worker" else None) as run:
        for _ in range(tries):
            for each in run.running:
                run.works(each)
            time.sleep(rng.uniform(0, 0.1))
            before = committed(run.store)
            victim = rng.choice(run.workers_of_trainer()) if role == "worker" else run.running[role].process.pid
            os.kill(victim, signal.SIGSTOP)
            time.sleep(rng.uniform(0.05, 0.4))
            others = run.progress(OTHERS[role])
            os.kill(victim, signal.SIGCONT)
            began = time.monotonic()
            for each in run.running:
                run.works(each)
            outcome.took(time.monotonic() - began)
            assert run.progress(OTHERS[role]) > others
            outcome.lost += lost(before, committed(run.store))
        for child in run.running.values():
            child.kill()
        outcome.wrong = run.wrong()
    return outcome


fault("SIGSTOP, SIGCONT of the trainer", 25, 2)(partial(stopped, "trainer"))
fault("SIGSTOP, SIGCONT of a DataLoader worker", 25, 2)(partial(stopped, "worker"))
fault("SIGSTOP, SIGCONT of the generator", 25, 2)(partial(stopped, "generator"))
