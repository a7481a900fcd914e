"""A store that machines share, each node with a cache of its own."""

import logging
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import forked
from objects.faults import FaultyProxy
from objects.s3 import BUCKET, S3, environment_of
from streamdocs.errors import ConfigError, StoreError, StoreFullError
from streamdocs.store import LmdbStore, SharedStore, open_store
from streamdocs.store.objects.base import BusyError, RefusedError
from streamdocs.store.objects.folder import FolderObjects, MemoryObjects
from streamdocs.store.shared import node as node_module
from streamdocs.store.shared.entry import FOLD

VALUE = 3000  # bytes; some dozens of them are a bundle


def values(count: int, size: int = VALUE, seed: int = 0) -> dict[bytes, bytes]:
    made = random.Random(seed)
    return {b"%06d" % number: made.randbytes(size) for number in range(count)}


def get(store, table, key):
    with store.read() as snapshot:
        value = snapshot.get(table, key)
        return None if value is None else bytes(value)


def get_all(store, table, keys):
    with store.read() as snapshot:
        return [None if value is None else bytes(value) for value in snapshot.get_many(table, keys).listed()]


pytestmark = pytest.mark.usefixtures("no_pace")


def bundles_of(tmp_path) -> list[str]:
    return sorted(os.listdir(tmp_path / "shared" / "bundles"))


@pytest.fixture(scope="module")
def s3():
    with S3() as server:
        yield server


@pytest.fixture
def bucket(s3, monkeypatch):
    """A URL in a bucket of a server that speaks S3."""
    for name, value in environment_of(s3.url).items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{time.time_ns()}"


@pytest.fixture(params=["lmdb", "file", "memory", "s3"])
def store(request, tmp_path):
    """A store of each kind."""
    if request.param == "lmdb":
        return LmdbStore(tmp_path / "store")
    if request.param == "s3":
        return open_store(request.getfixturevalue("bucket"), cache=tmp_path / "cache")
    where = f"{tmp_path}/shared" if request.param == "file" else str(time.time_ns())
    return open_store(f"{request.param}://{where}", cache=tmp_path / "cache")


def test_every_store_does_the_same(store):
    assert store.add("windows", {b"a": b"1", b"b": b"2"}) == 2
    assert store.add("windows", {b"a": b"9", b"c": b"3"}) == 1
    assert [get(store, "windows", key) for key in (b"a", b"b", b"c", b"d")] == [b"1", b"2", b"3", None]
    large = values(60)
    assert store.add_all({"texts": {b"a": b"x", **large}, "tokens": {b"a": b"y"}, "blocks": {b"a": b"z"}}) == 63
    assert store.add_all({"texts": {b"b": b"x", **values(61, seed=1)}}) == 2  # one that is small, and the last
    assert get_all(store, "texts", [b"none", *large]) == [None, *large.values()]
    with store.read() as snapshot:
        keys = [b"a", b"b", *large, b"000060"]
        assert [key for key, _ in snapshot.scan("texts", b"")] == sorted(keys) == list(snapshot.keys("texts", b""))
        assert [key for key, _ in snapshot.scan("texts", b"00005")] == [b"00005%d" % number for number in range(10)]
        assert list(snapshot.keys("texts", b"000059")) == [b"000059", b"000060", b"a", b"b"]
        assert [bytes(value) for _, value in snapshot.scan("blocks", b"")] == [b"z"]
        assert list(snapshot.scan("notes", b"")) == []
    store.replace({"texts": {b"000003": b"new"}, "notes": {b"n": b"0"}})
    assert (get(store, "texts", b"000003"), get(store, "notes", b"n")) == (b"new", b"0")
    assert store.delete("texts", [b"000003", b"000004", b"none"]) == 2
    assert store.delete("texts", [b"000004"]) == 0
    assert get_all(store, "texts", [b"000002", b"000003", b"000004"]) == [large[b"000002"], None, None]
    assert store.add("texts", {b"000004": b"again"}) == 1 and get(store, "texts", b"000004") == b"again"
    assert store.update(b"n", lambda old: old + b"1") == b"01"
    assert store.update_all({b"n": lambda old: None, b"m": lambda old: old}) == {b"n": None, b"m": None}
    assert get(store, "notes", b"n") is None and store.size() > 60 * VALUE


