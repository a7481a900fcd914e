"""Whose turn it is to write. LMDB's own lock has no deadline, and a process that waits for it is deaf to Ctrl-C."""

import fcntl
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamdocs.errors import StoreError

log = logging.getLogger(__name__)

#: Seconds. A commit takes milliseconds; who holds the lock for so long was stopped, or waits for a disk that is gone.
DEADLINE = 60.0
_WARN_SECONDS = 5.0
_PAUSE_SECONDS = (0.0001, 0.002)  # first and longest


class WriteLock:
    """A lock among all processes that write a store, free again as soon as its holder has died.

    Not for use across a fork: a child closes it, and opens one of its own.

    Args:
        folder: The store. The file of the lock also tells that there was a store in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = os.open(folder / "write.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._threads = threading.Lock()
        # Not at exit: a child of a fork would close what has that number by then.
        self._closing = weakref.finalize(self, os.close, self._file)
        self._closing.atexit = False

    def close(self) -> None:
        """Let go of the file; another process's lock stays."""
        self._closing()

    @property
    def was_held(self) -> bool:
        """Whether anybody ever wrote."""
        return os.fstat(self._file).st_size > 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it.

        Raises:
            StoreError: Somebody else held it for longer than the deadline.
        """
        if not self._threads.acquire(timeout=DEADLINE):
            raise StoreError(f"store {self._folder}: another thread of this process has been writing for {DEADLINE} s")
        try:
            self._wait()
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._threads.release()

    def _wait(self) -> None:
        started, pause, warned = time.monotonic(), _PAUSE_SECONDS[0], False
        while not self._is_free():
            waited = time.monotonic() - started
            if waited > DEADLINE:
                raise StoreError(
                    f"store {self._folder}: {self._holder()} has been writing for {DEADLINE:.0f} s. Continue it "
                    "(kill -CONT) or end it; nothing that was committed is lost"
                )
            if waited > _WARN_SECONDS and not warned:
                warned = True
                log.warning("store %s: %s has been writing for %.0f s", self._folder, self._holder(), waited)
            time.sleep(pause)
            pause = min(2 * pause, _PAUSE_SECONDS[1])
        os.pwrite(self._file, b"%-20d" % os.getpid(), 0)

    def _is_free(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _holder(self) -> str:
        process = os.pread(self._file, 20, 0).decode().strip() or "?"
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            state = ""
        return f"process {process}" + (", which is stopped," if state in ("T", "t") else "")
