"""From one store to another, and whether both hold the same."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from streamdocs.store.base import TABLES, Store, Table

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
    """

    same: int = 0
    lost: list[bytes] = field(default_factory=list)
    other: list[bytes] = field(default_factory=list)
    more: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether the other store holds all that the first one does."""
        return not self.lost and not self.other


def copy_store(source: Store, target: Store) -> Iterator[tuple[Table, int]]:
    """Copy what the target lacks; after each part, how many entries of which table that were.

    What blocks and windows refer to is copied before them, so that a copy that is broken off says nothing wrong; done
    again, it goes on where it was.

    Raises:
        StoreError: One of the stores cannot be read or written.
    """
    for table in TABLES:
        for keys in _batches(source, table):
            entries, size = dict[bytes, bytes](), 0
            there = _there(target, table, keys)
            for key, value in _values(source, table, [key for key in keys if key not in there]):
                entries[key] = value
                size += len(value)
                if size >= _MOST_BYTES:
                    yield table, target.add(table, entries)
                    entries, size = {}, 0
            if entries:
                yield table, target.add(table, entries)


def compare_stores(first: Store, second: Store) -> dict[Table, Difference]:
    """In what a store differs from another, by table."""
    found = {}
    for table in TABLES:
        difference = found[table] = Difference()
        for keys in _batches(first, table):
            theirs = dict(_values(second, table, keys))
            for key, value in _values(first, table, keys):
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
        yield [key for key in keys if table != "notes" or not key.startswith(PASSING)]
        first = keys[-1] + b"\0"


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