def test_a_snapshot_is_one_moment(store):
    store.add("texts", {b"a": b"1"})
    with store.read() as snapshot:
        store.delete("texts", [b"a"])
        store.add("texts", {b"b": b"2"})
        assert bytes(snapshot.get("texts", b"a")) == b"1" and snapshot.get("texts", b"b") is None
    assert get(store, "texts", b"a") is None


def test_what_a_change_raises_is_raised_and_changes_nothing(store):
    def fails(old):
        raise StoreError("damaged")

    with pytest.raises(StoreError, match="damaged"):
        store.update_all({b"a": lambda old: b"1", b"b": fails})
    assert get(store, "notes", b"a") is None


def test_nodes_see_what_others_wrote(opened):
    one, two = opened(), opened("two")
    large = values(100)
    one.add("tokens", large)
    one.update(b"n", lambda old: b"1")
    assert two.add("tokens", {**values(101, seed=1)}) == 1  # as whoever writes has seen all that was written
    assert get_all(two, "tokens", large) == [*large.values()] and get(two, "notes", b"n") == b"1"
    one.add("windows", {b"w": b"sealed"})
    deadline = time.monotonic() + 20
    while get(two, "windows", b"w") is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert get(two, "windows", b"w") == b"sealed"


def test_the_first_of_many_nodes_wins(opened):
    """Sixteen that write one key, and count one note, at once."""
    nodes = [opened(str(number), patience=60) for number in range(16)]

    def work(number: int) -> int:
        for _ in range(5):
            nodes[number].update(b"count", lambda old: str(int(old or b"0") + 1).encode())
        return nodes[number].add_all({"windows": {b"w": b"%d" % number}, "blocks": {b"w": b"%d" % number}})

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(work, range(16)))
    assert sorted(won) == [0] * 15 + [2]
    for node in nodes:
        node.update(b"seen", lambda old: b"1" if old is None else old + b"1")
        assert get(node, "windows", b"w") == get(node, "blocks", b"w") == b"%d" % won.index(2)
        assert get(node, "notes", b"count") == b"80"


def test_nodes_over_s3(bucket, tmp_path):
    one, two = (SharedStore(bucket, tmp_path / name) for name in ("one", "two"))
    with forked() as pool:
        done = [pool.submit(count_up, each) for each in (one, two, one, two)]
        assert one.add("tokens", values(100)) == 100 and [each.result() for each in done] == [None] * 4
    assert two.update(b"counter", lambda old: old) == b"100"
    assert get_all(two, "tokens", values(100)) == [*values(100).values()]
    two.delete("tokens", values(100))
    assert two.node.replica.dead() and two.account()["bundles"] == 0 and two.account()["log_entries"] > 100


