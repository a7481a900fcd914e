"""Objects in a folder that machines share, and objects in memory."""

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from streamdocs._base.unfinished import remove_stale, unfinished
from streamdocs.store.objects.base import FORMAT, BusyError, Listed, RefusedError

_T = TypeVar("_T")

#: What does not pass by itself. A share that is gone for a while says other things.
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP)


class FolderObjects:
    """Files of a folder. Creating one is a hard link, which a file system makes once, also over NFS.

    A folder that is not there, or is another one than before, is one of which the file system is away for a while.

    Args:
        folder: Made when a store is begun.
    """

    def __init__(self, folder: str) -> None:
        self.location = f"file://{folder}"
        self._folder = Path(folder)
        self._unfinished = self._folder / ".unfinished"
        #: Whether a store was begun there: where there is none, the file system of it is not there yet.
        self.is_begun = False
        self._known: tuple[int, int] | None = None

    def prepare(self) -> None:
        """Make the folder."""
        with _errors(self.location):
            self._folder.mkdir(parents=True, exist_ok=True)

    def create(self, name: str, data: bytes) -> bool:
        """Create an object unless one of that name is there; whether this did."""
        path = self._folder / name
        with self._there():
            for folder in (path.parent, self._unfinished):
                folder.mkdir(exist_ok=True)
            new = unfinished(self._unfinished / path.name)
            try:
                with new.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.link(new, path)
            except FileExistsError:
                return False
            finally:
                new.unlink(missing_ok=True)
            _sync(path.parent)
        return True

    def get(self, name: str) -> bytes | None:
        """All of an object; None where there is none."""
        with self._there():
            try:
                return (self._folder / name).read_bytes()
            except FileNotFoundError:
                return None

    def list(self, prefix: str) -> Iterator[Listed]:
        """Those whose names begin with a prefix, in the order of their names."""
        with self._there():
            try:
                entries = sorted(os.scandir(self._folder / prefix), key=lambda each: each.name)
            except FileNotFoundError:
                return
            for each in entries:
                if each.is_file() and not each.name.startswith("."):
                    yield Listed(prefix + each.name, each.stat().st_size)

    def delete(self, names: Sequence[str]) -> None:
        """Delete these, as far as they are there."""
        with self._there():
            for name in names:
                (self._folder / name).unlink(missing_ok=True)

    @contextmanager
    def _there(self) -> Iterator[None]:
        """The folder that it was."""
        with _errors(self.location):
            if self.is_begun and self._known is None and not (self._folder / FORMAT).exists():
                raise BusyError(
                    f"{self.location}: no store is there. Is it mounted? Where it was deleted, delete its cache as well"
                )
            try:
                found = self._folder.stat()
            except FileNotFoundError:
                if self._known is None:  # there never was one
                    yield
                    return
                raise
            if self._known not in (None, (found.st_dev, found.st_ino)):
                raise BusyError(f"{self.location}: another folder is in its place; mount the one that it was")
            if self._known is None:
                self._known = (found.st_dev, found.st_ino)
                if self._unfinished.is_dir():
                    remove_stale(self._unfinished)
            yield


def _sync(folder: Path) -> None:
    """Have what was linked in a folder on the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def _errors(location: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _REFUSED:
            raise RefusedError(f"{location}: {error}; check its rights and its room") from error
        raise BusyError(f"{location}: {error}") from error


_memories: dict[str, dict[str, bytes]] = {}


def _alone(method: Callable[..., _T]) -> Callable[..., _T]:
    @wraps(method)
    def locked(self: "MemoryObjects", *arguments: Any) -> _T:
        with self._lock:
            return method(self, *arguments)

    return locked


class MemoryObjects:
    """Objects in the memory of this process, for tests.

    Args:
        name: Those of one name are the same.
    """

    _lock = threading.Lock()

    def __init__(self, name: str) -> None:
        self.location = f"memory://{name}"

    @property
    def _objects(self) -> dict[str, bytes]:
        return _memories.setdefault(self.location, {})

    def prepare(self) -> None:
        """Nothing."""

    @_alone
    def create(self, name: str, data: bytes) -> bool:
        """Create an object unless one of that name is there; whether this did."""
        return self._objects.setdefault(name, data) is data

    @_alone
    def get(self, name: str) -> bytes | None:
        """All of an object; None where there is none."""
        return self._objects.get(name)

    @_alone
    def list(self, prefix: str) -> Iterator[Listed]:
        """Those whose names begin with a prefix, in the order of their names."""
        return iter(
            [Listed(name, len(self._objects[name])) for name in sorted(self._objects) if name.startswith(prefix)]
        )

    @_alone
    def delete(self, names: Sequence[str]) -> None:
        """Delete these, as far as they are there."""
        for name in names:
            self._objects.pop(name, None)
