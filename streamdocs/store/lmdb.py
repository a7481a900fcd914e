"""The default store: one LMDB environment in a folder."""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import lmdb

from streamdocs.errors import StoreError, StoreFullError
from streamdocs.store.base import TABLES, Asked, Change, Changes, Table, Values, apply_to_notes
from streamdocs.store.environment import DATA_FILE, IN_USE, Environment, environment
from streamdocs.store.packs import Packs

#: LMDB only reserves addresses for this; the file grows as it is used.
_ADDRESS_SPACE = 1 << 42
#: With less room than a commit may take, a disk is full.
_FULL_BYTES = 1 << 20


class LmdbSnapshot:
    """One read transaction."""

    def __init__(self, transaction: lmdb.Transaction, tables: Mapping[str, Any], packs: Packs) -> None:
        self._transaction = transaction
        self._tables = tables
        self._packs = packs

    def get(self, table: str, key: bytes) -> bytes | memoryview | None:
        """The value under ``key``, as a view into the file."""
        return self._packs.find(self._transaction, self._transaction.get(key, db=self._tables[table]))

    def get_many(self, table: str, keys: Iterable[bytes]) -> Values:
        """The values under several keys, in the file."""
        return self._packs.get_many(self._transaction, self._tables[table], keys)

    def scan(self, table: str, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys that begin with ``prefix`` and their values."""
        cursor = self._transaction.cursor(self._tables[table])
        cursor.set_range(prefix)
        for key, value in cursor:
            if bytes(key[: len(prefix)]) != prefix:
                return
            yield bytes(key), bytes(self._packs.find(self._transaction, value) or b"")

    def keys(self, table: str, first: bytes) -> Iterator[bytes]:
        """All keys from ``first`` on, in order."""
        cursor = self._transaction.cursor(self._tables[table])
        return map(bytes, cursor.iternext(values=False) if cursor.set_range(first) else ())


class LmdbChange(LmdbSnapshot):
    """One write transaction: what is read is as it was written in it."""

    def add(self, table: str, entries: Mapping[bytes, bytes]) -> int:
        """Write those entries whose key is not there yet; how many were written."""
        return self._packs.add(self._transaction, self._tables[table], entries)

    def put(self, table: str, entries: Mapping[bytes, bytes]) -> None:
        """Write entries, also over those whose key is there."""
        self.delete(table, entries)
        self.add(table, entries)

    def delete(self, table: str, keys: Iterable[bytes]) -> int:
        """Delete these; how many there were."""
        return self._packs.delete(self._transaction, self._tables[table], keys)


class LmdbStore:
    """A store in a folder.

    Args:
        folder: Made where it is missing.
        max_bytes: Most bytes of the file; default 4 TiB: a process has addresses for some thirty such stores.
        more: Further tables, beside those of every store.
    """

    pace = silence = 0.0
    requests: Mapping[tuple[str, str], int] = MappingProxyType({})

    def __init__(
        self, folder: str | os.PathLike[str], *, max_bytes: int | None = None, more: Sequence[str] = ()
    ) -> None:
        self.location = os.path.realpath(folder)
        self._max_bytes = max_bytes or _ADDRESS_SPACE
        self._tables = (*TABLES, *more)
        self._mine: Environment | None = None

    @property
    def exists(self) -> bool:
        """Whether anybody ever wrote it."""
        return os.path.isfile(os.path.join(self.location, DATA_FILE))

    @property
    def is_read_only(self) -> bool:
        """Whether this process may only read it."""
        return self._open().read_only

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_mine": None}

    @contextmanager
    def read(self) -> Iterator[LmdbSnapshot]:
        """The store at this moment."""
        opened = self._open()
        with self._errors(), IN_USE, opened.environment.begin(buffers=True) as transaction:
            yield LmdbSnapshot(transaction, opened.tables, opened.packs)

    @contextmanager
    def change(self) -> Iterator[LmdbChange]:
        """The store, locked for writing: what is changed is durable afterwards, or nothing of it where this raises."""
        opened = self._open()
        if opened.read_only:
            raise StoreError(
                f"store {self.location} is read-only here, and something is to be written: what it holds can be looked "
                "at and read; to generate, seal or keep checkpoints, make it writable or copy it to where it is"
            )
        with self._errors(), opened.writing(), IN_USE, opened.environment.begin(write=True) as transaction:
            yield LmdbChange(transaction, opened.tables, opened.packs)

    def add(self, table: Table, entries: Mapping[bytes, bytes], *, unless: Asked | None = None) -> int:
        """Write those entries whose key is not there yet."""
        if unless is None:
            return self.add_all({table: entries})
        with self.change() as change:
            return 0 if unless(change) else change.add(table, entries)

    def add_all(self, entries: Mapping[Table, Mapping[bytes, bytes]]) -> int:
        """Write those entries whose key is not there yet, in several tables at once."""
        with self.change() as change:
            return sum(change.add(table, values) for table, values in entries.items())

    def keep(self, texts: Mapping[bytes, bytes]) -> Callable[[], None]:
        """Nothing: they can be added at once."""
        return lambda: None

    def replace(self, entries: Mapping[Table, Mapping[bytes, bytes]]) -> None:
        """Write entries of several tables, also over those whose key is there, at once."""
        with self.change() as change:
            for table, values in entries.items():
                change.put(table, values)

    def update(self, key: bytes, change: Change) -> bytes | None:
        """Replace a note by ``change(note)``."""
        return self.update_all({key: change})[key]

    def update_soon(self, key: bytes, change: Change) -> None:
        """The same, at once."""
        self.update(key, change)

    def update_all(self, changes: Changes) -> dict[bytes, bytes | None]:
        """The same of several notes at once."""
        with self.change() as transaction:
            return apply_to_notes(transaction, changes)

    def delete(self, table: Table, keys: Iterable[bytes]) -> int:
        """Delete these; how many there were."""
        environment = self._open().environment
        with self.change() as change:
            environment.reader_check()  # who was killed while it read would keep freed pages from being used
            return change.delete(table, keys)

    def make_room(self, table: Table, key: bytes, damaged: bytes) -> None:
        """Delete a value that is damaged."""
        self.delete(table, [key])

    def clock(self) -> float:
        """Seconds that others could be heard."""
        return time.monotonic()

    def size(self) -> int:
        """Bytes in use: pages that hold something. The file keeps freed pages and writes into them again."""
        opened = self._open()
        with self._errors(), IN_USE, opened.environment.begin(buffers=True) as transaction:
            stats = [transaction.stat(table) for table in (*opened.tables.values(), opened.packs.database)]
            return sum(s["psize"] * (s["branch_pages"] + s["leaf_pages"] + s["overflow_pages"]) for s in stats)

    def _open(self) -> Environment:
        if self._mine is None or self._mine.process != os.getpid():
            self._mine = environment(self.location, self._open_environment)
        return self._mine

    def _open_environment(self) -> Environment:
        try:
            Path(self.location).mkdir(parents=True, exist_ok=True)
            return Environment(Path(self.location), self._max_bytes, self._tables)
        except lmdb.LockError as error:
            raise _same_id(self.location) from error
        except lmdb.NotFoundError as error:
            raise StoreError(
                f"{self.location} holds no store of this version, and cannot be written to make one"
            ) from error
        except lmdb.MemoryError as error:
            raise StoreError(
                f"store {self.location} has no room in the address space of this process: raise or lift its limit "
                "(ulimit -v unlimited)"
            ) from error
        except (lmdb.Error, OSError) as error:
            raise StoreError(
                f"store {self.location} cannot be opened ({error}); check the path and its rights"
            ) from error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except lmdb.MapFullError as error:
            most = self._open().environment.info()["map_size"]
            raise StoreFullError(
                f"store {self.location} is full at {most} bytes; raise its limit, or that of addresses (ulimit -v) "
                "where there is one, or ask for fewer rounds"
            ) from error
        except lmdb.MapResizedError as error:
            raise StoreError(
                f"store {self.location} has outgrown the addresses that this process may take: raise or lift the limit "
                "(ulimit -v unlimited) and start it again"
            ) from error
        except lmdb.LockError as error:
            raise _same_id(self.location) from error
        except lmdb.Error as error:
            # LMDB has two errors for a full disk, one of which it shares with broken ones.
            if isinstance(error, lmdb.DiskError) or shutil.disk_usage(self.location).free < _FULL_BYTES:
                raise StoreFullError(
                    f"store {self.location}: the disk is full; free some space, nothing that was committed is lost"
                ) from error
            raise StoreError(f"store {self.location}: {error}; check the disk and that the folder is intact") from error


def _same_id(location: str) -> StoreError:
    return StoreError(
        f"store {location}: another process that has it open has the id of this one ({os.getpid()}), and LMDB tells "
        "processes apart by that. Give containers that share a store one PID namespace (Docker: --pid=host; "
        "Kubernetes: hostPID or, within a pod, shareProcessNamespace)"
    )


def is_damage(error: StoreError) -> bool:
    """Whether a store cannot be read because of what is in its files."""
    kinds = lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.PanicError, lmdb.VersionMismatchError
    return isinstance(error.__cause__, kinds) or "restore it" in str(error)
