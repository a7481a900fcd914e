"""Packs: values that are written together lie together.

LMDB rounds every value that is larger than half a page up to whole pages. A store of token records would be 10 to 45 %
larger than what is in it; in packs, only their sum is rounded up.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import lmdb
import numpy as np

from streamdocs.store.base import Values

#: Smallest value that LMDB gives pages of its own, and most bytes of a pack: it needs pages in a row, so not too many.
_LARGE, _MOST = 2000, 1 << 18
# What is under the key of a packed value: a mark, the number of its pack, its first byte there, its length.
_PLACE, _MARK = struct.Struct("<4sQII"), b"sdp1"
# The same as an array of many.
_PLACES = np.dtype([("mark", "S4"), ("pack", "<u8"), ("start", "<u4"), ("size", "<u4")])


class Packs:
    """The packs of one LMDB environment; every method works within a transaction.

    Under the number of a pack is what is in it, and after that how many of its values are still there. The newest pack
    is written anew with more in it until it is full: what is written at a time may be little.

    Args:
        database: Where packs are.
    """

    def __init__(self, database: Any) -> None:
        self.database = database

    def add(self, transaction: lmdb.Transaction, table: Any, entries: Mapping[bytes, bytes]) -> int:
        """Write those entries whose key is not there yet, the large ones in packs; how many were written."""
        new = [entry for entry in entries.items() if transaction.get(entry[0], db=table) is None]
        together: list[tuple[bytes, bytes]] = []
        size = 0
        for key, value in new:
            if len(value) <= _LARGE:
                transaction.put(key, value, db=table)
                continue
            if size + len(value) > _MOST:
                self._write(transaction, table, together)
                together, size = [], 0
            together.append((key, value))
            size += len(value)
        self._write(transaction, table, together)
        return len(new)

    def find(self, transaction: lmdb.Transaction, value: bytes | memoryview | None) -> bytes | memoryview | None:
        """The value that ``value``, which is under some key, stands for: as a rule itself."""
        if value is None or len(value) != _PLACE.size or value[:4] != _MARK:
            return value
        _, number, start, size = _PLACE.unpack(value)
        pack = transaction.get(_key(number), db=self.database)
        return None if pack is None else pack[start : start + size]

    def get_many(self, transaction: lmdb.Transaction, table: Any, keys: Iterable[bytes]) -> Values:
        """The values under many keys, which may lie in few packs: each of those is looked up once."""
        found: list[bytes | memoryview | None] = []
        for key in keys:
            value = transaction.get(key, None, table)
            # The garbage collector looks at views, and not at bytes.
            found.append(bytes(value) if value and len(value) == _PLACE.size else value)
        values = Values.of(found)
        at = np.flatnonzero(values.sizes == _PLACE.size)
        places = np.frombuffer(b"".join([found[each] or b"" for each in at.tolist()]), _PLACES)
        marked = places["mark"] == _MARK
        at, places = at[marked], places[marked]
        numbers = places["pack"].tolist()
        packs = {number: transaction.get(_key(number), None, self.database) for number in set(numbers)}
        for each, number in zip(at.tolist(), numbers, strict=True):
            found[each] = packs[number]
        ends = np.array([len(packs[number] or b"") for number in numbers], np.int64)
        values.starts[at] = np.minimum(places["start"], ends)
        values.sizes[at] = np.minimum(places["size"], ends - values.starts[at])
        return values

    def delete(self, transaction: lmdb.Transaction, table: Any, keys: Iterable[bytes]) -> int:
        """Delete these, and packs of which nothing is left; how many there were."""
        left: Counter[int] = Counter()
        deleted = 0
        for key in keys:
            value = transaction.get(key, db=table)
            if value is not None and len(value) == _PLACE.size and value[:4] == _MARK:
                left[_PLACE.unpack(value)[1]] += 1
            deleted += transaction.delete(key, db=table)
        for number, gone in left.items():
            counted = transaction.get(_count_key(number), db=self.database)
            count = int.from_bytes(counted or b"", "big") - gone
            if count > 0:
                transaction.put(_count_key(number), count.to_bytes(4, "big"), db=self.database)
            else:
                transaction.delete(_count_key(number), db=self.database)
                transaction.delete(_key(number), db=self.database)
        return deleted

    def _write(self, transaction: lmdb.Transaction, table: Any, together: list[tuple[bytes, bytes]]) -> None:
        if len(together) < 2:  # nothing is gained
            for key, value in together:
                transaction.put(key, value, db=table)
            return
        values = [value for _, value in together]
        number, before, count = self._newest(transaction)
        if len(before) + sum(map(len, values)) > _MOST:
            number, before, count = number + 1, b"", 0
        start = len(before)
        for key, value in together:
            transaction.put(key, _PLACE.pack(_MARK, number, start, len(value)), db=table)
            start += len(value)
        transaction.put(_key(number), b"".join([before, *values]), db=self.database)
        transaction.put(_count_key(number), (count + len(values)).to_bytes(4, "big"), db=self.database)

    def _newest(self, transaction: lmdb.Transaction) -> tuple[int, bytes, int]:
        """Number of the newest pack, what is in it, and how many of its values are still there."""
        cursor = transaction.cursor(self.database)
        if not cursor.last():
            return 0, b"", 0
        number, count = int.from_bytes(cursor.key()[:8], "big"), int.from_bytes(cursor.value(), "big")
        return number, bytes(transaction.get(_key(number), b"", db=self.database)), count


def _key(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _count_key(number: int) -> bytes:
    return _key(number) + b"n"
