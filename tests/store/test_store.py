import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import lmdb
import pytest

from conftest import forked, read_only
from fuzz.target import little_memory
from streamdocs.errors import ConfigError, StoreError, StoreFullError
from streamdocs.store import LmdbStore, lock, open_store


def get(store, table, key):
    with store.read() as snapshot:
        value = snapshot.get(table, key)
        return None if value is None else bytes(value)


def test_the_first_writer_wins(store):
    assert store.add("windows", {b"a": b"1", b"b": b"2"}) == 2
    assert store.add("windows", {b"a": b"9", b"c": b"3"}) == 1
    assert [get(store, "windows", key) for key in (b"a", b"b", b"c", b"d")] == [b"1", b"2", b"3", None]
    assert store.add_all({"texts": {b"a": b"x"}, "tokens": {b"a": b"y"}}) == 2
    assert (get(store, "texts", b"a"), get(store, "tokens", b"a"), get(store, "blocks", b"a")) == (b"x", b"y", None)


def test_a_snapshot_is_one_moment(store):
    store.add("texts", {b"a": b"1"})
    with store.read() as snapshot:
        store.delete("texts", [b"a"])
        store.add("texts", {b"b": b"2"})
        assert bytes(snapshot.get("texts", b"a")) == b"1" and snapshot.get("texts", b"b") is None
    assert get(store, "texts", b"a") is None


def test_scan_gives_what_begins_with_a_prefix(store):
    store.add("notes", {key: key.upper() for key in (b"a", b"ab", b"abc", b"b", b"\xff", b"\xff\xff")})
    with store.read() as snapshot:
        assert [key for key, _ in snapshot.scan("notes", b"ab")] == [b"ab", b"abc"]
        assert dict(snapshot.scan("notes", b"\xff")) == {b"\xff": b"\xff", b"\xff\xff": b"\xff\xff"}
        assert list(snapshot.scan("notes", b"x")) == []
        assert len(list(snapshot.scan("notes", b""))) == 6


