"""From one store to another, and whether both hold the same."""

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from itertools import islice

from streamdocs.store.base import TABLES, Store, Table
from streamdocs.store.shared.entry import BULKY
from streamdocs.store.shared.store import SharedStore

#: Notes that say how things stand with those who run at the moment.
PASSING = (b"beat/", b"leases/", b"waits/")

_KEYS = 4096  # looked at together
_MOST_BYTES = 8 << 20  # written together


@dataclass
class Difference:
    """In what a table of one store differs from that of another.

    Args:
        same: Entries that both hold.
        lost: Keys that the other store lacks.
        other: Keys under which it holds something else.
        more: How many keys it has beside these.
        gone: Keys of which the first store itself has lost the value.
    """

    same: int = 0
    lost: list[bytes] = field(default_factory=list)
    other: list[bytes] = field(default_factory=list)
    more: int = 0
    gone: list[bytes] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether the other store holds all that the first one does."""
        return not self.lost and not self.other and not self.gone


def copy_store(source: Store, target: Store, *, notes: bool = False) -> Iterator[tuple[Table, int]]:
    """Copy what the target lacks; after each part, how many entries of which table that were.

    The source may be in use: of blocks, windows and notes, those are copied that were there when this began, and before
    them what they refer to. So a copy that is broken off says nothing wrong, and done again, it goes on where it was.
    What lay in bundles that a shared target has lost is written again.

    Args:
        source, target: From which to which.
        notes: Also write the source's notes over those of the target that differ.

    Raises:
        StoreError: One of the stores cannot be read or written.
    """
    gone = target.gone() if isinstance(target, SharedStore) else {}
    with source.read() as snapshot:
        begun = {table: list(snapshot.keys(table, b"")) for table in TABLES if table not in BULKY}
    # Texts twice: those of the tokens that were written after the first time.
    for table in (*BULKY, BULKY[0], *begun):
        for keys in _parts(begun[table], table) if table in begun else _batches(source, table):
            entries, size = dict[bytes, bytes](), 0
            over: Set[bytes] = gone.get(table, set())
            if notes and table == "notes":
                over = _changed(source, target, table, keys)
            there = _there(target, table, keys) - over
            for key, value in _values(source, table, [key for key in keys if key not in there]):
                entries[key] = value
                size += len(value)
                if size >= _MOST_BYTES:
                    yield table, _write(target, table, entries, over)
                    entries, size = {}, 0
            if entries:
                yield table, _write(target, table, entries, over)
        gone.pop(table, None)  # they are there again


def compare_stores(first: Store, second: Store) -> dict[Table, Difference]:
    """In what a store differs from another, by table."""
    found = {}
    for table in TABLES:
        difference = found[table] = Difference()
        for keys in _batches(first, table):
            theirs = dict(_values(second, table, keys))
            ours = dict(_values(first, table, keys))
            # Who retires rounds meanwhile deletes keys; one that is still there without its value is damage.
            difference.gone += sorted(_there(first, table, [key for key in keys if key not in ours]))
            for key, value in ours.items():
                if key not in theirs:
                    difference.lost.append(key)
                elif theirs[key] != value:
                    difference.other.append(key)
                else:
                    difference.same += 1
        count = sum(len(keys) for keys in _batches(second, table))
        difference.more = count - difference.same - len(difference.other)
    return found


def count_entries(store: Store) -> dict[Table, int]:
    """Entries of each table."""
    return {table: sum(len(keys) for keys in _batches(store, table)) for table in TABLES}


def _batches(store: Store, table: Table) -> Iterator[list[bytes]]:
    """All keys of a table in order, some at a time: each from a snapshot of its own."""
    first = b""
    while True:
        with store.read() as snapshot:
            keys = list(islice(snapshot.keys(table, first), _KEYS))
        if not keys:
            return
        yield from _parts(keys, table)
        first = keys[-1] + b"\0"


def _parts(keys: list[bytes], table: Table) -> Iterator[list[bytes]]:
    """Keys, some at a time, but for those of notes that pass."""
    for start in range(0, len(keys), _KEYS):
        some = keys[start : start + _KEYS]
        yield [key for key in some if table != "notes" or not key.startswith(PASSING)]


def _write(store: Store, table: Table, entries: dict[bytes, bytes], over: Set[bytes]) -> int:
    """Write what is not there, and over those of some keys; how many that were."""
    old = {key: value for key, value in entries.items() if key in over}
    if old:
        store.replace({table: old})
    new = {key: value for key, value in entries.items() if key not in over}
    return len(old) + (store.add(table, new) if new else 0)


def _changed(first: Store, second: Store, table: Table, keys: list[bytes]) -> set[bytes]:
    """Keys that both have, with another value."""
    theirs = dict(_values(second, table, keys))
    return {key for key, value in _values(first, table, keys) if theirs.get(key, value) != value}


def _there(store: Store, table: Table, keys: list[bytes]) -> set[bytes]:
    """Those that a store has, of keys in their order."""
    if not keys:
        return set()
    found = set()
    wanted = set(keys)
    with store.read() as snapshot:
        for key in snapshot.keys(table, keys[0]):
            if key > keys[-1]:
                break
            if key in wanted:
                found.add(key)
    return found


def _values(store: Store, table: Table, keys: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values, some at a time, of those that are there."""
    for start in range(0, len(keys), 256):
        some = keys[start : start + 256]
        with store.read() as snapshot:
            found = zip(some, snapshot.get_many(table, some).listed(), strict=True)
            values = [(key, bytes(value)) for key, value in found if value is not None]
        yield from values
