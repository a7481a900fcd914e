"""Several of everything over one store, and stores that another version wrote."""

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import msgpack
import zstandard

from conftest import generate, make_run
from exactness import Child, Setup, Split, endless, generate_for_ever, read_in_one_go
from faults.corruption import RECIPE, check, describe, intact, resume
from faults.table import Outcome, fault
from faults.world import committed, corpus_of, dataset_of, lost, read
from streamdocs import Stitch
from streamdocs.store import LmdbStore

BATCHES = 40


def read_with(setup: Setup, workers: int) -> list[list[str]]:
    """What one of several trainers reads."""
    loader = setup.loader(Split(workers=workers), 0, "")
    return [batch for _, batch in zip(range(BATCHES), endless(loader), strict=False)]


@fault("two trainers, two generators, one store", 6, 1)
def all_twice(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """Windows are sealed by whoever comes first; everybody reads the same."""
    outcome = Outcome(tried=tries)
    corpus = corpus_of(folder, 100)
    for number in range(tries):
        setup = Setup(corpus, folder / str(number), Stitch(generations=8, per_round=1))
        began = time.monotonic()
        with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
            for _ in range(2):
                stack.enter_context(Child(generate_for_ever, setup, rng.choice((5000, 20000, None))))
            trainers = [Child(read_with, setup, rng.choice((0, 1, 2))) for _ in range(2)]
            first, second = pool.map(Child.result, trainers)
            before = committed(LmdbStore(setup.store))
        outcome.took(time.monotonic() - began)
        third = Child(read_in_one_go, setup, BATCHES).result()
        for others in (second, third):
            wrong = (a != b for x, y in zip(first, others, strict=True) for a, b in zip(x, y, strict=True))
            outcome.wrong += sum(wrong)
        outcome.lost += lost(before, committed(LmdbStore(setup.store)))
    return outcome


@fault("records of another version", 30, 3)
def other_records(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """Token records and windows that begin otherwise, or hold something else, are damaged: an error, or a miss."""
    outcome, seen = Outcome(tried=tries), Counter[str]()
    whole = intact(folder)
    store = LmdbStore(whole.store)
    for _ in range(tries):
        table = rng.choice(("tokens", "windows"))
        with store.read() as snapshot:
            items = dict(snapshot.scan(table, b""))
        other = {
            key: b"sdk0" + value[4:] if table == "tokens" else zstandard.compress(msgpack.packb([0, {"units": []}]))
            for key, value in items.items()
        }
        store.delete(table, list(items))
        store.add(table, other)
        result = resume(whole, whole.corpus, whole.store, rng.randrange(len(whole.states)))
        check(outcome, seen, result)
        assert result[1], "it read what it does not know"
        store.delete(table, list(items))
        store.add(table, items)
        assert resume(whole, whole.corpus, whole.store, -1) == (0, "", True)
    outcome.note = describe(seen)
    return outcome


@fault("a store of another version", 5, 1)
def other_version(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """Nothing of it is read and nothing of it is gone: everything is generated under keys of this version."""
    import streamdocs.recipes.keys
    import streamdocs.run

    outcome = Outcome(tried=tries)
    corpus = corpus_of(folder, 40)
    version = streamdocs.recipes.keys.FORMAT_VERSION
    for number in range(tries):
        store, fresh = LmdbStore(folder / str(number)), LmdbStore(folder / f"fresh-{number}")
        for module in (streamdocs.recipes.keys, streamdocs.run):
            module.FORMAT_VERSION = version - 1
        try:
            run = make_run(corpus, RECIPE, length=32, window=12)
            generate(run, store, rng.randint(2, 12))
            read(dataset_of(corpus, store, RECIPE), range(24))
        finally:
            for module in (streamdocs.recipes.keys, streamdocs.run):
                module.FORMAT_VERSION = version
        before = committed(store)
        began = time.monotonic()
        run = make_run(corpus, RECIPE, length=32, window=12)
        generate(run, store, 12)
        generate(run, fresh, 12)
        found, expected = (read(dataset_of(corpus, each, RECIPE), range(240)) for each in (store, fresh))
        outcome.took(time.monotonic() - began)
        outcome.wrong += sum(a != b for a, b in zip(found, expected, strict=True))
        outcome.lost += lost(before, committed(store))
    return outcome
