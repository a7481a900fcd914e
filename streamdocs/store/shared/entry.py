"""What the objects of a shared store hold: entries of its log, and bundles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgpack
import xxhash
from pydantic import Field, TypeAdapter

from streamdocs._base.arrays import Count
from streamdocs._base.untrusted import unpack
from streamdocs.errors import StoreError
from streamdocs.store.base import TABLES, Table

#: Entries of a fold.
FOLD = 256
#: Tables of which nodes fetch what they need.
BULKY: tuple[Table, ...] = ("texts", "tokens")

_VERSION = 1
_DIGEST = 8


@dataclass(frozen=True)
class Bundle:
    """Values that were written together, and lie in an object of their own.

    Args:
        id: Unique.
        table: Whose values they are.
        keys: Their keys, in the order of the values.
        size: Bytes of the object.
    """

    id: bytes
    table: Table
    keys: Sequence[bytes]
    size: int


@dataclass(frozen=True)
class Entry:
    """One change of a store.

    Args:
        id: Unique: it tells who made an object that was created without an answer.
        at: When, in Unix seconds by the clock of who wrote it.
        by: Who wrote it.
        changes: By table and key what is written there, or None for what is deleted.
        bundles: What else is written.
    """

    id: bytes
    at: float
    by: str
    changes: Mapping[Table, Mapping[bytes, bytes | None]]
    bundles: Sequence[Bundle] = field(default=())

    @property
    def asks(self) -> bool:
        """Whether it changes nothing: who wrote it asks others to let the next one be his."""
        return not self.changes and not self.bundles

    @property
    def is_bulky(self) -> bool:
        """Whether it writes what nobody waits for, of which a process makes one entry now and then."""
        return bool(self.bundles or not self.changes.keys().isdisjoint(BULKY))

    def pack(self) -> bytes:
        """As bytes."""
        changes = [[TABLES.index(table), [*values.items()]] for table, values in self.changes.items()]
        bundles = [[each.id, TABLES.index(each.table), [*each.keys], each.size] for each in self.bundles]
        return sealed(msgpack.packb([_VERSION, self.id, self.at, self.by, changes, bundles]))

    @classmethod
    def unpack(cls, data: bytes) -> "Entry":
        """What ``pack`` wrote.

        Raises:
            ValueError: It did not.
        """
        _, identity, at, by, changes, bundles = _ENTRY.validate_python(unpack(unsealed(data)))
        tables = {TABLES[table]: dict(values) for table, values in changes}
        return cls(identity, at, by, tables, [Bundle(each[0], TABLES[each[1]], *each[2:]) for each in bundles])


_TABLE = Annotated[int, Field(ge=0, lt=len(TABLES))]
_ENTRY = TypeAdapter(
    tuple[
        Annotated[int, Field(ge=_VERSION, le=_VERSION)],
        bytes,
        float,
        str,
        list[tuple[_TABLE, list[tuple[bytes, bytes | None]]]],
        list[tuple[bytes, _TABLE, list[bytes], Count]],
    ]
)
_VALUES = TypeAdapter(list[bytes])
_FOLD = TypeAdapter(Annotated[list[bytes], Field(min_length=FOLD, max_length=FOLD)])


def pack_values(values: Sequence[bytes]) -> bytes:
    """The object of a bundle, or of a fold."""
    return sealed(msgpack.packb(list(values)))


def unpack_values(data: bytes) -> list[bytes]:
    """What ``pack_values`` packed; ValueError where it did not."""
    return _VALUES.validate_python(unpack(unsealed(data)))


def unpack_fold(data: bytes) -> list[bytes]:
    """The same, of a fold."""
    return _FOLD.validate_python(unpack_values(data))


def sealed(data: bytes) -> bytes:
    """Bytes with what tells whether they are whole."""
    return xxhash.xxh3_64_digest(data) + data


def unsealed(data: bytes) -> memoryview:
    """Bytes that were ``sealed``, not copied; ValueError where they are not what they were."""
    said = memoryview(data)[_DIGEST:]
    if xxhash.xxh3_64_digest(said) != data[:_DIGEST]:
        raise ValueError("its digest is another")
    return said


def damaged(location: str, name: str, error: Exception) -> StoreError:
    """What to say of an object that cannot be read."""
    return StoreError(f"store {location}: {name} is damaged ({error}): restore it from a copy or an older version")
