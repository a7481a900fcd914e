"""The default store: one LMDB environment in a folder."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from streamdocs.errors import StoreError, StoreFullError
from streamdocs.store.base import TABLES, Table

#: LMDB only reserves addresses for this; the file grows as it is used.
_ADDRESS_SPACE = 1 << 40

# LMDB must not be opened twice in a process, nor used across a fork: one environment a folder, closed in a new child.
_environments: dict[str, tuple[lmdb.Environment, dict[Table, Any]]] = {}


def _close_inherited() -> None:
    for environment, _ in _environments.values():
        environment.close()
    _environments.clear()


os.register_at_fork(after_in_child=_close_inherited)


class LmdbSnapshot:
    """One read transaction."""

    def __init__(self, transaction: lmdb.Transaction, tables: dict[Table, Any]) -> None:
        self._transaction = transaction
        self._tables = tables

    def get(self, table: Table, key: bytes) -> bytes | memoryview | None:
        """The value under ``key``, as a view into the file."""
        return self._transaction.get(key, db=self._tables[table])

    def get_many(self, table: Table, keys: Iterable[bytes]) -> list[bytes | memoryview | None]:
        """The values under several keys, as views into the file."""
        get, database = self._transaction.get, self._tables[table]
        return [get(key, None, database) for key in keys]

    def scan(self, table: Table, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys that begin with ``prefix`` and their values."""
        cursor = self._transaction.cursor(self._tables[table])
        cursor.set_range(prefix)
        for key, value in cursor:
            if bytes(key[: len(prefix)]) != prefix:
                return
            yield bytes(key), bytes(value)


class LmdbStore:
    """A store in a folder.

    Args:
        folder: Made where it is missing.
        max_bytes: Most bytes of the file, None for no limit but the disk's.
    """

    def __init__(self, folder: str | os.PathLike[str], *, max_bytes: int | None = None) -> None:
        self.location = os.path.realpath(folder)
        self._max_bytes = max_bytes

    @contextmanager
    def read(self) -> Iterator[LmdbSnapshot]:
        """The store at this moment."""
        environment, tables = self._open()
        with self._errors(), environment.begin(buffers=True) as transaction:
            yield LmdbSnapshot(transaction, tables)

    def add(self, table: Table, entries: Mapping[bytes, bytes]) -> int:
        """Write those entries whose key is not there yet."""
        return self.add_all({table: entries})

    def add_all(self, entries: Mapping[Table, Mapping[bytes, bytes]]) -> int:
        """Write those entries whose key is not there yet, in several tables at once."""
        environment, tables = self._open()
        with self._errors(), environment.begin(write=True) as transaction:
            return sum(
                transaction.put(key, value, overwrite=False, db=tables[table])
                for table, values in entries.items()
                for key, value in values.items()
            )

    def update(self, key: bytes, change: Callable[[bytes | None], bytes | None]) -> bytes | None:
        """Replace a note by ``change(note)``."""
        environment, tables = self._open()
        with self._errors(), environment.begin(write=True, db=tables["notes"]) as transaction:
            old = transaction.get(key)
            new = change(old)
            if new is None:
                transaction.delete(key)
            elif new != old:
                transaction.put(key, new)
        return new

    def delete(self, table: Table, keys: Iterable[bytes]) -> int:
        """Delete these; how many there were."""
        environment, tables = self._open()
        with self._errors(), environment.begin(write=True) as transaction:
            return sum(transaction.delete(key, db=tables[table]) for key in keys)

    def size(self) -> int:
        """Bytes in use: pages that hold something. The file keeps freed pages and writes into them again."""
        environment, tables = self._open()
        with self._errors(), environment.begin() as transaction:
            stats = [transaction.stat(table) for table in tables.values()]
            return sum(s["psize"] * (s["branch_pages"] + s["leaf_pages"] + s["overflow_pages"]) for s in stats)

    def _open(self) -> tuple[lmdb.Environment, dict[Table, Any]]:
        opened = _environments.get(self.location)
        if opened is None:
            opened = _environments[self.location] = self._open_environment()
        return opened

    def _open_environment(self) -> tuple[lmdb.Environment, dict[Table, Any]]:
        try:
            Path(self.location).mkdir(parents=True, exist_ok=True)
            environment = lmdb.open(
                self.location,
                map_size=self._max_bytes or _ADDRESS_SPACE,
                max_dbs=len(TABLES),
                max_readers=2048,
                readahead=False,
            )
            environment.reader_check()  # slots of readers that were killed
            return environment, {table: environment.open_db(table.encode()) for table in TABLES}
        except (lmdb.Error, OSError) as error:
            raise StoreError(
                f"store {self.location} cannot be opened ({error}); check the path and its rights"
            ) from error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except lmdb.MapFullError as error:
            raise StoreFullError(
                f"store {self.location} is full at {self._max_bytes} bytes; raise its limit or ask for fewer rounds"
            ) from error
        except lmdb.Error as error:
            raise StoreError(f"store {self.location}: {error}; check the disk and that the folder is intact") from error
