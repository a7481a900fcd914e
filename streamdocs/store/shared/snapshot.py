"""Reading a replica: what it does not hold is fetched."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from streamdocs.store.base import Table, Values
from streamdocs.store.lmdb import LmdbSnapshot
from streamdocs.store.shared.entry import BULKY
from streamdocs.store.shared.replica import absent, place, places

#: Fetches values of a table, by key; which keys are wanted of which bundles.
Fetch = Callable[[Table, Mapping[bytes, Sequence[bytes]]], Mapping[bytes, bytes]]


class SharedSnapshot:
    """A shared store at one moment.

    Args:
        snapshot: The replica at that moment.
        fetch: Where the rest comes from.
    """

    def __init__(self, snapshot: LmdbSnapshot, fetch: Fetch) -> None:
        self._snapshot = snapshot
        self._fetch = fetch

    def get(self, table: Table, key: bytes) -> bytes | memoryview | None:
        """The value under ``key``."""
        found = self._snapshot.get(table, key)
        if found is not None or table not in BULKY or not (bundle := place(self._snapshot, table, key)):
            return found
        return self._fetch(table, {bundle: [key]}).get(key)

    def get_many(self, table: Table, keys: Iterable[bytes]) -> Values:
        """The values under several keys."""
        keys = list(keys)
        values = self._snapshot.get_many(table, keys)
        missing = absent(values) if table in BULKY else []
        wanted: dict[bytes, list[bytes]] = {}
        for at in missing:
            if bundle := place(self._snapshot, table, keys[at]):
                wanted.setdefault(bundle, []).append(keys[at])
        if not wanted:
            return values
        fetched = self._fetch(table, wanted)
        buffers, starts, sizes = list(values.buffers), np.array(values.starts), np.array(values.sizes)
        for at in missing:
            if found := fetched.get(keys[at]):
                buffers[at], starts[at], sizes[at] = found, 0, len(found)
        return Values(buffers, starts, sizes)

    def scan(self, table: Table, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys that begin with ``prefix`` and their values, in the order of the keys."""
        if table not in BULKY:
            yield from self._snapshot.scan(table, prefix)
            return
        for key in self.keys(table, prefix):
            if not key.startswith(prefix):
                return
            if (value := self.get(table, key)) is not None:
                yield key, bytes(value)

    def keys(self, table: Table, first: bytes) -> Iterator[bytes]:
        """All keys from ``first`` on, in order."""
        return places(self._snapshot, table, first) if table in BULKY else self._snapshot.keys(table, first)