def test_requests_to_s3_that_fail(s3, bucket, monkeypatch, tmp_path):
    with FaultyProxy(s3.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        one, two = (SharedStore(bucket, tmp_path / name, patience=60) for name in ("one", "two"))
        one.update(b"n", lambda old: b"0")
        proxy.fail(0.2, ("slow down", "internal error", "reset", "answer lost"))
        for number in range(20):
            (one, two)[number % 2].update(b"n", lambda old: b"%d" % (int(old) + 1))
            (two, one)[number % 2].add("texts", values(30, seed=number))
        proxy.be_well()
        assert two.update(b"n", lambda old: old) == b"20"
        assert get_all(two, "texts", values(30)) == [*values(30, seed=0).values()]
        assert sum(one.requests[what, "busy"] for what in ("create", "get")) > 3


def test_a_server_that_heeds_no_condition_is_refused(monkeypatch, tmp_path):
    with S3(overwrites=True) as server:
        for name, value in environment_of(server.url).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(StoreError, match=rf"s3://{BUCKET}/x cannot hold a store: 17 of 17 created one object"):
            SharedStore(f"s3://{BUCKET}/x", tmp_path / "cache").update(b"n", lambda old: b"1")
        with pytest.raises(StoreError, match=r"s3://nowhere/x.*Check the bucket"):
            SharedStore("s3://nowhere/x", tmp_path / "cache").update(b"n", lambda old: b"1")


def count_up(store) -> None:
    for _ in range(25):
        store.update(b"counter", lambda old: str(int(old or b"0") + 1).encode())


def test_processes_of_a_node_that_were_forked(opened, tmp_path):
    store = opened()
    store.update(b"counter", lambda old: b"0")  # open here, before the fork
    store.add("texts", values(60))
    with forked() as pool:
        list(pool.map(count_up, [store] * 4))
    assert store.update(b"counter", lambda old: old) == b"100"
    shutil.rmtree(tmp_path / "one")
    with forked() as pool:  # it has to fill the cache again first, or it would take what it has seen for lost
        assert pool.submit(get, store, "texts", b"000007").result() == values(60)[b"000007"]
    assert get(pickle.loads(pickle.dumps(store)), "texts", b"000007") == values(60)[b"000007"]


def test_a_cache_can_be_deleted(opened, tmp_path):
    large = values(200)
    opened().add("texts", large)
    opened().update(b"n", lambda old: b"1")
    store = opened("two")
    assert get_all(store, "texts", large) == [*large.values()]
    shutil.rmtree(tmp_path / "two")
    store.update(b"n", lambda old: old + b"2")  # whoever has it open goes on
    assert get_all(store, "texts", large) == [*large.values()]
    again = opened("two")
    assert get_all(again, "texts", large) == [*large.values()] and get(again, "notes", b"n") == b"12"


def test_a_cache_that_cannot_be_read_is_filled_anew(opened, tmp_path):
    store = opened()
    store.add("texts", {b"a": b"1"})
    folder = store.cache
    del store
    with open(os.path.join(folder, "replica", "data.mdb"), "r+b") as file:
        file.write(b"\xff" * 8192)
    assert get(opened(), "texts", b"a") == b"1"


def test_a_cache_outlives_no_store_without_a_word(tmp_path):
    location = f"memory://{time.time_ns()}"
    one, two = (lambda name=name: SharedStore(location, tmp_path / name) for name in ("one", "two"))
    one().add("texts", {b"a": b"1"})
    objects = one()._objects._objects._objects
    whole = dict(objects)
    objects.clear()
    for _ in range(2):
        with pytest.raises(StoreError, match="is empty, and is not the one that cache"):
            one().update(b"n", lambda old: b"1")
    assert not objects
    two().add("texts", {b"b": b"2"})
    with pytest.raises(StoreError, match="was made anew"):
        one().update(b"n", lambda old: b"1")
    objects.clear()
    objects.update(whole)
    assert get(one(), "texts", b"a") == b"1"


def test_a_store_that_is_emptied_is_written_no_more(tmp_path):
    store = SharedStore(f"memory://{time.time_ns()}", tmp_path)
    store.update(b"n", lambda old: b"1")
    objects = store._objects._objects._objects
    whole = dict(objects)
    objects.clear()
    with pytest.raises(StoreError, match="is empty"):
        store.node._check_and_sweep()
    with pytest.raises(StoreError, match="is empty"):
        store.update(b"n", lambda old: b"2")
    assert not objects
    objects.update(whole)
    store.node._check_and_sweep()
    assert store.update(b"n", lambda old: old + b"2") == b"12"


def test_a_folder_that_is_away_for_a_while(opened, tmp_path):
    """Another folder in its place, as where nothing is mounted: nothing is written there, and nothing lost."""
    store = opened(patience=30)
    store.update(b"n", lambda old: b"1")
    os.rename(tmp_path / "shared", tmp_path / "elsewhere")
    (tmp_path / "shared").mkdir()

    def come_back() -> None:
        assert os.listdir(tmp_path / "shared") == []
        os.rmdir(tmp_path / "shared")
        os.rename(tmp_path / "elsewhere", tmp_path / "shared")

    timer = threading.Timer(1.5, come_back)
    timer.start()
    assert store.update(b"n", lambda old: old + b"2") == b"12"
    timer.join()
    assert get(opened("two"), "notes", b"n") == b"12"


@pytest.mark.parametrize("left", ["nothing", "a folder"])
def test_a_folder_that_is_not_mounted_yet(opened, tmp_path, monkeypatch, caplog, left):
    """Who starts reads what the cache holds, and writes nothing beside the store."""
    monkeypatch.setattr("streamdocs.store.shared.cache._PATIENCE", 0.2)
    monkeypatch.setattr("streamdocs.store.shared.node._POLL_PATIENCE", 0.2)
    large = values(100)
    opened().add("texts", large)
    os.rename(tmp_path / "shared", tmp_path / "elsewhere")
    if left == "a folder":
        (tmp_path / "shared").mkdir()
    store = opened(patience=0.5)
    with caplog.at_level(logging.WARNING):
        assert get_all(store, "texts", large) == [*large.values()]
    assert "going on with what the cache" in caplog.text and "Is it mounted?" in caplog.text
    heard = store.clock()
    with pytest.raises(StoreError, match="Is it mounted"):
        store.update(b"n", lambda old: b"1")
    assert store.clock() == heard  # nobody is taken to be silent
    assert [*tmp_path.glob("shared/*")] == []
    shutil.rmtree(tmp_path / "shared", ignore_errors=True)
    os.rename(tmp_path / "elsewhere", tmp_path / "shared")
    assert store.update(b"n", lambda old: b"2") == b"2"
    assert get(opened("two"), "notes", b"n") == b"2"


def test_a_replica_that_somebody_uses_is_never_deleted(opened, monkeypatch):
    store = opened()
    store.add("texts", {b"a": b"1"})

    def locked(self, *_):
        raise StoreError("process 7 has been writing for 60 s. Continue it")

    with monkeypatch.context() as patch, pytest.raises(StoreError, match="process 7"):
        patch.setattr("streamdocs.store.shared.replica.Replica.head", locked)
        get(opened(), "texts", b"a")
    assert get(opened(), "texts", b"a") == b"1"


def test_a_cache_that_is_full_is_read_past(opened, monkeypatch, caplog):
    opened().add("texts", values(100))
    store = opened("two")

    def full(self, *_):
        raise StoreFullError("the disk is full")

    monkeypatch.setattr("streamdocs.store.shared.replica.Replica.hold", full)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert get_all(store, "texts", values(100)) == [*values(100).values()]
    assert caplog.text.count("the cache keeps no more") == 1


def test_what_was_read_is_read_also_where_it_cannot_be_kept(opened, monkeypatch, caplog):
    opened().add("texts", values(100))
    store = opened("two")

    def locked(self, *_):
        raise StoreError("process 7 has been writing for 60 s")

    monkeypatch.setattr("streamdocs.store.shared.replica.Replica.hold", locked)
    assert get_all(store, "texts", values(100)) == [*values(100).values()]
    assert "process 7" in caplog.text


def test_what_is_no_object_of_ours_is_left_alone(opened, tmp_path):
    store = opened()
    store.add("texts", values(100))
    store.update(b"n", lambda old: b"1")
    for name in ("bundles/README", "bundles/zz", "bundles/" + "é" * 32, "log/7", "log/notes"):
        (tmp_path / "shared" / name).write_text("somebody else's")
    assert not any(store.gone().values()) and store.account()["bundles_unknown"] == 0
    assert get(opened("two"), "notes", b"n") == b"1"


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cache .* cannot be written"):
        SharedStore(f"file://{tmp_path}/shared", tmp_path / "file").update(b"n", lambda old: b"1")


def test_a_cache_of_few_bytes(opened, tmp_path):
    large = values(2000)
    writer = opened()
    for start in range(0, 2000, 100):
        writer.add("texts", dict(list(large.items())[start : start + 100]))
    store = opened("two", cache_bytes=2_000_000)
    for _ in range(2):
        for start in range(0, 2000, 50):
            keys = list(large)[start : start + 50]
            assert get_all(store, "texts", keys) == [large[key] for key in keys]
            assert store.size() < 2_700_000  # a bundle is held before another one goes
    assert len(bundles_of(tmp_path)) == 20


def test_a_damaged_value_of_the_cache_is_fetched_again(opened):
    large = values(100)
    store = opened()
    store.add("texts", large)
    with store.node.replica.store.change() as change:
        change.put("texts", {b"000005": b"damaged"})
    assert get(store, "texts", b"000005") == b"damaged"
    store.make_room("texts", b"000005", b"damaged")
    assert get(store, "texts", b"000005") == large[b"000005"]
    store.replace({"texts": {b"000006": b"damaged", b"000007": b"fine"}})
    store.make_room("texts", b"000006", b"damaged")  # also in the store itself
    assert get_all(store, "texts", [b"000006", b"000007"]) == [None, b"fine"]
    assert store.add("texts", {b"000006": b"mended"}) == 1


def test_a_damaged_object_is_named(opened, tmp_path):
    opened().add("texts", values(100))
    [name] = bundles_of(tmp_path)
    path = tmp_path / "shared" / "bundles" / name
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(StoreError, match=f"bundles/{name} is damaged"):
        get(opened("two"), "texts", b"000001")
    entry = sorted((tmp_path / "shared" / "log").iterdir())[0]
    entry.write_bytes(b"")
    with pytest.raises(StoreError, match=rf"log/{entry.name} is damaged"):
        get(opened("three"), "texts", b"000001")


def test_bundles_of_which_nothing_is_left_are_deleted(opened, tmp_path, monkeypatch):
    store = opened()
    store.add("texts", values(100))
    store.add("texts", {key + b"x": value for key, value in values(100).items()})
    assert len(bundles_of(tmp_path)) == 2
    store.delete("texts", values(99))
    store.node._check_and_sweep()
    store.delete("texts", [b"000099"])
    store.node._check_and_sweep()
    assert len(bundles_of(tmp_path)) == 2  # who is behind may still read it
    monkeypatch.setattr(node_module, "GRACE", 0.0)
    store.node._check_and_sweep()
    assert len(bundles_of(tmp_path)) == 1 and len(store.node.replica.bundles()) == 1
    assert get(store, "texts", b"000001x") == values(100)[b"000001"]
    assert store.node.replica.dead() == []


def refuse(*_):
    raise RefusedError("not now")


def test_many_entries_lie_in_folds(opened, tmp_path, monkeypatch):
    store = opened()
    for number in range(2 * FOLD + 10):
        store.update(b"n", lambda old, number=number: b"%d" % number)
    store.node.look()
    folds, deadline = tmp_path / "shared" / "fold", time.monotonic() + 60
    while len(list(folds.iterdir())) < 2 and time.monotonic() < deadline:  # another thread may be at it
        time.sleep(0.05)
    assert sorted(int(each.name) for each in folds.iterdir()) == [0, 1]
    # Who was to write one was killed, or could not: a writer that misses it does.
    max(folds.iterdir()).unlink()
    monkeypatch.setattr("streamdocs.store.shared.node.follow", lambda _: None)
    other = opened("three")
    other.update(b"m", lambda old: b"1")
    with monkeypatch.context() as patch, pytest.raises(StoreError, match="not now"):
        patch.setattr(FolderObjects, "create", refuse)
        other.node.look()
    assert len(list(folds.iterdir())) == 1
    other.node.look()
    assert len(list(folds.iterdir())) == 2
    for entry in sorted((tmp_path / "shared" / "log").iterdir())[FOLD : 2 * FOLD]:
        entry.unlink()
    new = opened("two")
    assert get(new, "notes", b"n") == b"%d" % (2 * FOLD + 9)
    assert new.requests["get", "done"] < 2 * FOLD


class Faulty:
    """Objects of which requests fail, some of which were carried out all the same."""

    def __init__(self, objects, share: float) -> None:
        self._objects, self._share = objects, share
        self._random = random.Random(7)
        self.location = objects.location
        self.is_gone = False

    def __getattr__(self, method):
        def request(*arguments):
            if self.is_gone or self._random.random() < self._share / 2:
                raise BusyError("no answer")
            found = getattr(self._objects, method)(*arguments)
            if self._random.random() < self._share / 2:
                raise BusyError("the answer was lost")
            return found

        return request


@pytest.fixture
def faulty(monkeypatch, tmp_path):
    """Opens the store on a node that reaches it with faults; and those faults."""
    monkeypatch.setattr("streamdocs.store.objects.reliable._PAUSES", (0.001, 0.01))

    def opened(name: str, share: float, patience: float = 60):
        store = SharedStore(f"file://{tmp_path}/shared", tmp_path / name, patience=patience)
        faults = Faulty(FolderObjects(f"{tmp_path}/shared"), share)
        store._objects._objects = faults
        return store, faults

    return opened


def test_requests_that_fail_or_were_carried_out_without_an_answer(faulty):
    one, two = faulty("one", 0.3)[0], faulty("two", 0.3)[0]
    kept = {}
    for number in range(20):
        writer = (one, two)[number % 2]
        writer.update(b"count", lambda old: str(int(old or b"0") + 1).encode())
        large = values(40, seed=number)
        new = {key: value for key, value in large.items() if key not in kept}
        assert writer.add("texts", large) == len(new)
        kept |= new
        key = b"w%d" % number
        assert writer.add("windows", {key: b"1"}) == 1
        assert (two, one)[number % 2].add("windows", {key: b"2"}) == 0
    assert one.update(b"count", lambda old: old) == b"20"
    assert get_all(one, "texts", kept) == [*kept.values()]
    assert one.requests["create", "busy"] > 5


def test_a_store_that_is_gone(faulty, caplog, tmp_path):
    store, faults = faulty("one", 0.0, patience=0.5)
    large = values(100)
    store.add("texts", large)
    store.update(b"n", lambda old: b"1")
    store.node.look()
    faults.is_gone = True
    assert get_all(store, "texts", large) == [*large.values()]
    heard = store.clock()
    with pytest.raises(StoreError, match="not answered for"):
        store.update(b"n", lambda old: b"2")
    assert store.clock() == heard
    again = SharedStore(f"file://{tmp_path}/shared", tmp_path / "one", patience=0.5)
    again._objects._objects = faults
    with caplog.at_level(logging.WARNING):
        assert get(again, "notes", b"n") == b"1"  # also for who starts now
    assert "going on with what the cache" in caplog.text
    faults.is_gone = False
    assert store.update(b"n", lambda old: old + b"2") == b"12"


def die_while_sending(faulty) -> None:
    """A process of node "one" writes a text to a store that is gone, and is killed meanwhile."""
    faulty("one", 0.0)[0].update(b"made", lambda old: b"1")

    def life() -> None:
        store, faults = faulty("one", 0.0)
        get(store, "notes", b"made")
        faults.is_gone = True
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
        store.add("texts", {b"a": b"written"})

    child = multiprocessing.get_context("fork").Process(target=life)
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL


def test_texts_that_were_not_sent_are_sent_by_the_next_process(faulty, opened, tmp_path):
    die_while_sending(faulty)
    assert get(opened("two"), "texts", b"a") is None
    assert get(opened(), "texts", b"a") == b"written"
    assert not os.listdir(os.path.join(opened().cache, "journal"))
    two = opened("two")
    two.update(b"made", lambda old: b"2")
    assert get(two, "texts", b"a") == b"written"


def test_they_are_sent_as_well_where_the_store_was_gone_when_that_process_began(faulty, opened, tmp_path):
    die_while_sending(faulty)
    again, faults = faulty("one", 0.0)
    again._objects.patience = 0.2
    faults.is_gone = True
    assert get(again, "notes", b"made") == b"1" and get(again, "texts", b"a") is None
    faults.is_gone = False
    again.update(b"made", lambda old: old + b"2")
    assert get(again, "texts", b"a") == b"written"  # before anything is asked for that this could be
    assert not os.listdir(os.path.join(again.cache, "journal"))
    assert get(opened("two"), "texts", b"a") == b"written"


def test_what_is_written_some_time_is_written(opened):
    store = opened()
    store.update_soon(b"n", lambda old: b"1")
    store.update(b"m", lambda old: b"1")
    assert get(store, "notes", b"n") == b"1"
    store.update_soon(b"n", lambda old: b"2")
    store.node.end()
    assert get(store, "notes", b"n") == b"2"


class Overwriting(MemoryObjects):
    """Objects that heed no condition."""

    def create(self, name: str, data: bytes) -> bool:
        self.delete([name])
        return super().create(name, data)


class Unlisted(MemoryObjects):
    """Objects that are not listed at once."""

    def list(self, prefix: str):
        return iter(())


class Forbidden(MemoryObjects):
    """Objects that others may create."""

    def create(self, name: str, data: bytes) -> bool:
        raise RefusedError(f"{self.location}: access denied")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            Overwriting,
            r"memory://\S+ cannot hold a store: \d+ of 17 created one object \(If-None-Match is not heeded\)",
        ),
        (Unlisted, "an object that was written is not listed"),
        (Forbidden, "access denied"),
    ],
)
def test_objects_that_cannot_hold_a_store_are_refused(kind, message, tmp_path):
    store = SharedStore(f"memory://{time.time_ns()}", tmp_path / "cache")
    store._objects._objects = kind(str(time.time_ns()))
    with pytest.raises(StoreError, match=message), store.read():
        pass


