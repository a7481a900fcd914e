"""What a shared store asks for, keeps and takes at a time is bounded, however much there is."""

import os
import random
import time
from functools import partial

import pytest

from streamdocs.store import LmdbStore
from streamdocs.store.shared import bundles as bundles_module
from streamdocs.store.shared import node as node_module
from streamdocs.store.shared import replica as replica_module

pytestmark = pytest.mark.usefixtures("no_pace")


def written(store, count: int) -> dict[bytes, bytes]:
    """Values of so many bundles, some in each."""
    made, values = random.Random(0), {}
    for bundle in range(count):
        some = {b"%d-%d" % (bundle, number): made.randbytes(10_000) for number in range(10)}
        store.add("tokens", some)
        values |= some
    return values


def test_of_many_bundles_few_are_in_memory(opened, monkeypatch):
    values = written(opened(), 12)
    reader, at_once, fetched = opened("two"), [], []
    in_parallel, fetch = bundles_module.in_parallel, bundles_module.Bundles.fetch
    monkeypatch.setattr(bundles_module, "_AT_ONCE", 3)
    monkeypatch.setattr(
        bundles_module, "in_parallel", lambda work, each: at_once.append(len(each)) or in_parallel(work, each)
    )
    monkeypatch.setattr(bundles_module.Bundles, "fetch", lambda *given: fetched.append(fetch(*given)) or fetched[-1])
    wanted = [b"%d-%d" % (bundle, number) for number in (3, 7) for bundle in range(12)]
    with reader.read() as snapshot:
        found = snapshot.get_many("tokens", [b"none", *wanted]).listed()
        assert found[0] is None and [bytes(each) for each in found[1:]] == [values[key] for key in wanted]
    assert at_once == [3, 3, 3, 3] and [set(each) for each in fetched] == [set(wanted)]


def bundles_of(tmp_path) -> list[str]:
    return os.listdir(tmp_path / "shared" / "bundles")


def test_bundles_are_deleted_a_few_at_a_time(opened, tmp_path, monkeypatch):
    """Each look for new entries has to wait for that."""
    monkeypatch.setattr(node_module, "GRACE", 0.0)
    monkeypatch.setattr("streamdocs.store.shared.bundles._MOST_SWEPT", 2)
    store = opened()
    store.delete("tokens", written(store, 5))
    store.node._swept = time.monotonic() - node_module._SWEEP_SECONDS - 1
    left = []
    for _ in range(4):
        store.node.look()
        left.append(len(bundles_of(tmp_path)))
    assert left == [3, 1, 0, 0] and store.node.replica.dead() == []


def test_a_new_cache_does_not_delete_again_what_is_long_gone(opened, monkeypatch):
    one = opened()
    one.delete("tokens", written(one, 3))
    assert len(one.node.replica.dead()) == 3
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + replica_module._LONG + 60)
    new = opened("new")
    assert new.update(b"n", lambda _: b"1") and new.node.replica.dead() == []
    assert len(one.node.replica.dead()) == 3  # who saw it happen still does, if nobody was there since
    one.node._check_and_sweep()
    assert new.account()["bundles_unknown"] == 0


@pytest.mark.parametrize("early", [True, False])
def test_a_full_disk_of_the_cache_does_not_end_what_can_go_on(opened, monkeypatch, early):
    """Bundles fill it; some go then, or, where others filled it, when an entry of the log finds no room."""
    store = opened()
    values = written(store, 30)
    with monkeypatch.context() as patch:
        patch.setattr(replica_module, "LmdbStore", partial(LmdbStore, max_bytes=1_500_000))
        reader = opened("two")
        assert reader.node.replica.store.size() < 200_000
        if not early:
            patch.setattr(replica_module.Replica, "make_room", lambda _: False)
        with reader.read() as snapshot:
            assert all(snapshot.get("tokens", key) == value for key, value in values.items())
    for number in range(45):
        store.update(b"%d" % number, lambda _: bytes(20_000))
    reader.node.catch_up()
    assert reader.update(b"44", lambda old: old + b"1") == bytes(20_000) + b"1"
