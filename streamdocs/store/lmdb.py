"""The default store: one LMDB environment in a folder."""

import logging
import mmap
import os
import resource
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
# Where addresses are limited, the rest of the process needs some as well.
_ADDRESS_SHARE = 4
DATA_FILE = "data.mdb"
#: With less room than a commit may take, a disk is full.
_FULL_BYTES = 1 << 20


class _Opened:
    """An environment, for as long as some store of this process uses it: each reserves addresses, and they run out."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.process = os.getpid()
        self.folder = folder
        self.data = folder / DATA_FILE
        self.read_only = self.data.exists() and not _writable(folder, DATA_FILE, "lock.mdb", "write.lock")
        self.lock = None if self.read_only else WriteLock(folder)
        if self.lock and self.lock.was_held and not (self.data.exists() and self.data.stat().st_size):
            raise StoreError(
                f"store {folder} lost its {self.data.name}: restore it, or delete the folder to begin anew"
            )
        self.environment = self._open(max_bytes)
        self.environment.reader_check()  # slots of readers that were killed
        with self.writing():  # opening a table is writing, for LMDB
            self._pad()
            create = not self.read_only
            self.tables = {table: self.environment.open_db(table.encode(), create=create) for table in TABLES}
            self.packs = Packs(self.environment.open_db(b"packs", create=create))

    def close(self) -> None:
        """Close what a fork took along."""
        self.environment.close()
        if self.lock:
            self.lock.close()

    def writing(self) -> AbstractContextManager[None]:
        """This process's turn to write; nothing to wait for where nobody here can."""
        return self.lock.held() if self.lock else nullcontext()

    def _open(self, max_bytes: int) -> lmdb.Environment:
        options: dict[str, Any] = {"max_dbs": len(TABLES) + 1, "max_readers": 2048, "readahead": False}
        if self.read_only:
            # Readers note what they read in LMDB's lock file, so that nobody writes over it.
            lock = _writable(self.folder, "lock.mdb")
            unsafe = "" if lock else ", and not to be written by others meanwhile: what is read could be torn"
            log.warning("store %s is read-only here%s", self.folder, unsafe)
            options |= {"readonly": True, "lock": lock}
        try:
            return lmdb.open(str(self.folder), map_size=max_bytes, **options)
        except lmdb.MemoryError:
            size = _addresses() // _ADDRESS_SHARE
            log.warning(
                "store %s: the address space of this process is limited (ulimit -v), so that it takes at most %d bytes",
                self.folder,
                size,
            )
            return lmdb.open(str(self.folder), map_size=size, **options)

    def _pad(self) -> None:
        """Give a file that was cut short its length again: zeros are noticed, but the end of a mapped file kills."""
        page, last = self.environment.stat()["psize"], self.environment.info()["last_pgno"]
        size = self.data.stat().st_size
        if (missing := (last + 1) * page - size) <= 0:
            return
        if self.read_only:
            raise StoreError(f"store {self.folder}: {self.data.name} was cut short by {missing:,} bytes; restore it")
        log.warning("%s is %d bytes shorter than what it says", self.data, missing)
        os.truncate(self.data, size + missing)


def _writable(folder: Path, *names: str) -> bool:
    """Whether this process may write some files of a folder, or make them."""
    files = (folder / name if (folder / name).exists() else folder for name in names)
    return all(os.access(each, os.W_OK, effective_ids=True) for each in files)


def _addresses() -> int:
    """Bytes of addresses that this process may still take."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    return max(0, limit - taken) // mmap.PAGESIZE * mmap.PAGESIZE


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

    def keys(self, table: Table, first: bytes) -> Iterator[bytes]:
        """All keys from ``first`` on, in order."""
        cursor = self._transaction.cursor(self._tables[table])
        return map(bytes, cursor.iternext(values=False) if cursor.set_range(first) else ())


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

    @property
    def exists(self) -> bool:
        """Whether anybody ever wrote it."""
        return os.path.isfile(os.path.join(self.location, DATA_FILE))

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
        with self._writing(opened) as transaction:
            opened.environment.reader_check()  # who was killed while it read would keep freed pages from being used
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
        return opened

    @contextmanager
    def _writing(self, opened: _Opened, table: Table | None = None) -> Iterator[Any]:
        if opened.read_only:
            raise StoreError(
                f"store {self.location} is read-only here, and something is to be written: what it holds can be looked "
                "at and read; to generate, seal or keep checkpoints, make it writable or copy it to where it is"
            )
        database = None if table is None else opened.tables[table]
        with self._errors(), opened.writing(), opened.environment.begin(write=True, db=database) as transaction:
            yield transaction

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