def test_containers_of_one_store_need_different_process_ids(store, tmp_path):
    """Where every container is its own process 1, LMDB takes two processes for one."""
    script = tmp_path / "read.py"
    script.write_text(
        "import sys\n"
        "from streamdocs.store import LmdbStore\n"
        "with LmdbStore(sys.argv[1]).read():\n"
        "    print('reads', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = ["unshare", "--map-root-user", "--pid", "--fork", sys.executable, str(script), store.location]
    open_files = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    try:
        subprocess.run([*command[:4], "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no PID namespaces here: {error}")
    with subprocess.Popen(command, **open_files) as first:
        assert first.stdout.readline() == "reads\n"
        second = subprocess.run(command, capture_output=True, text=True, input="", timeout=60, check=False)
        first.communicate("")
    assert second.returncode and "has the id of this one (1)" in second.stderr and "--pid=host" in second.stderr
    assert first.returncode == 0


def test_delete_counts_what_there_was(store):
    store.add("texts", {b"a": b"1"})
    assert store.delete("texts", [b"a", b"b"]) == 1


def count_up(location: str) -> None:
    store = LmdbStore(location)
    for _ in range(100):
        store.update(b"counter", lambda old: str(int(old or b"0") + 1).encode())


def test_updates_of_many_processes_are_all_counted(store):
    store.update(b"counter", lambda old: b"0")  # open here, before the fork
    with forked() as pool:
        list(pool.map(count_up, [store.location] * 4))
    assert get(store, "notes", b"counter") == b"400"
    assert store.update(b"counter", lambda old: None) is None
    assert get(store, "notes", b"counter") is None


def test_pickled_and_opened_again(store):
    store.add("texts", {b"a": b"1"})
    assert get(pickle.loads(pickle.dumps(store)), "texts", b"a") == b"1"
    os.symlink(store.location, store.location + "-link")
    assert get(LmdbStore(store.location + "-link"), "texts", b"a") == b"1"


def test_a_store_that_nobody_uses_any_more_is_closed(tmp_path):
    for number in range(200):  # each reserves four TiB of addresses, and there are 128
        store = LmdbStore(tmp_path / str(number))
        assert store.add("texts", {b"a": b"1"}) == 1
        same = LmdbStore(tmp_path / str(number))
        assert get(same, "texts", b"a") == b"1"


def test_a_full_store_says_so_and_loses_nothing(tmp_path):
    store = LmdbStore(tmp_path / "store", max_bytes=1 << 18)
    store.add("texts", {b"kept": b"1"})
    with pytest.raises(StoreFullError, match="is full at 262144 bytes"):
        store.add("texts", {b"large": bytes(1 << 20)})
    assert get(store, "texts", b"kept") == b"1"
    store.add("texts", {b"small": b"2"})


@pytest.mark.parametrize("may_lock", [True, False])
def test_a_store_in_a_folder_that_cannot_be_written_is_read(as_nobody, caplog, may_lock):
    folder = as_nobody / "store"
    LmdbStore(folder).add("texts", {b"a": b"1"})
    with read_only(folder):
        (folder / "lock.mdb").chmod(0o644 if may_lock else 0o444)
        store = open_store(folder, must_exist=True)
        assert get(store, "texts", b"a") == b"1" and store.size() > 0
        assert "is read-only here" in caplog.text and ("could be torn" in caplog.text) != may_lock
        for write in (
            lambda: store.add("texts", {b"b": b"2"}),
            lambda: store.update(b"a", lambda old: b"2"),
            lambda: store.delete("texts", [b"a"]),
        ):
            with pytest.raises(StoreError, match="is read-only here, and something is to be written"):
                write()


def test_what_cannot_be_written_cannot_be_made_or_mended(as_nobody):
    folder = as_nobody / "store"
    folder.mkdir()
    with read_only(folder), pytest.raises(StoreError, match="cannot be opened"):
        get(LmdbStore(folder), "texts", b"a")
    LmdbStore(folder).add("texts", {b"a": b"1"})
    os.truncate(folder / "data.mdb", os.path.getsize(folder / "data.mdb") - 4096)
    with read_only(folder), pytest.raises(StoreError, match="was cut short by 4,096 bytes"):
        get(LmdbStore(folder), "texts", b"a")


def test_a_file_that_is_no_store_of_ours_is_not_read(as_nobody):
    folder = as_nobody / "store"
    lmdb.open(str(folder)).close()
    (folder / "data.mdb").chmod(0o444)
    with pytest.raises(StoreError, match="holds no store of this version"):
        get(LmdbStore(folder), "texts", b"a")


def test_who_only_looks_makes_no_store(tmp_path, monkeypatch):
    for name in ("store", "."):
        with pytest.raises(StoreError, match=r"there is no store in .*streamdocs-server RUN_YAML"):
            open_store(tmp_path / name, must_exist=True)
    assert list(tmp_path.iterdir()) == []
    LmdbStore(tmp_path / "store").add("texts", {b"a": b"1"})
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get(open_store("~/store", must_exist=True), "texts", b"a") == b"1"
    with pytest.raises(ConfigError, match="NOWHERE is not set"):
        open_store("$NOWHERE/store")


def test_where_addresses_are_limited_a_store_takes_some_of_them(tmp_path, caplog):
    with little_memory(1024):
        store = LmdbStore(tmp_path / "store")
        store.add("texts", {b"a": b"1"})
        assert "ulimit -v" in caplog.text
        with pytest.raises(StoreFullError, match=r"is full at 2\d{8} bytes; raise its limit, or that of addresses"):
            for number in range(40):
                store.add("texts", {bytes([number]): bytes(10 << 20)})
        assert get(store, "texts", b"a") == b"1"
    del store
    with little_memory(50), pytest.raises(StoreError, match=r"no room in the address space .*ulimit -v unlimited"):
        get(LmdbStore(tmp_path / "store"), "texts", b"a")
    assert get(LmdbStore(tmp_path / "store"), "texts", b"a") == b"1"


def test_freed_space_is_used_again(store):
    for _ in range(3):
        store.add("texts", {bytes([number]): bytes(10_000) for number in range(100)})
        full = store.size()
        store.delete("texts", [bytes([number]) for number in range(100)])
        assert store.size() < full / 10
    assert os.path.getsize(f"{store.location}/data.mdb") < 3 * full


def hold(location: str, held) -> None:
    def change(old):
        held.set()
        time.sleep(600)

    LmdbStore(location).update(b"held", change)


def test_a_writer_that_was_stopped_holds_nobody_up_for_ever(store, monkeypatch, caplog):
    store.add("texts", {b"a": b"1"})
    context = multiprocessing.get_context("fork")
    held = context.Event()
    holder = context.Process(target=hold, args=(store.location, held), daemon=True)
    holder.start()
    assert held.wait(60)
    os.kill(holder.pid, signal.SIGSTOP)
    monkeypatch.setattr(lock, "DEADLINE", 1.0)
    monkeypatch.setattr(lock, "_WARN_SECONDS", 0.1)
    began, busy = time.monotonic(), time.thread_time()
    with pytest.raises(StoreError, match=rf"process {holder.pid}, which is stopped, has been writing for 1 s"):
        store.add("texts", {b"b": b"2"})
    assert time.thread_time() - busy < 0.5 * (time.monotonic() - began)  # it sleeps
    assert "has been writing" in caplog.text
    assert get(store, "texts", b"a") == b"1"  # reading waits for nobody
    monkeypatch.setattr(lock, "DEADLINE", 60.0)
    threading.Timer(0.3, holder.kill).start()
    assert store.add("texts", {b"b": b"2"}) == 1  # its death frees the lock
    holder.join()


def test_threads_take_turns_too(store, monkeypatch):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.update(b"counter", lambda old: str(int(old or b"0") + 1).encode()), range(50)))
    assert get(store, "notes", b"counter") == b"50"
    monkeypatch.setattr(lock, "DEADLINE", 0.1)
    begun, done = threading.Event(), threading.Event()

    def change(old):
        begun.set()
        done.wait(60)

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(store.update, b"x", change)
        assert begun.wait(60)
        with pytest.raises(StoreError, match="another thread"):
            store.add("texts", {b"b": b"2"})
        done.set()
        holding.result()
    assert store.add("texts", {b"b": b"2"}) == 1