def test_who_may_only_read_reads(tmp_path, caplog):
    name = str(time.time_ns())
    SharedStore(f"memory://{name}", tmp_path / "one").add("texts", values(50))
    store = SharedStore(f"memory://{name}", tmp_path / "two")
    store._objects._objects = Forbidden(name)
    with caplog.at_level(logging.WARNING):
        assert get(store, "texts", b"000003") == values(50)[b"000003"]
    assert "is read-only here" in caplog.text
    with pytest.raises(StoreError, match="access denied"):
        store.update(b"n", lambda old: b"1")


def test_a_store_of_another_version_is_refused(opened, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "format").write_text('{"format": 2, "id": "0"}')
    with pytest.raises(StoreError, match="none of this version"), opened().read():
        pass


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://user:secret@bucket/prefix", "without user, key"),
        ("s3://bucket/prefix?key=secret", "without user, key"),
        ("s3:///prefix", "a bucket after s3://"),
        ("file://folder", "three slashes"),
        ("file:///", "three slashes"),
        ("gs://bucket/../other", "without .."),
        ("http://host/store", "known are s3://"),
        ("s3://KEY:secret/Sec+K@bucket/p", "a bucket after s3://"),
        ("gs://bucket:secret/x", "a bucket after gs://"),
        ("file://secret/x", "three slashes"),
        ("gs://bucket/secret/../other", "without .."),
        ("s3://KEY:[secret@bucket/p", "cannot be read"),
        ("s3://KEY:secret$NOWHERE@bucket/p", "the variable NOWHERE is not set"),
        ("s3:/bucket/secret", "two slashes"),
        ("S3:bucket", "two slashes"),
        ("file:/secret", "two slashes"),
    ],
)
def test_urls_that_are_none(url, message):
    with pytest.raises(ConfigError, match=message) as error:
        open_store(url)
    assert "secret" not in str(error.value)


