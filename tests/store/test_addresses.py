"""Many stores in one process, each of which reserves addresses."""

import gc
import multiprocessing

from streamdocs.store import LmdbStore


def use(folder: str, number: int) -> None:
    """Use so many stores at once."""
    stores = [LmdbStore(f"{folder}/{each}") for each in range(number)]
    for store in stores:
        store.add("texts", {b"a": b"1"})
    for store in stores:
        with store.read() as snapshot:
            assert snapshot.get("texts", b"a") == b"1"


def test_more_stores_than_there_are_addresses_for(tmp_path):
    child = multiprocessing.get_context("fork").Process(target=use, args=(str(tmp_path), 40))
    child.start()
    child.join(60)
    assert child.exitcode == 0


def test_what_nobody_has_any_more_is_not_open(tmp_path):
    first = LmdbStore(tmp_path / "first")
    first.add("texts", {b"a": b"1"})
    held = [first._mine]
    held.append(held)  # only the garbage collector sees that nobody has it
    (tmp_path / "first").rename(tmp_path / "second")
    gc.disable()
    try:
        del first, held
        LmdbStore(tmp_path / "second").add("texts", {b"b": b"2"})
    finally:
        gc.enable()
