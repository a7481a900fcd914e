"""What a store has to do: a few tables of bytes, read at one moment and written all or nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from streamdocs._base.arrays import Ints

#: texts: generations by key, as text. tokens: the same for one tokenizer. blocks: resolved blocks of generation.
#: windows: sealed windows. notes: small things that change: leases, marks, generators, heartbeats.
Table = Literal["texts", "tokens", "blocks", "windows", "notes"]
TABLES: tuple[Table, ...] = ("texts", "tokens", "blocks", "windows", "notes")


#: What a note becomes; None: none. It may be called again where another writer was faster.
Change = Callable[[bytes | None], bytes | None]
#: The same of several, by their keys.
Changes = Mapping[bytes, Change]


@dataclass(frozen=True)
class Values:
    """Some values, where they lie: a view of each would be an object that the garbage collector has to look at.

    buffers: What each lies in, maybe beside others; None where there is no value.
    starts, sizes: int64 (values,), its first byte there, and how many bytes it has; 0 where there is none.
    """

    buffers: Sequence[bytes | memoryview | None]
    starts: Ints
    sizes: Ints

    @classmethod
    def of(cls, values: Sequence[bytes | memoryview | None]) -> "Values":
        """Values that share nothing."""
        sizes = np.array([0 if value is None else len(value) for value in values], np.int64)
        return cls(values, np.zeros_like(sizes), sizes)

    def at(self, positions: Ints) -> "Values":
        """Some of these."""
        buffers = [self.buffers[position] for position in positions.tolist()]
        return Values(buffers, self.starts[positions], self.sizes[positions])

    def listed(self) -> list[bytes | memoryview | None]:
        """The values themselves."""
        parts = zip(self.buffers, self.starts.tolist(), self.sizes.tolist(), strict=True)
        return [buffer if buffer is None else buffer[start : start + size] for buffer, start, size in parts]


class Snapshot(Protocol):
    """The store at one moment. What it returns is valid until it is closed."""

    def get(self, table: Table, key: bytes) -> bytes | memoryview | None:
        """The value under ``key``, None where there is none; never copied where that can be avoided."""

    def get_many(self, table: Table, keys: Iterable[bytes]) -> Values:
        """The values under several keys, in their order."""

    def scan(self, table: Table, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys that begin with ``prefix`` and their values, in the order of the keys."""

    def keys(self, table: Table, first: bytes) -> Iterator[bytes]:
        """All keys from ``first`` on, in order: a tenth of the price of looking each up."""


class Notes(Protocol):
    """Notes that can be changed."""

    def get(self, table: Table, key: bytes) -> bytes | memoryview | None:
        """The value under ``key``."""

    def put(self, table: Table, entries: Mapping[bytes, bytes]) -> None:
        """Write entries, also over those whose key is there."""

    def delete(self, table: Table, keys: Iterable[bytes]) -> int:
        """Delete these; how many there were."""


def apply_to_notes(notes: Notes, changes: Changes) -> dict[bytes, bytes | None]:
    """Replace notes by what ``changes`` make of them; what they are now."""
    found = {}
    for key, change in changes.items():
        value = notes.get("notes", key)
        old = None if value is None else bytes(value)
        new = found[key] = change(old)
        if new is None and old is not None:
            notes.delete("notes", [key])
        elif new is not None and new != old:
            notes.put("notes", {key: new})
    return found


#: What notes say of something.
Asked = Callable[[Notes], bool]


class Store(Protocol):
    """Generations by key, sealed windows, and what servers and trainers tell each other.

    Safe for use by any number of processes at once. An instance may be inherited by a forked process or pickled.

    Raises:
        StoreError: It cannot be read or written.
        StoreFullError: It reached its size limit; nothing that was committed is lost.
    """

    location: str
    #: Seconds between two writes of one process that are not to be dear; 0 where none is.
    pace: float
    #: Seconds for which what others write may not come through.
    silence: float
    #: How many requests this process made, by what was asked for and what became of it; none where none are made.
    requests: Mapping[tuple[str, str], int]

    def read(self) -> AbstractContextManager[Snapshot]:
        """The store at this moment."""

    def add(self, table: Table, entries: Mapping[bytes, bytes], *, unless: Asked | None = None) -> int:
        """Write those entries whose key is not there yet, all or nothing; durable on return. How many were written.

        Nothing is, where ``unless`` says so of the notes; it is asked when nobody else can write, maybe several times.
        """

    def add_all(self, entries: Mapping[Table, Mapping[bytes, bytes]]) -> int:
        """The same for several tables at once."""

    def keep(self, texts: Mapping[bytes, bytes]) -> Callable[[], None]:
        """Keep texts that will be added, also where this process is killed before, until what this returns is called.

        Only for stores with a ``pace``: elsewhere they are added at once.
        """

    def replace(self, entries: Mapping[Table, Mapping[bytes, bytes]]) -> None:
        """Write entries of several tables, also over those whose key is there, all or nothing; durable on return."""

    def update(self, key: bytes, change: Change) -> bytes | None:
        """Replace a note by ``change(note)``, as if alone. None deletes it. What it is now."""

    def update_soon(self, key: bytes, change: Change) -> None:
        """The same some time, at once where that is cheap; not at all where this process is killed before."""

    def update_all(self, changes: Changes) -> dict[bytes, bytes | None]:
        """The same of several notes at once."""

    def delete(self, table: Table, keys: Iterable[bytes]) -> int:
        """Delete these; how many there were.

        They are iterated when nobody else can write, and again where another writer was faster nevertheless.
        """

    def make_room(self, table: Table, key: bytes, damaged: bytes) -> None:
        """Let a value that is damaged, and is ``damaged``, be written anew."""

    def clock(self) -> float:
        """Seconds of which others' writes could be seen: what did not change for so long was not changed."""

    def size(self) -> int:
        """Bytes in use."""