def test_a_file_that_was_cut_short_is_no_new_store(tmp_path, caplog):
    store = LmdbStore(tmp_path / "store")
    store.add("texts", {bytes([number]): bytes([number]) * 9000 for number in range(100)})
    data = tmp_path / "store" / "data.mdb"
    whole = data.read_bytes()

    def reopened(size: int) -> LmdbStore:
        (folder := tmp_path / str(size)).mkdir()
        (folder / "data.mdb").write_bytes(whole[:size])
        (folder / "write.lock").write_bytes(b"1")
        return LmdbStore(folder)

    half = reopened(len(whole) // 2)
    intact = 0
    for number in range(100):
        with suppress(StoreError):
            intact += get(half, "texts", bytes([number])) == bytes([number]) * 9000
    assert intact < 100 and "bytes shorter" in caplog.text
    with pytest.raises(StoreError, match=r"lost its data\.mdb"):
        get(reopened(0), "texts", b"a")
    for size in (100, 5000):
        with pytest.raises(StoreError, match="cannot be opened"):
            get(reopened(size), "texts", b"a")


def read_for_ever(location: str, reading) -> None:
    with LmdbStore(location).read() as snapshot:
        snapshot.get("texts", b"a")
        reading.set()
        time.sleep(600)


def test_a_reader_that_was_killed_does_not_make_the_file_grow(store):
    keys = [bytes([number]) for number in range(100)]
    store.add("texts", dict.fromkeys(keys, bytes(10_000)))
    full = os.path.getsize(f"{store.location}/data.mdb")
    context = multiprocessing.get_context("fork")
    reading = context.Event()
    reader = context.Process(target=read_for_ever, args=(store.location, reading))
    reader.start()
    assert reading.wait(60)
    reader.kill()
    reader.join()
    for _ in range(10):
        store.delete("texts", keys)
        store.add("texts", dict.fromkeys(keys, bytes(10_000)))
    assert os.path.getsize(f"{store.location}/data.mdb") < 3 * full


def test_what_cannot_be_a_store(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"), open_store(str(tmp_path / "file" / "store")).read():
        pass
    with pytest.raises(ConfigError, match="known are s3://"):
        open_store("mysql://host")
