"""What a store that machines share reads of objects and of a node's cache."""

import functools
import itertools
import os

from hypothesis import strategies as st

from fuzz.strategies import changed, damaged, packed, to_msgpack, values
from fuzz.target import folder, little_memory, target
from streamdocs.errors import StoreError
from streamdocs.store import SharedStore
from streamdocs.store.shared.entry import FOLD, Bundle, Entry, pack_values, sealed, unpack_fold, unpack_values
from streamdocs.store.shared.journal import Journal

ENTRY = Entry(
    b"i" * 16,
    1e9,
    "node:1",
    {"windows": {b"w": b"sealed"}, "notes": {b"n": None}, "texts": {b"t": b"text"}},
    [Bundle(b"b" * 16, "tokens", [b"k", b"l"], 100)],
)
ROW = [1, b"i" * 16, 1e9, "node:1", [[3, [[b"w", b"sealed"]]]], [[b"b" * 16, 1, [b"k"], 100]]]
_numbers = itertools.count()


@target(st.one_of(damaged(ENTRY.pack()), packed.map(sealed), changed(ROW, values).map(to_msgpack).map(sealed)))
def entry(data: bytes) -> None:
    try:
        with little_memory():
            found = Entry.unpack(data)
    except ValueError:
        return
    assert Entry.unpack(found.pack()) == found


VALUES = pack_values([b"k", b"value"])


@target(st.one_of(damaged(VALUES), packed.map(sealed), st.lists(st.binary(max_size=9), max_size=5).map(pack_values)))
def bundle(data: bytes) -> None:
    for read in (unpack_values, unpack_fold):
        try:
            with little_memory():
                found = read(data)
        except ValueError:
            continue
        assert all(isinstance(each, bytes) for each in found) and (read is unpack_values or len(found) == FOLD)


@functools.cache
def _a_folder():
    return folder()


@target(st.one_of(damaged(sealed(to_msgpack([[b"k", b"text"]]))), packed.map(sealed), st.binary(max_size=60)))
def journal(data: bytes) -> None:
    where = _a_folder() / "journal"
    where.mkdir(exist_ok=True)
    (where / f"{os.getpid()}-00.texts").write_bytes(data)
    with little_memory():
        left = list(Journal(str(where)).left())
    assert all(isinstance(value, bytes) for _, texts in left for value in texts.values())
    assert bool(left) == bool(os.listdir(where))  # what cannot be read is not tried again


@target(st.tuples(st.sampled_from(["format", "log/0000000000000000", "log/0000000000000001"]), damaged(ENTRY.pack())))
def object_of_a_store(given: tuple[str, bytes]) -> None:
    """A node opens a store of which one object is something else."""
    name, data = given
    made = _a_folder() / str(next(_numbers))
    store = SharedStore(f"file://{made}/shared", made / "one", patience=1)
    store.add_all({"texts": {b"k": bytes(70_000)}, "windows": {b"w": b"sealed"}})
    store.update(b"n", lambda _: b"1")
    (made / "shared" / name).write_bytes(data)
    fresh = SharedStore(f"file://{made}/shared", made / "two", patience=1)
    try:
        with fresh.read() as snapshot:
            assert snapshot.get("windows", b"w") in (b"sealed", None)
    except StoreError as error:
        assert str(made) in str(error)
