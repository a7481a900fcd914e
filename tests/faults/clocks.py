"""Clocks that are set back or forth while servers and trainers run. They are patched in a process of each."""

import random
import socket
import time
from functools import partial
from pathlib import Path

from exactness import Child, Setup, Split, endless, generate_for_ever, read_in_one_go
from faults.kills import TOKENS_PER_SECOND
from faults.table import Outcome, fault
from faults.world import committed, corpus_of, lost, until
from streamdocs import Stitch
from streamdocs.store import LmdbStore

BATCHES = 30


def with_clock(shift: float, machine: str, function, *arguments):
    """Call a function in a process whose clock is wrong, on a machine of this name."""
    right = time.time
    socket.gethostname = lambda: machine
    time.time = lambda: right() + shift
    return function(*arguments)


def read_some(setup: Setup) -> list[list[str]]:
    loader = setup.loader(Split(), 0, "")
    return [batch for _, batch in zip(range(BATCHES), endless(loader), strict=False)]


def wrong_clocks(shifts: tuple[float, float], folder: Path, tries: int, rng: random.Random) -> Outcome:
    """A server dies, and one on another machine takes over at once, although nobody gave its leases back."""
    outcome = Outcome(tried=tries)
    corpus = corpus_of(folder, 100)
    for number in range(tries):
        setup = Setup(corpus, folder / str(number), Stitch(generations=8, per_round=1))
        store = LmdbStore(setup.store)

        def written(store=store) -> int:
            return sum(table == "texts" for table, _ in committed(store))

        with Child(with_clock, shifts[0], "one", generate_for_ever, setup, TOKENS_PER_SECOND):
            until(lambda: written() > 20, "the first server writes")
        before = committed(store)
        began, seen = time.monotonic(), written()
        with Child(with_clock, shifts[1], "other", generate_for_ever, setup, TOKENS_PER_SECOND):
            until(lambda: written() > seen + 20, "the second server writes")  # noqa: B023
            outcome.took(time.monotonic() - began)
            batches = Child(with_clock, shifts[rng.randrange(2)], "other", read_some, setup).result()
        outcome.lost += lost(before, committed(store))
        again = Child(read_in_one_go, setup, BATCHES).result()
        outcome.wrong += sum(a != b for x, y in zip(batches, again, strict=True) for a, b in zip(x, y, strict=True))
    return outcome


fault("clock set back an hour", 4, 1)(partial(wrong_clocks, (0.0, -3600.0)))
fault("clock set back a year", 3, 0)(partial(wrong_clocks, (0.0, -365 * 86400.0)))
fault("clock set forth a year", 3, 0)(partial(wrong_clocks, (0.0, 365 * 86400.0)))
