"""Flipped bits: in everything that a run reads. Delivered tokens are the reference's, or there is an error."""

import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from conftest import TEMPLATE, generate, make_run
from exactness import Child
from faults.table import Outcome, fault, is_clear
from faults.world import corpus_of, dataset_of, read
from streamdocs import Stitch
from streamdocs.errors import StreamdocsError
from streamdocs.generations.heartbeat import beat, register_generator
from streamdocs.ledger.file import LedgerFile, export_ledger, import_ledger
from streamdocs.store import LmdbStore, Table
from streamdocs_server.work.lanes.leases import Leases

RECIPE = Stitch(generations=4, per_round=1)
#: A pass over the web text and over the generations takes about so many windows: every part of a file is read.
DOCUMENTS, WINDOWS, WINDOW = 40, 36, 12


@dataclass(frozen=True)
class Intact:
    """A run that was read to some position while its generations grew, and what it read.

    states: Positions and the states there. sequences: Digests of what was read.
    """

    corpus: Path
    store: Path
    states: list[tuple[int, dict]]
    sequences: list[str]


def intact(folder: Path) -> Intact:
    """Windows are sealed between rounds, so that sealing them again would give others."""
    corpus, store = corpus_of(folder, DOCUMENTS), LmdbStore(folder / "store")
    run = make_run(corpus, RECIPE, length=32, window=WINDOW)
    dataset = dataset_of(corpus, store, RECIPE)
    states, sequences = [], []
    blocks = RECIPE.cycle * run.stream().scope.generation_order.blocks_per_round
    for window in range(WINDOWS):
        generate(run, store, min(window + 2, blocks), first=min(window + (window > 0), blocks))
        sequences += read(dataset, range(window * WINDOW, (window + 1) * WINDOW))
        position = window * WINDOW + 7
        states.append((position, state_of(dataset, position)))
    register_generator(store, TEMPLATE)
    store.update_all(beat(run.stream().scope, "one:1"))
    Leases(store, run.stream().scope, "one:1").acquire([3])
    return Intact(corpus, folder / "store", states, sequences)


def state_of(dataset, position: int) -> dict:
    """As a trainer saves it at a position of its first epoch."""
    return {**dataset.state_dict(position, True), "epoch": 0, "sample_in_epoch": position, "position": position}


