"""What a store has to do: a few tables of bytes, read at one moment and written all or nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Literal, Protocol

#: texts: generations by key, as text. tokens: the same for one tokenizer. blocks: resolved blocks of generation.
#: windows: sealed windows. notes: small things that change: leases, marks, generators, heartbeats.
Table = Literal["texts", "tokens", "blocks", "windows", "notes"]
TABLES: tuple[Table, ...] = ("texts", "tokens", "blocks", "windows", "notes")


class Snapshot(Protocol):
    """The store at one moment. What it returns is valid until it is closed."""

    def get(self, table: Table, key: bytes) -> bytes | memoryview | None:
        """The value under ``key``, None where there is none; never copied where that can be avoided."""

    def get_many(self, table: Table, keys: Iterable[bytes]) -> list[bytes | memoryview | None]:
        """The values under several keys, in their order."""

    def scan(self, table: Table, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys that begin with ``prefix`` and their values, in the order of the keys."""


class Store(Protocol):
    """Generations by key, sealed windows, and what servers and trainers tell each other.

    Safe for use by any number of processes at once. An instance may be inherited by a forked process or pickled.

    Raises:
        StoreError: It cannot be read or written.
        StoreFullError: It reached its size limit; nothing that was committed is lost.
    """

    location: str

    def read(self) -> AbstractContextManager[Snapshot]:
        """The store at this moment."""

    def add(self, table: Table, entries: Mapping[bytes, bytes]) -> int:
        """Write those entries whose key is not there yet, all or nothing; durable on return. How many were written."""

    def add_all(self, entries: Mapping[Table, Mapping[bytes, bytes]]) -> int:
        """The same for several tables at once."""

    def update(self, key: bytes, change: Callable[[bytes | None], bytes | None]) -> bytes | None:
        """Replace a note by ``change(note)``, as if alone. None deletes it. What it is now."""

    def delete(self, table: Table, keys: Iterable[bytes]) -> int:
        """Delete these; how many there were."""

    def size(self) -> int:
        """Bytes in use."""
