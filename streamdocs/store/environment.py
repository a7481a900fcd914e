"""An LMDB environment: opened once a process, padded where its file was cut short, closed in a new child."""

import logging
import mmap
import os
import resource
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import lmdb

from streamdocs.errors import StoreError
from streamdocs.store.lock import WriteLock
from streamdocs.store.packs import Packs

log = logging.getLogger(__name__)

# Where addresses are limited, the rest of the process needs some as well.
_ADDRESS_SHARE = 4
DATA_FILE = "data.mdb"


class Environment:
    """An environment, for as long as some store of this process uses it: each reserves addresses, and they run out.

    Args:
        folder: It is in here.
        max_bytes: Most bytes of its file.
        tables: Their names.
    """

    def __init__(self, folder: Path, max_bytes: int, tables: Sequence[str]) -> None:
        self.process = os.getpid()
        self.folder = folder
        self.data = folder / DATA_FILE
        self.read_only = self.data.exists() and not _writable(folder, DATA_FILE, "lock.mdb", "write.lock")
        self.lock = None if self.read_only else WriteLock(folder)
        if self.lock and self.lock.was_held and not (self.data.exists() and self.data.stat().st_size):
            raise StoreError(
                f"store {folder} lost its {self.data.name}: restore it, or delete the folder to begin anew"
            )
        self._names = tables
        self.environment = self._open(max_bytes)
        self.environment.reader_check()  # slots of readers that were killed
        with self.writing():  # opening a table is writing, for LMDB
            self._pad()
            create = not self.read_only
            self.tables = {table: self.environment.open_db(table.encode(), create=create) for table in tables}
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
        options: dict[str, Any] = {"max_dbs": len(self._names) + 1, "max_readers": 2048, "readahead": False}
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
_opened: WeakValueDictionary[str, Environment] = WeakValueDictionary()
_opening = threading.Lock()


def _close_inherited() -> None:
    global _opening  # noqa: PLW0603
    _opening = threading.Lock()  # a thread that is not here may hold the other one
    for opened in _opened.values():
        opened.close()
    _opened.clear()


os.register_at_fork(after_in_child=_close_inherited)


def environment(folder: str, open_one: Callable[[], Environment]) -> Environment:
    """The one of this process for a folder; opened by ``open_one`` where there is none yet."""
    with _opening:
        found = _opened.get(folder)
        if found is None:
            found = _opened[folder] = open_one()
    return found
