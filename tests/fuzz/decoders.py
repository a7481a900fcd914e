"""Everything that is read back from a store or a checkpoint: records, manifests, notes, ledgers, states."""

import functools
import json
import struct

import numpy as np
import xxhash
import zstandard
from hypothesis import strategies as st

from conftest import STITCH, TEMPLATE, generate, make_corpus, make_dataset, make_run, make_texts
from fuzz.strategies import changed, damaged, json_values, packed, to_msgpack, values
from fuzz.target import folder, folder_of, little_memory, target
from graphs import numbers_edition
from streamdocs._base.hashing import digest128
from streamdocs._base.untrusted import decompress, unpack
from streamdocs.errors import ConfigError, FingerprintError, LedgerFileError, StoreError
from streamdocs.generations.encoding import TextRecord, decode_text, decode_tokens, encode_text, encode_tokens
from streamdocs.generations.heartbeat import Listener, register_generator, registered_generators
from streamdocs.generations.progress import Tally
from streamdocs.graph import packing
from streamdocs.graph.edition import Edition
from streamdocs.graph.packing import pack_edition, unpack_edition
from streamdocs.graph.rows import Rows
from streamdocs.graph.summary import summarise
from streamdocs.graph.walks import Walks
from streamdocs.ledger.file import MAGIC, LedgerFile, differences, export_ledger, import_ledger
from streamdocs.ledger.manifest import Manifest, State
from streamdocs.ledger.windows import Reseal, read_reseals, window_key, windows_in_use
from streamdocs.plans.hard import HardPlan
from streamdocs.recipes.keys import Key
from streamdocs.steering.controllers import Arms, Ucb
from streamdocs.steering.decider import Decider
from streamdocs.steering.decision import Decision
from streamdocs.steering.reports import HeldOut, Reports
from streamdocs.steering.rewards import Lost
from streamdocs.store import LmdbStore
from streamdocs_server.work.lanes.leases import Leases
from streamdocs_server.work.retire import Retirer

KEY = Key(bytes(16), b"k" * 8)
TEXTS = encode_text(KEY, TextRecord(["some text " * 9, None], [None, "empty"], 2, 0))
TOKENS = encode_tokens(KEY, [np.arange(40, dtype="uint16"), np.arange(0, dtype="uint16")])


def sealed_record(kind: bytes, body: bytes) -> bytes:
    """A record that is whole, whatever it holds."""
    return struct.pack("<4s4x8s8s", kind, KEY.check, xxhash.xxh3_64_digest(body)) + body


def frame(body: bytes, lie: int | None = None) -> bytes:
    """zstd, with a size of its own or another one in front."""
    compressed = zstandard.ZstdCompressor(level=1).compress(body)
    if lie is None:
        return compressed
    header = zstandard.get_frame_parameters(compressed)
    skip = {True: 5}.get(header.window_size == header.content_size, 6)
    return compressed[:4] + b"\xe0" + lie.to_bytes(8, "little") + compressed[skip + 1 :]


bodies = st.one_of(
    packed.map(frame),
    st.binary(max_size=60),
    packed,
    st.tuples(packed, st.sampled_from([0, 1, 1 << 20, 1 << 40])).map(lambda a: frame(*a)),
    st.just(frame(bytes(1 << 22))),
    st.just(frame(to_msgpack([["x"], [None], 1, 0]))),
)


@target(st.one_of(damaged(TEXTS), bodies.map(lambda body: sealed_record(b"sdx1", body)), st.binary(max_size=64)))
def text_record(data: bytes) -> None:
    with little_memory():
        found = decode_text(KEY, data)
    assert found is None or (
        len(found.texts) == len(found.causes) and all(t is None or t.encode() for t in found.texts)
    )


token_tables = st.tuples(
    st.integers(0, 9), st.sampled_from([0, 1, 2, 3, 1 << 20, (1 << 32) - 1]), st.binary(max_size=90)
)


@target(
    st.one_of(
        damaged(TOKENS),
        st.binary(max_size=64),
        token_tables.map(lambda t: sealed_record(b"sdk1", struct.pack("<II", t[0], t[1]) + t[2])),
    )
)
def token_record(data: bytes) -> None:
    with little_memory():
        found = decode_tokens(KEY, data)
        for number in range(min(len(found.lengths), 50) if found else 0):
            tokens = found.generation(number)
            assert tokens is None or len(tokens) == found.lengths[number]


STATE = vars(State(carry=((1, ((0, 1, 5),)),), skip=2, history=b"h" * 16))
UNITS = {name: np.arange(3, dtype="<u4").tobytes() for name in ("documents", "counts", "rounds", "numbers", "tokens")}
MANIFEST = [STATE, STATE, UNITS, 4, 10]


@target(st.one_of(bodies, changed(MANIFEST, values).map(to_msgpack).map(frame), damaged(frame(to_msgpack(MANIFEST)))))
def manifest(data: bytes) -> None:
    try:
        with little_memory():
            found = Manifest.unpack(data)
    except ValueError:
        return
    assert 0 <= found.unit_rows < 1 << 62 and found.after.window >= 0


