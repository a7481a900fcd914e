"""A ledger outside its store: exported, imported, verified and compared."""

import struct
from dataclasses import replace

import msgpack
import numpy as np
import pytest
import torch

from conftest import STITCH, corrupt, forked, generate, make_dataset, make_run, rewrite
from streamdocs import Stitch
from streamdocs._base.hashing import digest128
from streamdocs.errors import LedgerFileError, StoreError
from streamdocs.ledger.file import MAGIC, LedgerFile, differences, export_ledger, import_ledger
from streamdocs.ledger.manifest import Manifest, State
from streamdocs.ledger.verification import verify
from streamdocs.ledger.windows import Reseal, window_key
from streamdocs.schedule.packing import Unit
from streamdocs.store import LmdbStore

RECIPE = Stitch(generations=4, per_round=1)
WINDOWS = 4


def rows(dataset, windows=range(WINDOWS)) -> torch.Tensor:
    size = dataset.run.mixture.window
    return torch.stack([dataset[p]["input_ids"] for p in range(windows.start * size, windows.stop * size)])


def first_read(dataset, window: int) -> tuple[int, int]:
    """Document and round of a generation that a window reads, and no window before it."""
    pairs = [pairs_of(dataset.ledger.manifest(number)) for number in range(window + 1)]
    return min(pairs[-1].difference(*pairs[:-1]))


def pairs_of(manifest) -> set[tuple[int, int]]:
    return set(zip(manifest.units.owners.tolist(), manifest.units.rounds.tolist(), strict=True))


@pytest.fixture
def grown(small_corpus, store):
    """A run that sealed windows while its generations grew."""
    run = make_run(small_corpus, RECIPE)
    dataset = make_dataset(small_corpus, store, recipe=RECIPE)
    generate(run, store, blocks=3)
    dataset.ledger.manifest(1)
    generate(run, store, blocks=20, first=3)
    dataset.ledger.manifest(WINDOWS - 1)
    return dataset


@pytest.fixture
def other(small_corpus, tmp_path):
    """The same run over another store, in which everything was generated before anything was read."""
    store = LmdbStore(tmp_path / "other")
    generate(make_run(small_corpus, RECIPE), store)
    return make_dataset(small_corpus, store, recipe=RECIPE)


def test_an_imported_ledger_replays_bit_for_bit_and_goes_on(grown, other, small_corpus, tmp_path):
    export_ledger(grown.ledger).save(tmp_path / "run.ledger")
    generate(make_run(small_corpus, RECIPE), grown.store)
    assert import_ledger(other.ledger, LedgerFile.load(tmp_path / "run.ledger")) == []
    assert torch.equal(rows(other, range(WINDOWS + 2)), rows(grown, range(WINDOWS + 2)))
    assert all(report.intact for report in verify(other.ledger))
    state = grown.state_dict(WINDOWS * 32, True)
    make_dataset(small_corpus, other.store, recipe=RECIPE).load_state_dict(state)


def test_without_its_import_the_other_store_reads_otherwise(grown, other):
    assert not torch.equal(rows(other), rows(grown))


def test_into_an_empty_store_first_and_generations_later(grown, small_corpus, tmp_path):
    fresh = make_dataset(small_corpus, LmdbStore(tmp_path / "fresh"), recipe=RECIPE)
    lacking = import_ledger(fresh.ledger, export_ledger(grown.ledger))
    assert [report.window for report in lacking] == list(range(WINDOWS))
    generate(make_run(small_corpus, RECIPE), fresh.store)
    assert torch.equal(rows(fresh), rows(grown))


def test_what_the_store_holds_must_be_the_same(grown, other):
    exported = export_ledger(grown.ledger)
    assert import_ledger(grown.ledger, exported) == [] and export_ledger(grown.ledger) == exported
    other.ledger.manifest(0)
    before = contents(other.store)
    with pytest.raises(LedgerFileError, match=r"window 0 is the first that differs .*generations of a unit"):
        import_ledger(other.ledger, exported)
    assert contents(other.store) == before


def test_the_first_differing_window_is_named(grown, other):
    exported = export_ledger(grown.ledger)
    import_ledger(other.ledger, exported.model_copy(update={"windows": exported.windows[:2]}))
    other.ledger.manifest(3)
    with pytest.raises(LedgerFileError, match="window 2 is the first that differs"):
        import_ledger(other.ledger, exported)
    found = differences(export_ledger(other.ledger), exported)
    assert found[0] == "they part in window 2 (positions 64:96):"
    assert any(line.startswith("what existed when it was sealed: 400 and ") for line in found)


def contents(store) -> dict:
    with store.read() as snapshot:
        return {table: list(snapshot.scan(table, b"")) for table in ("texts", "tokens", "blocks", "windows", "notes")}


