"""What a node keeps of a shared store: the log replayed up to some number, and bundles that were read."""

import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from itertools import islice, takewhile
from math import inf
from typing import NamedTuple

import msgpack
import numpy as np
from pydantic import TypeAdapter

from streamdocs._base.arrays import Count
from streamdocs._base.untrusted import unpack
from streamdocs.errors import StoreFullError
from streamdocs.store.base import Table, Values
from streamdocs.store.lmdb import LmdbChange, LmdbSnapshot, LmdbStore
from streamdocs.store.shared.entry import BULKY, Entry

# By table and key the bundle in which a value of a bulky table is; "" where it was in the log itself.
_PLACES = "places"
# How far the log was replayed, and what is known of bundles.
_STATE = "state"
_HEAD, _TURN, _NEXT, _IDENTITY, _WHOLE = b"head", b"turn", b"next", b"identity", b"whole"
_BUNDLE, _HELD, _DEAD = b"bundle/", b"held/", b"dead/"
# Seconds after which a bundle of which nothing is left was deleted.
_LONG = 3 * 86_400.0
# After an eviction there is room for some more.
_FULL_SHARE = 0.9

_BUNDLE_NOTE = TypeAdapter(tuple[int, Count, Count])
_HELD_NOTE = TypeAdapter(tuple[bytes, int, list[bytes]])


class Dead(NamedTuple):
    """A bundle of which nothing is left: since when (Unix seconds), and the key under which that is noted."""

    note: bytes
    bundle: bytes
    since: float


class View:
    """A snapshot of a replica with what is to be changed in it."""

    def __init__(self, snapshot: LmdbSnapshot) -> None:
        self._snapshot = snapshot
        self.changes: dict[Table, dict[bytes, bytes | None]] = {}

    @property
    def head(self) -> int:
        """The number of the next entry of the log."""
        return _number(self._snapshot.get(_STATE, _HEAD))

    def get(self, table: Table, key: bytes) -> bytes | memoryview | None:
        """The value under a key; of a table that is not bulky."""
        changed = self.changes.get(table, {})
        return changed[key] if key in changed else self._snapshot.get(table, key)

    def has(self, table: Table, key: bytes) -> bool:
        """Whether there is a value under a key."""
        changed = self.changes.get(table, {})
        if key in changed:
            return changed[key] is not None
        found = place(self._snapshot, table, key) if table in BULKY else self._snapshot.get(table, key)
        return found is not None

    def add(self, table: Table, entries: Mapping[bytes, bytes]) -> int:
        """Write those entries whose key is not there yet; how many were written."""
        new = {key: value for key, value in entries.items() if not self.has(table, key)}
        self.put(table, new)
        return len(new)

    def put(self, table: Table, entries: Mapping[bytes, bytes]) -> None:
        """Write entries, also over those whose key is there."""
        if entries:
            self.changes.setdefault(table, {}).update(entries)

    def delete(self, table: Table, keys: Iterable[bytes]) -> int:
        """Delete these; how many there were."""
        there = [key for key in keys if self.has(table, key)]
        if there:
            self.changes.setdefault(table, {}).update(dict.fromkeys(there))
        return len(there)