class Halves:
    """What was read of two arms that have half each."""

    def read(self, position: int) -> np.ndarray:
        return np.full(2, position / 2)

    def due(self, start: int, stop: int) -> np.ndarray:
        return np.full(2, (stop - start) / 2)


DECISION = Decider(Ucb(), Arms(("a", "b"), np.array([0.5, 0.5])), 64, 1).decide(
    3, 32, None, [Lost(1, (50.0, 40.0), (10, 9), (16, 16))], [HeldOut(64, 4.0)], Halves()
)


@target(st.one_of(damaged(DECISION.pack()), bodies, changed(vars(DECISION), values).map(to_msgpack).map(frame)))
def decision(data: bytes) -> None:
    try:
        with little_memory():
            found = Decision.unpack(data)
    except ValueError:
        return
    assert len(found.shares) == len(found.counts) and str(found) and found.evaluated < 1 << 62


reported = st.tuples(st.floats() | values, st.integers(-1, 9) | values, st.binary(max_size=40), st.binary(max_size=80))


@target(st.tuples(st.one_of(damaged(b"r" * 40), bodies, reported.map(to_msgpack).map(frame)), packed))
def report(values: tuple[bytes, bytes]) -> None:
    data, evaluation = values
    reports = Reports(_reports_store(), bytes(16), 8, 16)
    reports._store.update(reports._key(3) + bytes(4), lambda _: data)
    reports._store.update(reports._held_out_key(3), lambda _: evaluation)
    losses = reports.losses(3)
    assert losses is None or not np.isinf(losses).any()
    assert all(np.isfinite(each.loss) for each in reports.held_out(-1, 9))
    reports.add(0, 3, np.arange(2), np.ones((2, 8), np.float32))
    assert reports.losses(3) is not None


@functools.cache
def _reports_store() -> LmdbStore:
    return LmdbStore(folder() / "store")


HARD = [4, 9, bytes(16), np.array([3, 10, 1], "<i4").tobytes(), b"\x03\x01\x01"]


@target(st.one_of(bodies, changed(HARD, values).map(to_msgpack).map(frame), damaged(frame(to_msgpack(HARD)))))
def hard_plan(data: bytes) -> None:
    try:
        with little_memory():
            found = HardPlan.unpack(data)
    except ValueError:
        return
    assert (np.diff(found.hard) > 0).all() and len(found.hard) == len(found.counts) and found.first <= found.stop


EDITION_PARTS = [*pack_edition(numbers_edition())]
small_numbers = st.lists(st.integers(-2, 9) | st.just((1 << 31) - 1), max_size=9)


@st.composite
def forged_editions(draw) -> list[bytes]:
    """A graph of a few names that leads anywhere, with the right digest."""
    arrays = [np.array(draw(small_numbers), "<i4") for _ in range(3)]
    starts = np.concatenate([[0], np.cumsum(arrays[1], dtype=np.int64)])
    digest = Edition(("a", "b"), ("c",), arrays[0], Rows(starts, arrays[2])).digest
    return [frame(to_msgpack(part)) for part in ([1, digest, ["a", "b"], ["c"]], [packing._lean(a) for a in arrays])]


@st.composite
def changed_editions(draw) -> list[bytes]:
    parts = draw(changed([unpack(decompress(part)) for part in EDITION_PARTS], values))
    return [frame(to_msgpack(part)) for part in parts] if isinstance(parts, list) else []


@target(
    st.one_of(
        forged_editions(),
        changed_editions(),
        st.tuples(*(st.deferred(lambda part=part: damaged(part)) for part in EDITION_PARTS)),
        st.lists(bodies, max_size=3),
    )
)
def edition(parts) -> None:
    """The graph of a stream's concepts, and a walk through it."""
    try:
        with little_memory():
            found = unpack_edition(parts)
    except ValueError:
        return
    assert summarise(found).documents == len(found.documents)
    if found.topics:
        assert Walks(found, 1).walk(3).topics


RESEAL = [3, STATE, [b"d" * 16], 1_700_000_000, "why"]


@target(st.one_of(packed, changed(RESEAL, values).map(to_msgpack)))
def reseal(data: bytes) -> None:
    try:
        with little_memory():
            found = Reseal.unpack(data)
    except ValueError:
        return
    assert str(found)
    assert Reseal.unpack(found.pack()) == found


@target(st.one_of(packed, changed([1, 2, 3, 4, {"empty": 1}, 0], values).map(to_msgpack)))
def tally(data: bytes) -> None:
    with little_memory():
        found = Tally.unpack(data)
    assert (found + found).pack() and min(found.items, found.generations, found.tokens, found.cut) >= 0


@functools.cache
def run_folder():
    made = folder()
    corpus = make_corpus(made, make_texts(24, most_words=20), holdout=0.2)
    store = LmdbStore(made / "store")
    generate(make_run(corpus, STITCH), store)
    register_generator(store, TEMPLATE)
    dataset = make_dataset(corpus, store)
    for position in (0, 40):
        dataset[position]
    return dataset


