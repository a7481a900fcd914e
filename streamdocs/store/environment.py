"""An LMDB environment: opened once a process, padded where its file was cut short, closed in a new child."""

import gc
import logging
import mmap
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import lmdb

from streamdocs.errors import StoreError
from streamdocs.store.lock import WriteLock
from streamdocs.store.packs import Packs

log = logging.getLogger(__name__)

# Where addresses are limited, the rest of the process needs some as well.
_ADDRESS_SHARE, _LEAST_BYTES = 4, 1 << 28
DATA_FILE = "data.mdb"
# Seconds that a fork waits for other threads' transactions, and between two looks.
_PATIENCE, _PAUSE_SECONDS = 60.0, 0.0005


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

    def left_behind(self, *, used: bool) -> None:
        """Close what a fork took along, unless a thread uses it that the child has not: that would never end."""
        if not used:
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
        with suppress(lmdb.Error):
            return lmdb.open(str(self.folder), map_size=max_bytes, **options)
        # Stores that nobody has any more may still hold addresses, and numbers of files that were deleted meanwhile: by
        # those LMDB knows what is open.
        gc.collect()
        size = max_bytes
        while True:
            try:
                opened = lmdb.open(str(self.folder), map_size=size, **options)
                break
            except lmdb.MemoryError:
                if size < _LEAST_BYTES:
                    raise
                size = min(size, _addresses()) // _ADDRESS_SHARE
        if size < max_bytes:
            log.warning(
                "store %s: this process has few addresses left (ulimit -v, or many stores that are open), so that it "
                "takes at most %d bytes",
                self.folder,
                size,
            )
        return opened

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
    """Bytes of addresses that this process may still take, as far as that is limited."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    return max(0, limit - taken) // mmap.PAGESIZE * mmap.PAGESIZE


# LMDB must not be opened twice in a process, nor used across a fork: one environment a folder, closed in a new child.
_opened: WeakValueDictionary[str, Environment] = WeakValueDictionary()
# Nobody opens or uses one while this process is forked: a child cannot close what a thread that it has not is using.
_opening, _forking = threading.Lock(), threading.Lock()
_held: list[threading.Lock] = []
_users: list[int] = []  # of each use the thread


class _Use:
    """What a thread is in while it uses an environment. Not a function that yields: that takes as long as a read."""

    def __enter__(self) -> None:
        thread = threading.get_ident()
        _users.append(thread)
        while _forking.locked() and _users.count(thread) == 1:  # who has begun may go on
            _users.remove(thread)
            time.sleep(_PAUSE_SECONDS)
            _users.append(thread)

    def __exit__(self, *exception: object) -> None:
        _users.remove(threading.get_ident())


IN_USE = _Use()


def _used_elsewhere() -> bool:
    return bool({*_users} - {threading.get_ident()})


def _before_fork() -> None:
    until = time.monotonic() + _PATIENCE
    _held[:] = [each for each in (_opening, _forking) if each.acquire(timeout=max(0.0, until - time.monotonic()))]
    while _used_elsewhere() and time.monotonic() < until:
        time.sleep(_PAUSE_SECONDS)
    if _used_elsewhere():
        log.warning("another thread has been using a store for %.0f s: a child that is forked now cannot", _PATIENCE)


def _in_parent() -> None:
    for lock in _held:
        lock.release()


def _in_child() -> None:
    global _opening, _forking, _users
    used, _users = _used_elsewhere(), []
    _opening, _forking = threading.Lock(), threading.Lock()
    for opened in [*_opened.values()]:
        opened.left_behind(used=used)
    _opened.clear()


os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)


def environment(folder: str, open_one: Callable[[], Environment]) -> Environment:
    """The one of this process for a folder; opened by ``open_one`` where there is none yet."""
    with _opening:
        found = _opened.get(folder)
        if found is None:
            found = _opened[folder] = open_one()
    return found
