"""Stores as a whole: copied, described and compared."""

import json
import random

import pytest

from conftest import make_dataset
from streamdocs.commands.store import app
from streamdocs.errors import StoreError
from streamdocs.store import LmdbStore, SharedStore
from streamdocs.store.copying import compare_stores, copy_store, count_entries


@pytest.fixture
def filled(tmp_path) -> LmdbStore:
    store, made = LmdbStore(tmp_path / "filled"), random.Random(0)
    for table in ("texts", "tokens"):
        store.add(table, {made.randbytes(16): made.randbytes(made.randrange(20, 4000)) for _ in range(3000)})
    store.add("blocks", {b"%d" % number: b"tally" for number in range(50)})
    store.add("windows", {b"w%d" % number: made.randbytes(40_000) for number in range(20)})
    store.replace({"notes": {b"marks/run": b"1", b"beat/server": b"now", b"leases/scope": b"server"}})
    return store


def test_to_an_object_store_and_back(filled, tmp_path):
    shared = SharedStore(f"file://{tmp_path}/shared", tmp_path / "cache")
    copying = copy_store(filled, shared)
    for _ in range(2):
        next(copying)
    copying.close()  # broken off
    assert not compare_stores(filled, shared)["blocks"].same
    copied = list(copy_store(filled, shared))
    assert sum(count for table, count in copied if table == "texts") < 3000
    assert list(copy_store(filled, shared)) == []
    back = LmdbStore(tmp_path / "back")
    list(copy_store(SharedStore(f"file://{tmp_path}/shared", tmp_path / "another"), back))
    counts = {"texts": 3000, "tokens": 3000, "blocks": 50, "windows": 20, "notes": 1}
    assert count_entries(back) == count_entries(shared) == counts
    assert all(each.is_whole and not each.more for each in compare_stores(filled, back).values())
    back.delete("windows", [b"w3"])
    back.replace({"windows": {b"w4": b"other"}, "blocks": {b"new": b"tally"}})
    found = compare_stores(filled, back)
    assert (found["windows"].lost, found["windows"].other, found["windows"].same) == ([b"w3"], [b"w4"], 18)
    assert found["blocks"].more == 1 and found["blocks"].is_whole


def test_what_is_written_meanwhile_is_not_resolved_without_its_texts(filled, tmp_path):
    target, written = LmdbStore(tmp_path / "target"), set()
    for number, (_, _) in enumerate(copy_store(filled, target)):
        new = {b"new %d" % number: b"of which each table knows"}
        filled.add_all({"texts": new, "tokens": new, "blocks": new})
        written |= new.keys()
    with target.read() as snapshot:
        there = {table: written & set(snapshot.keys(table, b"")) for table in ("texts", "tokens", "blocks")}
    assert not there["blocks"] and there["tokens"] <= there["texts"]
    list(copy_store(filled, target))
    assert all(each.is_whole and not each.more for each in compare_stores(filled, target).values())


def run(capsys, *command: str) -> str:
    app(command, standalone_mode=False)
    return " ".join(capsys.readouterr().out.split())


def test_commands(small_corpus, full_store, tmp_path, capsys):
    url, cache = f"file://{tmp_path}/shared", f"--cache={tmp_path}/cache"
    assert "copied from" in run(capsys, "copy", full_store.location, url, cache)
    assert "nothing that was not there" in run(capsys, "copy", full_store.location, url, cache)
    found = json.loads(run(capsys, "info", url, cache, "--json"))
    assert found["texts"] and found["log_entries"] and found["bundles_unknown"] == found["bundles_missing"] == 0
    compared = json.loads(run(capsys, "verify", full_store.location, url, cache, "--json"))
    assert compared["tokens same"] == found["tokens"] and not compared["tokens lost"]
    full_store.add("windows", {b"more": b"1"})
    with pytest.raises(StoreError, match="does not hold what"):
        run(capsys, "verify", full_store.location, url, cache)
    with pytest.raises(StoreError, match="there is no store at"):
        run(capsys, "info", str(tmp_path / "nowhere"), cache)


def test_bundles_that_are_gone_are_seen_and_written_again(filled, tmp_path, capsys):
    url, cache = f"file://{tmp_path}/shared", f"--cache={tmp_path}/cache"
    run(capsys, "copy", filled.location, url, cache)
    assert "texts lost" in run(capsys, "verify", filled.location, url, cache)
    bundles = sorted((tmp_path / "shared" / "bundles").iterdir())
    for path in bundles:
        path.unlink()
    with pytest.raises(StoreError, match=r"does not hold what .*texts: .*tokens: .*: copy it again"):
        run(capsys, "verify", filled.location, url, cache)
    with pytest.raises(StoreError, match=r"has lost values \(texts: .*restore its bundles"):
        run(capsys, "verify", url, filled.location, cache)
    assert "3,000 texts, 3,000 tokens" in run(capsys, "copy", filled.location, url, cache)
    compared = json.loads(run(capsys, "verify", filled.location, url, cache, "--json"))
    assert compared["texts same"] == compared["tokens same"] == 3000
    assert json.loads(run(capsys, "info", url, cache, "--json"))["bundles_missing"] == 0
    assert "nothing that was not there" in run(capsys, "copy", filled.location, url, cache)
    assert not list((tmp_path / "cache").glob("verify-*"))


def test_notes_that_changed_since(filled, tmp_path, capsys):
    url, cache = f"file://{tmp_path}/shared", f"--cache={tmp_path}/cache"
    run(capsys, "copy", filled.location, url, cache)
    filled.replace({"notes": {b"marks/run": b"2"}})
    assert "copy --notes" in run(capsys, "verify", filled.location, url, cache)
    assert "nothing that was not there" in run(capsys, "copy", filled.location, url, cache)
    assert "1 notes" in run(capsys, "copy", filled.location, url, cache, "--notes")
    compared = json.loads(run(capsys, "verify", filled.location, url, cache, "--json"))
    assert (compared["notes same"], compared["notes other"]) == (1, 0)
    assert "nothing that was not there" in run(capsys, "copy", filled.location, url, cache, "--notes")
    filled.replace({"windows": {b"w3": b"other"}})
    with pytest.raises(StoreError, match=r"something else than .*windows: .*where nothing is"):
        run(capsys, "verify", filled.location, url, cache)


def test_a_run_reads_the_same_over_a_copy(small_corpus, full_store, tmp_path):
    dataset = make_dataset(small_corpus, full_store)
    rows = [dataset[position]["input_ids"].tolist() for position in range(64)]
    shared = SharedStore(f"file://{tmp_path}/shared", tmp_path / "cache")
    list(copy_store(full_store, shared))
    copied = make_dataset(small_corpus, SharedStore(f"file://{tmp_path}/shared", tmp_path / "another"))
    assert [copied[position]["input_ids"].tolist() for position in range(64)] == rows
    assert copied.ledger.sealed(0) == dataset.ledger.sealed(0)