NOTES = st.one_of(
    packed,
    changed({"model": "m", "revision": "", "temperature": 1.0, "top_p": 1.0, "system": None}, values).map(to_msgpack),
    changed([2, [1, 2]], values).map(to_msgpack),
    changed({"test:1": [1e12, [3]]}, values).map(to_msgpack),
    changed([to_msgpack(RESEAL)], values).map(to_msgpack),
    st.sampled_from([1e300, float("nan"), -1.0, "now"]).map(to_msgpack),
)


@target(NOTES)
def note(data: bytes) -> None:
    """The same bytes under every name of a note."""
    dataset = run_folder()
    scope, store, ledger = dataset.run.stream().scope, dataset.store, dataset.ledger
    names = [
        b"beat/" + scope.id + b"s",
        b"generator/x",
        b"retired/" + scope.id,
        b"marks/" + scope.id + ledger.id,
    ]
    names += [b"reseals/" + ledger.id, b"leases/" + scope.id]
    with store.read() as snapshot:
        before = {name: bytes(old) if (old := snapshot.get("notes", name)) is not None else None for name in names}

    def readers():
        with store.read() as snapshot:
            read_reseals(snapshot, ledger.id)

    leases = Leases(store, scope, "fuzz:1")
    asked = [
        (names[0], lambda: Listener(store, scope).silent_seconds()),
        (names[1], lambda: registered_generators(store)),
        (names[2], lambda: Retirer(store, scope).retired_rounds),
        (names[3], lambda: list(windows_in_use(store, scope))),
        (names[3], lambda: ledger.mark(40, 2)),
        (names[4], readers),
        (names[4], lambda: ledger.reseals),
        (names[5], lambda: (leases.acquire([3]), store.update_all(leases.leave()))),
    ]
    for name, ask in asked:
        store.update(name, lambda _: data)
        try:
            with little_memory():
                ask()
        except StoreError:
            pass
        finally:
            store.update(name, lambda _, name=name: before[name])
    assert registered_generators(store) == [dataset.run.stream().scope.generator]


@functools.cache
def first_window() -> tuple[bytes, bytes, list]:
    """Where the first window is, its manifest as it is stored, and what that says."""
    ledger = run_folder().ledger
    found = ledger.sealed(0)
    return window_key(ledger.id, 0, ()), found, unpack(decompress(found))


arrays = st.lists(st.integers(0, 300) | st.just((1 << 32) - 1), max_size=40).map(
    lambda each: np.array(each, "<u4").tobytes()
)


@target(st.deferred(lambda: changed(first_window()[2], st.one_of(arrays, values))), share=0.5)
def window(value) -> None:
    """A sealed window that says something else, and is read."""
    dataset = run_folder()
    key, whole, _ = first_window()
    again = make_dataset(dataset.corpus.local, LmdbStore(dataset.store.location))
    dataset.store.delete("windows", [key])
    dataset.store.add("windows", {key: frame(to_msgpack(value))})
    try:
        with little_memory():
            again[0]["input_ids"]
    except StoreError:
        pass
    finally:
        dataset.store.delete("windows", [key])
        dataset.store.add("windows", {key: whole})


@functools.cache
def exported() -> tuple[LedgerFile, dict]:
    file = export_ledger(run_folder().ledger)
    fields = {**dict(file), "generator": vars(file.generator)}
    return file, json.loads(json.dumps({}, default=str)) | fields


@st.composite
def ledger_files(draw) -> bytes:
    _, fields = exported()
    if draw(st.booleans()):
        body = draw(packed)
    else:
        made = draw(changed(fields, values))
        if isinstance(made, dict) and draw(st.integers(0, 3)):  # as whoever forges one would
            try:
                named = LedgerFile.model_validate(made)
                made = {**made, "ledger": named.ledger_id, "digest": named.digest}
            except (ValueError, TypeError, OverflowError):
                pass
        body = to_msgpack(made)
    whole = MAGIC + digest128(body) + body
    return draw(damaged(whole)) if draw(st.booleans()) else whole


@target(ledger_files(), share=0.5)
def ledger_file(data: bytes) -> None:
    path = folder_of("ledger") / "run.ledger"
    path.write_bytes(data)
    try:
        with little_memory():
            found = LedgerFile.load(path)
        differences(found, exported()[0])
        differences(found, found)
        import_ledger(run_folder().ledger, found)
    except (LedgerFileError, FingerprintError, StoreError):
        return


@functools.cache
def state() -> dict:
    return run_folder().state_dict(40, True)


@target(st.deferred(lambda: st.one_of(changed(state()), changed(state(), values), json_values)))
def checkpoint_state(value) -> None:
    dataset = run_folder()
    try:
        dataset.load_state_dict(value)
    except (FingerprintError, ConfigError, StoreError):
        return
    assert (value["epoch"], value["position"] - value["sample_in_epoch"]) == (0, 0) or value["epoch"] > 0
    assert dataset.state_dict(0, False)["position"] == value["position"]