def resume(whole: Intact, corpus: Path, store: Path, at: int) -> tuple[int, str, bool]:
    """Go on from a state: sequences that differ, the error that ended it, and whether it is a clear one."""
    position, state = whole.states[at]
    wrong = 0
    try:
        dataset = dataset_of(corpus, store, RECIPE, wait_timeout=1, generator=None)  # it is noted in the store
        dataset.load_state_dict(dict(state))
        for stop in range(position // WINDOW * WINDOW + WINDOW, len(whole.sequences) + 1, WINDOW):
            found = read(dataset, range(position, stop))
            wrong += sum(a != b for a, b in zip(found, whole.sequences[position:stop], strict=True))
            position = stop
    except Exception as error:
        clear = is_clear(error)
        return wrong, f"{type(error).__name__}: {error}", clear
    return wrong, "", True


def check(outcome: Outcome, seen: Counter[str], result: tuple[int, str, bool]) -> None:
    wrong, error, clear = result
    assert clear, f"not a clear error: {error}"
    outcome.wrong += wrong
    seen[error.partition(":")[0] or "read as before"] += 1


def flipped(data: bytes, rng: random.Random, least: int = 0) -> bytes:
    """One bit, somewhere."""
    at = rng.randrange(least, len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def values_flipped(table: Table, prefix: bytes, folder: Path, tries: int, rng: random.Random) -> Outcome:
    """Bits of the values of one table, each put right again afterwards."""
    outcome, seen = Outcome(tried=tries), Counter[str]()
    whole = intact(folder)
    store = LmdbStore(whole.store)
    with store.read() as snapshot:
        items = [(key, value) for key, value in snapshot.scan(table, prefix) if value]
    for _ in range(tries):
        key, value = rng.choice(items)
        store.delete(table, [key])
        store.add(table, {key: flipped(value, rng)})
        check(outcome, seen, resume(whole, whole.corpus, whole.store, rng.randrange(len(whole.states))))
        store.delete(table, [key])
        store.add(table, {key: value})
        began = time.monotonic()
        result = resume(whole, whole.corpus, whole.store, -1)
        assert result == (0, "", True), result
        outcome.took(time.monotonic() - began)
    outcome.note = describe(seen)
    return outcome


def describe(seen: Counter[str]) -> str:
    return ", ".join(f"{what} {count}" for what, count in seen.most_common())


for name, table, prefix, tries in (
    ("a token record", "tokens", b"", 80),
    ("a sealed window", "windows", b"", 80),
    ("a block's record", "blocks", b"", 40),
    ("a note", "notes", b"", 80),
):
    fault(f"bit flipped in {name}", tries, 4)(partial(values_flipped, table, prefix))


@fault("bit flipped in a page of the store", 150, 5)
def pages_flipped(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """Anywhere in LMDB's file. LMDB trusts its pages: one that reads a damaged tree may die of it."""
    outcome, seen = Outcome(tried=tries), Counter[str]()
    whole = intact(folder)
    data = (whole.store / "data.mdb").read_bytes()
    for number in range(tries):
        store = folder / f"store-{number}"
        store.mkdir()
        (store / "data.mdb").write_bytes(flipped(data, rng))
        child = Child(resume, whole, whole.corpus, store, rng.randrange(len(whole.states)))
        try:
            check(outcome, seen, child.result())
        except EOFError:
            seen["died of a signal"] += 1
        shutil.rmtree(store)
    outcome.note = describe(seen)
    return outcome


@fault("bit flipped in a text record", 40, 3)
def texts_flipped(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """Tokens that are made again of a damaged text: the text is written anew instead, or it is an error."""
    outcome = Outcome(tried=tries)
    corpus, store = corpus_of(folder, 40), LmdbStore(folder / "store")
    run = make_run(corpus, RECIPE, length=32, window=12)
    generate(run, store)
    with store.read() as snapshot:
        texts, tokens = dict(snapshot.scan("texts", b"")), dict(snapshot.scan("tokens", b""))
    for _ in range(tries):
        key = rng.choice(list(texts))
        (where,) = [each for each in tokens if each.endswith(key)]
        store.delete("texts", [key])
        store.delete("tokens", [where])
        store.add("texts", {key: flipped(texts[key], rng)})
        began = time.monotonic()
        generate(run, store)  # the template engine writes the same again
        outcome.took(time.monotonic() - began)
        with store.read() as snapshot:
            outcome.wrong += bytes(snapshot.get("tokens", where) or b"") != tokens[where]
        store.delete("texts", [key])  # one that seems to be another key's stays
        store.add("texts", {key: texts[key]})
    return outcome


@fault("bit flipped in an exported ledger", 200, 20)
def ledger_flipped(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """A file that is damaged is refused, and nothing of it is imported."""
    outcome = Outcome(tried=tries)
    whole = intact(folder)
    dataset = dataset_of(whole.corpus, whole.store, RECIPE)
    path = folder / "run.ledger"
    export_ledger(dataset.ledger).save(path)
    data = path.read_bytes()
    for _ in range(tries):
        path.write_bytes(flipped(data, rng))
        try:
            import_ledger(dataset.ledger, LedgerFile.load(path))
        except StreamdocsError as error:
            assert is_clear(error), error
        else:
            outcome.wrong += 1
    path.write_bytes(data)
    began = time.monotonic()
    assert import_ledger(dataset.ledger, LedgerFile.load(path)) == []
    outcome.took(time.monotonic() - began)
    return outcome