def test_a_log_without_its_beginning_is_none(opened, tmp_path):
    """Nobody takes it for an empty store and writes another beginning, nor who has read it up to a later gap."""
    store, log = opened(), tmp_path / "shared" / "log"
    for number in range(14):
        store.update(b"n", lambda old, number=number: b"%d" % number)
    entries = {path: path.read_bytes() for path in sorted(log.iterdir())}
    for first in (0, 3):
        for path in list(entries)[first:10]:
            path.unlink()
        for _ in range(2):
            new = opened(f"new{first}")
            with pytest.raises(StoreError, match=f"entry {first} of its log is missing, and 13 is there: restore log/"):
                new.update(b"n", lambda old: b"again")
        assert len(list(log.iterdir())) == 4 + first
        for path, data in entries.items():
            path.write_bytes(data)
        assert get(new, "notes", b"n") == b"13"
        again = opened(f"new{first}")
        assert get(again, "notes", b"n") == b"13" and again.requests["list", "done"] == 0  # it is known to be whole


def test_requests_are_few(opened, monkeypatch):
    """Texts of many calls at once take one entry and one bundle; nothing takes a listing."""
    monkeypatch.setattr("streamdocs.store.shared.store._PACE", 1.0)
    store = opened()
    store.update(b"n", lambda old: b"1")
    before = Counter(store.requests)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda part: store.add("texts", {b"%d-" % part + k: v for k, v in values(30).items()}), range(8)))
    assert store.requests["create", "done"] - before["create", "done"] <= 4
    assert store.requests["list", "done"] == before["list", "done"]
