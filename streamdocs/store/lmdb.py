"""The default store: one LMDB environment in a folder."""

import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import lmdb

from streamdocs.errors import StoreError, StoreFullError
from streamdocs.store.base import TABLES, Table, Values
from streamdocs.store.lock import WriteLock
from streamdocs.store.packs import Packs

log = logging.getLogger(__name__)

#: LMDB only reserves addresses for this; the file grows as it is used.
_ADDRESS_SPACE = 1 << 42
#: With less room than a commit may take, a disk is full.
_FULL_BYTES = 1 << 20


class _Opened:
    """An environment, for as long as some store of this process uses it: each reserves addresses, and they run out."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.process = os.getpid()
        self.data = folder / "data.mdb"
        self.lock = WriteLock(folder)
        if self.lock.was_held and not (self.data.exists() and self.data.stat().st_size):
            raise StoreError(
                f"store {folder} lost its {self.data.name}: restore it, or delete the folder to begin anew"
            )
        self.environment = lmdb.open(
            str(folder), map_size=max_bytes, max_dbs=len(TABLES) + 1, max_readers=2048, readahead=False
        )
        self.environment.reader_check()  # slots of readers that were killed
        with self.lock.held():  # opening a table is writing, for LMDB
            self._pad()
            self.tables = {table: self.environment.open_db(table.encode()) for table in TABLES}
            self.packs = Packs(self.environment.open_db(b"packs"))

    def close(self) -> None:
        """Close what a fork took along."""
        self.environment.close()
        self.lock.close()

    def _pad(self) -> None:
        """Give a file that was cut short its length again: zeros are noticed, but the end of a mapped file kills."""
        page, last = self.environment.stat()["psize"], self.environment.info()["last_pgno"]
        size = self.data.stat().st_size
        if (missing := (last + 1) * page - size) > 0:
            log.warning("%s is %d bytes shorter than what it says", self.data, missing)
            os.truncate(self.data, size + missing)


# LMDB must not be opened twice in a process, nor used across a fork: one environment a folder, closed in a new child.
_opened: WeakValueDictionary[str, _Opened] = WeakValueDictionary()
_opening = threading.Lock()


def _close_inherited() -> None:
    global _opening  # noqa: PLW0603
    _opening = threading.Lock()  # a thread that is not here may hold the other one
    for opened in _opened.values():
        opened.close()
    _opened.clear()


os.register_at_fork(after_in_child=_close_inherited)


class LmdbSnapshot:
    """One read transaction."""

    def __init__(self, transaction: lmdb.Transaction, tables: dict[Table, Any], packs: Packs) -> None:
        self._transaction = transaction
        self._tables = tables
        self._packs = packs

    def get(self, table: Table, key: bytes) -> bytes | memoryview | None:
        """The value under ``key``, as a view into the file."""
        return self._packs.find(self._transaction, self._transaction.get(key, db=self._tables[table]))

    def get_many(self, table: Table, keys: Iterable[bytes]) -> Values:
        """The values under several keys, in the file."""
        return self._packs.get_many(self._transaction, self._tables[table], keys)

    def scan(self, table: Table, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys that begin with ``prefix`` and their values."""
        cursor = self._transaction.cursor(self._tables[table])
        cursor.set_range(prefix)
        for key, value in cursor:
            if bytes(key[: len(prefix)]) != prefix:
                return
            yield bytes(key), bytes(self._packs.find(self._transaction, value) or b"")


class LmdbStore:
    """A store in a folder.

    Args:
        folder: Made where it is missing.
        max_bytes: Most bytes of the file; default 4 TiB: a process has addresses for some thirty such stores.
    """

    def __init__(self, folder: str | os.PathLike[str], *, max_bytes: int | None = None) -> None:
        self.location = os.path.realpath(folder)
        self._max_bytes = max_bytes or _ADDRESS_SPACE
        self._mine: _Opened | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_mine": None}

    @contextmanager
    def read(self) -> Iterator[LmdbSnapshot]:
        """The store at this moment."""
        opened = self._open()
        with self._errors(), opened.environment.begin(buffers=True) as transaction:
            yield LmdbSnapshot(transaction, opened.tables, opened.packs)

    def add(self, table: Table, entries: Mapping[bytes, bytes]) -> int:
        """Write those entries whose key is not there yet."""
        return self.add_all({table: entries})

    def add_all(self, entries: Mapping[Table, Mapping[bytes, bytes]]) -> int:
        """Write those entries whose key is not there yet, in several tables at once."""
        opened = self._open()
        with self._writing(opened) as transaction:
            return sum(opened.packs.add(transaction, opened.tables[table], values) for table, values in entries.items())

    def replace(self, entries: Mapping[Table, Mapping[bytes, bytes]]) -> None:
        """Write entries of several tables, also over those whose key is there, at once."""
        opened = self._open()
        with self._writing(opened) as transaction:
            for table, values in entries.items():
                opened.packs.delete(transaction, opened.tables[table], values)
                opened.packs.add(transaction, opened.tables[table], values)

    def update(self, key: bytes, change: Callable[[bytes | None], bytes | None]) -> bytes | None:
        """Replace a note by ``change(note)``."""
        opened = self._open()
        with self._writing(opened, "notes") as transaction:
            old = transaction.get(key)
            new = change(old)
            if new is None:
                transaction.delete(key)
            elif new != old:
                transaction.put(key, new)
        return new

    def delete(self, table: Table, keys: Iterable[bytes]) -> int:
        """Delete these; how many there were."""
        opened = self._open()
        opened.environment.reader_check()  # who was killed while it read would keep freed pages from being used again
        with self._writing(opened) as transaction:
            return opened.packs.delete(transaction, opened.tables[table], keys)

    def size(self) -> int:
        """Bytes in use: pages that hold something. The file keeps freed pages and writes into them again."""
        opened = self._open()
        with self._errors(), opened.environment.begin() as transaction:
            stats = [transaction.stat(table) for table in (*opened.tables.values(), opened.packs.database)]
            return sum(s["psize"] * (s["branch_pages"] + s["leaf_pages"] + s["overflow_pages"]) for s in stats)

    def _open(self) -> _Opened:
        if self._mine is None or self._mine.process != os.getpid():
            with _opening:
                self._mine = _opened.get(self.location) or self._open_environment()
        return self._mine

    def _open_environment(self) -> _Opened:
        try:
            Path(self.location).mkdir(parents=True, exist_ok=True)
            opened = _opened[self.location] = _Opened(Path(self.location), self._max_bytes)
        except lmdb.LockError as error:
            raise _same_id(self.location) from error
        except (lmdb.Error, OSError) as error:
            raise StoreError(
                f"store {self.location} cannot be opened ({error}); check the path and its rights"
            ) from error
        return opened

    @contextmanager
    def _writing(self, opened: _Opened, table: Table | None = None) -> Iterator[Any]:
        database = None if table is None else opened.tables[table]
        with self._errors(), opened.lock.held(), opened.environment.begin(write=True, db=database) as transaction:
            yield transaction

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except lmdb.MapFullError as error:
            raise StoreFullError(
                f"store {self.location} is full at {self._max_bytes} bytes; raise its limit or ask for fewer rounds"
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
