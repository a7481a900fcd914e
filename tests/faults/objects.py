"""A store that machines share: of which requests fail, that is gone, and whose caches are deleted."""

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exactness import Child, Setup, Split, endless, generate_for_ever, wait_until
from faults.table import Outcome, fault
from faults.world import committed, corpus_of, lost
from objects.faults import FaultyProxy
from objects.s3 import BUCKET, S3, environment_of
from streamdocs import Stitch

BATCHES = 24


def over(url: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process that finds S3 at a URL."""
    os.environ.update(environment_of(url))
    return function(*arguments)


def read_on(setup: Setup, node: int) -> list[list[str]]:
    """What a trainer on a node reads."""
    loader = setup.loader(Split(), 0, "", node=node)
    return [batch for _, batch in zip(range(BATCHES), endless(loader), strict=False)]


@contextmanager
def a_run(folder: Path, number: int) -> Iterator[tuple[Setup, FaultyProxy, Outcome]]:
    """Of a server and two trainers, each on a node of its own; then what was lost and wrong."""
    outcome = Outcome(tried=1)
    with S3() as server, FaultyProxy(server.url) as proxy:
        os.environ.update(environment_of(server.url))
        setup = Setup(
            corpus_of(folder / str(number), 60), f"s3://{BUCKET}/{number}", Stitch(generations=8, per_round=1)
        )
        began = time.monotonic()
        with Child(over, proxy.url, generate_for_ever, setup, 5000):
            trainers = [Child(over, proxy.url, read_on, setup, node) for node in (0, 1)]
            yield setup, proxy, outcome
            first, second = (trainer.result() for trainer in trainers)
            before = committed(setup.opened("looks"))
        outcome.took(time.monotonic() - began)
        third = Child(over, server.url, read_on, setup, 2).result()
        for others in (second, third):
            pairs = (pair for x, y in zip(first, others, strict=True) for pair in zip(x, y, strict=True))
            outcome.wrong += sum(a != b for a, b in pairs)
        outcome.lost += lost(before, committed(setup.opened("looks again")))


def every(folder: Path, tries: int, harm: Callable[[Setup, FaultyProxy, Outcome], None]) -> Outcome:
    """Do something to so many runs."""
    whole = Outcome(tried=tries)
    for number in range(tries):
        with a_run(folder, number) as (setup, proxy, outcome):
            wait_until(lambda: proxy.counts()[("PUT", "200")] > 40)
            harm(setup, proxy, outcome)
        whole.lost, whole.wrong = whole.lost + outcome.lost, whole.wrong + outcome.wrong
        whole.took(outcome.seconds)
    return whole


@fault("a fifth of an object store's requests fail", 4, 1)
def failing(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """Some before, and some after they were carried out."""
    kinds = ("slow down", "internal error", "reset", "answer lost")
    return every(folder, tries, lambda _, proxy, __: proxy.fail(0.2, kinds, seconds=30))


@fault("an object store is gone for a while", 4, 0)
def gone(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """Longer than one look for new entries is tried."""
    return every(folder, tries, lambda _, proxy, __: proxy.be_gone(seconds=rng.uniform(5, 20)))


@fault("caches are deleted while a run goes on", 4, 0)
def deleted(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """Of the server and of a trainer, both of which have them open."""

    def delete(setup: Setup, _: FaultyProxy, __: Outcome) -> None:
        for node in ("server", 0):
            shutil.rmtree(setup.cache(node), ignore_errors=True)
            time.sleep(rng.uniform(0, 2))

    return every(folder, tries, delete)
