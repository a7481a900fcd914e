import os
import random

import pytest


def values(seed: int, count: int, least: int = 1, most: int = 30_000) -> dict[bytes, bytes]:
    rng = random.Random(seed)
    return {rng.randbytes(24): rng.randbytes(rng.randint(least, most)) for _ in range(count)}


def everything(store) -> dict[bytes, bytes]:
    with store.read() as snapshot:
        return dict(snapshot.scan("tokens", b""))


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_what_was_written_together_is_read_one_by_one(store, count):
    written = values(1, count) | values(2, count, 1, 100) | values(3, count, 20, 20)
    assert store.add("tokens", written) == len(written)
    assert store.add("tokens", dict.fromkeys(written, bytes(5000))) == 0  # the first writer wins
    with store.read() as snapshot:
        assert {key: bytes(snapshot.get("tokens", key)) for key in written} == written
        found = snapshot.get_many("tokens", [*written, b"nothing"]).listed()
    assert found[-1] is None
    assert everything(store) == written


def test_a_pack_goes_with_the_last_of_its_values(store):
    empty = store.size()
    batches = [values(seed, 16, 5000, 6000) for seed in range(20)]
    for batch in batches:
        store.add("tokens", batch)
    full = store.size()
    for batch in batches:
        *most, last = batch
        assert store.delete("tokens", most) == 15
        assert store.delete("tokens", most) == 0
        with store.read() as snapshot:
            assert bytes(snapshot.get("tokens", last)) == batch[last]
    assert store.size() > 0.9 * full
    assert sum(store.delete("tokens", batch) for batch in batches) == 20
    assert store.size() == empty and everything(store) == {}


def test_pages_are_hardly_larger_than_what_is_in_them(store):
    written = [values(seed, 16, 5000, 6000) for seed in range(100)]
    for batch in written:
        store.add("tokens", batch)
    assert store.size() < 1.05 * sum(len(value) for batch in written for value in batch.values())


def test_space_of_packs_is_used_again(store):
    sizes = []
    for seed in range(12):
        batches = [values(100 * seed + number, 16, 4000, 12_000) for number in range(10)]
        for batch in batches:
            store.add("tokens", batch)
        for batch in batches:
            store.delete("tokens", batch)
        sizes.append(os.path.getsize(f"{store.location}/data.mdb"))
    assert sizes[-1] < 1.5 * sizes[3]


def test_a_value_whose_pack_is_gone_is_not_there(store):
    written = values(1, 4, 5000, 6000)
    store.add("tokens", written)
    opened = store._open()
    with opened.environment.begin(write=True) as transaction:
        transaction.drop(opened.packs.database, delete=False)
    with store.read() as snapshot:
        assert snapshot.get_many("tokens", written).listed() == [None] * 4
    assert store.delete("tokens", written) == 4