@pytest.mark.parametrize("change", [lambda tokens: [tokens[0][:-1]], lambda tokens: [tokens[0][::-1].copy()]])
def test_a_store_with_other_text_is_refused(grown, other, change):
    document, round = first_read(grown, 2)
    rewrite(other, document, round, change)
    before = contents(other.store)
    with pytest.raises(LedgerFileError, match="window 2 was sealed with other generations"):
        import_ledger(other.ledger, export_ledger(grown.ledger))
    assert contents(other.store) == before


def test_verify_names_what_is_missing_or_damaged(grown):
    assert [str(report) for report in verify(grown.ledger)] == ["intact"] * WINDOWS
    missing, damaged, altered = (first_read(grown, window) for window in (1, 2, 3))
    rewrite(grown, *missing, lambda tokens: None)
    corrupt(grown, *damaged)
    rewrite(grown, *altered, lambda tokens: [np.append(tokens[0], tokens[0][:1])])
    faults = {(fault[0], fault[1], fault.what, r.window) for r in verify(grown.ledger) for fault in r.faults}
    firsts = {(*missing, "missing", 1), (*damaged, "damaged", 2), (*altered, "another text", 3)}
    assert firsts <= faults and {fault[:3] for fault in faults} == {fault[:3] for fault in firsts}


def test_verify_notices_text_of_the_same_length(grown):
    document, round = first_read(grown, 3)
    rewrite(grown, document, round, lambda tokens: [tokens[0][::-1].copy()])
    reports = list(verify(grown.ledger))
    assert [str(report) for report in reports[:3]] == ["intact"] * 3
    assert reports[3].faults == [(document, round, 0, "another text")]


def test_verify_notices_windows_that_are_gone_damaged_or_anothers(grown, other):
    def put(window: int, packed: bytes | None) -> None:
        key = window_key(grown.run.ledger_id(grown.run.stream()), window, ())
        grown.store.delete("windows", [key])
        grown.store.add("windows", {key: packed} if packed else {})

    good = grown.ledger.sealed(2)
    put(2, None)
    assert [str(report) for report in verify(grown.ledger)] == ["intact", "intact", "missing", "intact"]
    with pytest.raises(StoreError, match=r"window 2 .* is missing.*--from 2"):
        make_dataset(grown.corpus.local, grown.store, recipe=RECIPE)[2 * 32]
    put(2, good[:-3])
    assert str(list(verify(grown.ledger))[2]) == "damaged"
    with pytest.raises(StoreError, match=r"window 2 .* is damaged"):
        export_ledger(grown.ledger)
    other.ledger.manifest(2)
    put(2, other.ledger.sealed(2))
    assert str(list(verify(grown.ledger))[2]) == "does not go on where the window before ended"


def test_a_damaged_file_is_refused(grown, tmp_path):
    path = tmp_path / "run.ledger"
    export_ledger(grown.ledger).save(path)
    good = path.read_bytes()
    for at in range(0, len(good), 101):
        path.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        with pytest.raises(LedgerFileError, match="damaged, or no exported ledger"):
            LedgerFile.load(path)
    for rest in (b"", good[:3], good[:30], good[:-1], good + b"x"):
        path.write_bytes(rest)
        with pytest.raises(LedgerFileError):
            LedgerFile.load(path)
    with pytest.raises(LedgerFileError, match="cannot be read"):
        LedgerFile.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"more": 1},
        {"windows": 5},
        {"windows": ["text"]},
        {"fingerprint": {"corpus": b""}},
        {"generator": {"model": "x", "command": "rm"}},
        {"digest": "0"},
        {"ledger": b"0"},
        {"reseals": {}},
    ],
)
def test_a_file_of_another_shape_is_refused(grown, tmp_path, change):
    path = tmp_path / "run.ledger"
    export_ledger(grown.ledger).save(path)
    fields = msgpack.unpackb(path.read_bytes()[20:])
    write(path, msgpack.packb({**fields, **change}))
    with pytest.raises(LedgerFileError, match="cannot be read"):
        LedgerFile.load(path)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x93", b"\x91" * 5000, b"\xdd\xff\xff\xff\xff", msgpack.packb([1])])
def test_what_is_no_msgpack_of_a_ledger_is_refused(tmp_path, body):
    write(tmp_path / "run.ledger", body)
    with pytest.raises(LedgerFileError, match="cannot be read"):
        LedgerFile.load(tmp_path / "run.ledger")


def write(path, body: bytes) -> None:
    path.write_bytes(MAGIC + digest128(body) + body)


def changed_units(manifest, **columns) -> Manifest:
    return replace(manifest, units=replace(manifest.units, **columns))


