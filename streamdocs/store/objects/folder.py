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
from streamdocs.store.objects.base import BusyError, Listed, RefusedError

_T = TypeVar("_T")

#: What does not pass by itself. A share that is gone for a while says other things.
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP)


class FolderObjects:
    """Files of a folder. Creating one is a hard link, which a file system makes once, also over NFS.

    Args:
        folder: Made where it is missing.
    """

    def __init__(self, folder: str) -> None:
        self.location = f"file://{folder}"
        self._folder = Path(folder)
        self._unfinished = self._folder / ".unfinished"
        if self._unfinished.is_dir():
            remove_stale(self._unfinished)

    def create(self, name: str, data: bytes) -> bool:
        """Create an object unless one of that name is there; whether this did."""
        path = self._folder / name
        with _errors(self.location):
            for folder in (path.parent, self._unfinished):
                folder.mkdir(parents=True, exist_ok=True)
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
        return True

    def get(self, name: str) -> bytes | None:
        """All of an object; None where there is none."""
        with _errors(self.location):
            try:
                return (self._folder / name).read_bytes()
            except FileNotFoundError:
                return None

    def list(self, prefix: str) -> Iterator[Listed]:
        """Those whose names begin with a prefix, in the order of their names."""
        with _errors(self.location):
            try:
                entries = sorted(os.scandir(self._folder / prefix), key=lambda each: each.name)
            except FileNotFoundError:
                return
            for each in entries:
                if each.is_file() and not each.name.startswith("."):
                    yield Listed(prefix + each.name, each.stat().st_size)

    def delete(self, names: Sequence[str]) -> None:
        """Delete these, as far as they are there."""
        with _errors(self.location):
            for name in names:
                (self._folder / name).unlink(missing_ok=True)


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
