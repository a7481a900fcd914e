"""Many stores in one process, each of which reserves addresses."""

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