class Replica:
    """The replica of a node; for any number of processes.

    Args:
        folder: Where it is. It may be deleted at any time by who has it not open.
    """

    def __init__(self, folder: str) -> None:
        self.store = LmdbStore(folder, more=(_PLACES, _STATE))

    @property
    def identity(self) -> str:
        """What tells it from others that are, or were, in the same folder."""
        with self.store.read() as snapshot:
            found = snapshot.get(_STATE, _IDENTITY)
        if found is None and not self.store.is_read_only:
            with self.store.change() as change:
                change.add(_STATE, {_IDENTITY: secrets.token_bytes(8)})
            return self.identity
        return bytes(found or b"").hex()

    def head(self) -> int:
        """The number of the next entry of the log."""
        with self.store.read() as snapshot:
            return _number(snapshot.get(_STATE, _HEAD))

    def turn(self) -> bytes:
        """The last entry before the head, where it asks that the next one be of who wrote it; "" where it does not."""
        with self.store.read() as snapshot:
            return bytes(snapshot.get(_STATE, _TURN) or b"")

    @property
    def is_whole(self) -> bool:
        """Whether the log was seen to have no gap before the head, nor at it."""
        with self.store.read() as snapshot:
            return snapshot.get(_STATE, _WHOLE) is not None

    def mark_whole(self) -> None:
        """Note that it was."""
        with self.store.change() as change:
            change.put(_STATE, {_WHOLE: b"-"})

    @contextmanager
    def view(self) -> Iterator[View]:
        """What may be changed."""
        with self.store.read() as snapshot:
            yield View(snapshot)

    def apply(self, number: int, entries: Sequence[Entry]) -> None:
        """Replay entries, the first of which has a number; not those that another process replayed meanwhile."""
        while True:
            try:
                return self._replay(number, entries)
            except StoreFullError:
                if not self.make_room():
                    raise

    def _replay(self, number: int, entries: Sequence[Entry]) -> None:
        with self.store.change() as change:
            head = _number(change.get(_STATE, _HEAD))
            if new := entries[max(head - number, 0) :]:
                for entry in new:
                    _apply(change, entry)
                turn = new[-1].id if new[-1].asks else b""
                change.put(_STATE, {_HEAD: _packed(number + len(entries)), _TURN: turn})

    def hold(self, bundle: bytes, table: Table, values: Mapping[bytes, bytes]) -> None:
        """Keep what is in a bundle, as far as it is still wanted."""
        with self.store.change() as change:
            wanted = {
                key: value
                for key, value in values.items()
                if place(change, table, key) == bundle and change.get(table, key) is None
            }
            if wanted:
                change.add(table, wanted)
                number = _number(change.get(_STATE, _NEXT))
                held = msgpack.packb([bundle, BULKY.index(table), [*wanted]])
                change.put(_STATE, {_NEXT: _packed(number + 1), _HELD + _packed(number): held})

    def forget(self, table: Table, key: bytes, value: bytes) -> bytes | None:
        """No longer keep one value of a bundle, where it is this one; in which bundle it is."""
        with self.store.change() as change:
            bundle = place(change, table, key)
            if bundle and change.get(table, key) == value:
                change.delete(table, [key])
        return bundle

    def evict(self, most: int) -> None:
        """Keep no more than so many bytes, as far as bundles take them: those held first go first."""
        wanted = most
        while self.store.size() > wanted:
            wanted = int(most * _FULL_SHARE)
            with self.store.change() as change:
                if (first := next(change.scan(_STATE, _HELD), None)) is None:
                    return
                bundle, number, keys = _HELD_NOTE.validate_python(unpack(first[1]))
                table = BULKY[number]
                change.delete(table, [key for key in keys if place(change, table, key) == bundle])
                change.delete(_STATE, [first[0]])

    def make_room(self) -> bool:
        """Keep a tenth less, where the disk is full; whether anything could go."""
        size = self.store.size()
        self.evict(int(size * _FULL_SHARE))
        return self.store.size() < size

    def dead(self, *, before: float = inf, most: int | None = None) -> list[Dead]:
        """Bundles of which nothing is left since before some time (Unix seconds); so many, the earliest first."""
        with self.store.read() as snapshot:
            noted = (
                Dead(key, key[len(_DEAD) + 8 :], _number(key[len(_DEAD) :][:8]) / 1e3)
                for key, _ in snapshot.scan(_STATE, _DEAD)
            )
            return [*islice(takewhile(lambda each: each.since < before, noted), most)]

    def bury(self, dead: Iterable[Dead]) -> None:
        """Know no more of bundles that were deleted."""
        with self.store.change() as change:
            change.delete(_STATE, [each.note for each in dead])

    def bundles(self) -> dict[bytes, int]:
        """Every bundle of which something is left, and its bytes."""
        with self.store.read() as snapshot:
            noted = snapshot.scan(_STATE, _BUNDLE)
            return {key[len(_BUNDLE) :]: _BUNDLE_NOTE.validate_python(unpack(value))[1] for key, value in noted}

    def keys_in(self, bundles: Set[bytes]) -> dict[Table, set[bytes]]:
        """The keys whose values are in some bundles, by table."""
        with self.store.read() as snapshot:
            return {
                table: {key for key in places(snapshot, table, b"") if place(snapshot, table, key) in bundles}
                for table in BULKY
            }


def place(snapshot: LmdbSnapshot, table: Table, key: bytes) -> bytes | None:
    """The bundle in which a value of a bulky table is; "" for none, None where there is no value."""
    found = snapshot.get(_PLACES, _tagged(table, key))
    return None if found is None else bytes(found)


def places(snapshot: LmdbSnapshot, table: Table, first: bytes) -> Iterator[bytes]:
    """All keys of a bulky table from one on, in order."""
    tag = _tagged(table, b"")
    for key in snapshot.keys(_PLACES, tag + first):
        if not key.startswith(tag):
            return
        yield key[len(tag) :]


def absent(values: Values) -> list[int]:
    """Positions of the values that are not there: no value is empty."""
    return np.flatnonzero(values.sizes == 0).tolist()


def _apply(change: LmdbChange, entry: Entry) -> None:
    emptied: Counter[bytes] = Counter()
    for table, values in entry.changes.items():
        if table in BULKY:
            emptied += _unplaced(change, table, values)
        change.delete(table, values)
        new = {key: value for key, value in values.items() if value is not None}
        change.add(table, new)
        if table in BULKY:
            change.add(_PLACES, {_tagged(table, key): b"" for key in new})
    for bundle in entry.bundles:
        emptied += _unplaced(change, bundle.table, bundle.keys)
        change.delete(bundle.table, bundle.keys)
        change.add(_PLACES, {_tagged(bundle.table, key): bundle.id for key in bundle.keys})
        note = msgpack.packb([BULKY.index(bundle.table), bundle.size, len(bundle.keys)])
        change.put(_STATE, {_BUNDLE + bundle.id: note})
    for identity, gone in emptied.items():
        if (packed := change.get(_STATE, _BUNDLE + identity)) is None:
            continue
        table_number, size, count = _BUNDLE_NOTE.validate_python(unpack(packed))
        if count > gone:
            change.put(_STATE, {_BUNDLE + identity: msgpack.packb([table_number, size, count - gone])})
        else:
            change.delete(_STATE, [_BUNDLE + identity])
            if entry.at > time.time() - _LONG:  # otherwise others have deleted it: this is a new cache
                change.put(_STATE, {_DEAD + _packed(int(entry.at * 1e3)) + identity: b"-"})


def _unplaced(change: LmdbChange, table: Table, keys: Iterable[bytes]) -> Counter[bytes]:
    """Forget where values are; how many of each bundle they were."""
    found = {key: bundle for key in keys if (bundle := place(change, table, key)) is not None}
    change.delete(_PLACES, [_tagged(table, key) for key in found])
    return Counter(bundle for bundle in found.values() if bundle)


def _tagged(table: Table, key: bytes) -> bytes:
    return bytes([BULKY.index(table)]) + key


def _number(packed: bytes | memoryview | None) -> int:
    return int.from_bytes(packed or b"", "big")


def _packed(number: int) -> bytes:
    return number.to_bytes(8, "big")