MANIFESTS = {
    "no frame": lambda m: b"nonsense",
    "a frame that claims 2**40 bytes": lambda m: b"\x28\xb5\x2f\xfd\xc0" + struct.pack("<BQ", 88, 1 << 40),
    "a document that is none": lambda m: changed_units(m, documents=m.units.documents + 100),
    "a number that is none": lambda m: changed_units(m, numbers=m.units.numbers + 1),
    "an empty generation": lambda m: changed_units(m, tokens=m.units.tokens * 0),
    "longer generations": lambda m: changed_units(m, tokens=m.units.tokens + 1),
    "fewer rounds": lambda m: changed_units(m, rounds=m.units.rounds[1:]),
    "fewer units": lambda m: changed_units(m, counts=m.units.counts[1:]),
    "more sequences": lambda m: replace(m, unit_rows=m.unit_rows + 1),
    "another window": lambda m: replace(m, after=replace(m.after, window=9)),
    "another beginning": lambda m: replace(m, before=replace(m.before, cursor=m.before.cursor + 1)),
    "a negative document left over": lambda m: replace(m, after=replace(m.after, carry=(Unit(-1, ()),))),
    "too large a document left over": lambda m: replace(m, after=replace(m.after, carry=(Unit(1 << 63, ()),))),
    "more left over than there is": lambda m: replace(m, after=replace(m.after, skip=1 << 40)),
    "a place beyond the corpus": lambda m: replace(m, after=replace(m.after, cursor=101)),
    "another document at the beginning": lambda m: changed_units(m, documents=np.roll(m.units.documents, 1)),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_window_that_cannot_be_is_refused(name, grown, other):
    exported = export_ledger(grown.ledger)
    made = MANIFESTS[name](Manifest.unpack(exported.windows[1]))
    packed = made if isinstance(made, bytes) else made.pack()
    forged = exported.model_copy(update={"windows": (exported.windows[0], packed, *exported.windows[2:])})
    before = contents(other.store)
    with pytest.raises(LedgerFileError, match="window 1 of the file"):
        import_ledger(other.ledger, forged)
    assert contents(other.store) == before


@pytest.mark.parametrize(
    "change",
    [
        {"before": State(window=2, carry=(Unit(100, ()),))},
        {"before": State(window=3)},
        {"before": State(window=2, skip=9)},
        {"time": 1 << 40},
        {"time": -1},
        {"window": -1},
    ],
)
def test_a_reseal_that_cannot_be_is_refused(grown, other, change):
    exported = export_ledger(grown.ledger)
    forged = replace(Reseal(2, State(window=2), (), 0, "a trial"), **change)
    before = contents(other.store)
    with pytest.raises(LedgerFileError, match="a reseal of the file cannot be read"):
        import_ledger(other.ledger, exported.model_copy(update={"reseals": (forged.pack(),)}))
    assert contents(other.store) == before


def test_several_at_once_agree(grown, other, tmp_path):
    """Imports and readers of one store: some import may fail, but there is one chain of windows, and it replays."""
    path = tmp_path / "run.ledger"
    export_ledger(grown.ledger).save(path)
    where = (str(other.corpus.local), other.store.location)
    with forked() as pool:
        imports = [pool.submit(import_in_a_process, *where, str(path)) for _ in range(2)]
        readers = [pool.submit(read_in_a_process, *where) for _ in range(2)]
        read = {each.result(60) for each in readers}
        errors = [error for each in imports if (error := each.result(60))]
    assert len(read) == 1 and all("is the first that differs" in error for error in errors)
    assert all(report.intact for report in verify(other.ledger))


def import_in_a_process(corpus: str, store: str, path: str) -> str:
    from pathlib import Path

    try:
        import_ledger(make_dataset(corpus, LmdbStore(store), recipe=RECIPE).ledger, LedgerFile.load(Path(path)))
    except LedgerFileError as error:
        return str(error)
    return ""


def read_in_a_process(corpus: str, store: str) -> bytes:
    return rows(make_dataset(corpus, LmdbStore(store), recipe=RECIPE)).numpy().tobytes()


def test_diff(grown, other, small_corpus):
    exported = export_ledger(grown.ledger)
    assert differences(exported, exported) == []
    shorter = exported.model_copy(update={"windows": exported.windows[:3]})
    assert differences(shorter, exported) == ["the first 3 windows are the same; only one of them has windows 3 to 3"]
    second = make_dataset(small_corpus, grown.store, recipe=RECIPE, name="second", window=16)
    assert differences(exported, export_ledger(second.ledger)) == [
        "they are two runs:",
        "name:  and second",
        "window: 32 and 16",
    ]
    document, round = first_read(grown, 0)
    rewrite(other, document, round, lambda tokens: [tokens[0][::-1].copy()])
    assert differences(exported, export_ledger(other.ledger)) == [
        "the first 0 windows are the same; only one of them has windows 0 to 3"
    ]


def test_diff_notices_text_of_the_same_length(small_corpus, tmp_path):
    datasets = []
    for name in ("a", "b"):
        store = LmdbStore(tmp_path / name)
        generate(make_run(small_corpus, STITCH), store)
        datasets.append(make_dataset(small_corpus, store))
    one, two = datasets
    one.ledger.manifest(0)
    document, round = first_read(one, 0)
    rewrite(two, document, round, lambda tokens: [each[::-1].copy() for each in tokens])
    two.ledger.manifest(0)
    assert differences(*(export_ledger(each.ledger) for each in datasets)) == [
        "they part in window 0 (positions 0:32):",
        "the text of its generations, or of those before",
    ]
