"""A folder that appears complete or not at all."""

import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamdocs.errors import CorpusError


@contextmanager
def new_folder(out: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside ``out`` that takes its name at the end, or vanishes where anything is raised.

    What killed processes of this machine left behind is removed first. Raises ``CorpusError`` where the folder cannot
    be written, or where ``out`` has contents by then that are not to be replaced.
    """
    old = _unfinished(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(out)
        folder = _unfinished(out)
        folder.mkdir()
    except OSError as error:
        raise CorpusError(f"{out} cannot be written: {error}") from error
    try:
        yield folder
        if replace and out.exists():
            out.rename(old)
        folder.rename(out)
    except OSError as error:
        raise CorpusError(f"{out} cannot be written: {error}") from error
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        for leftover in (folder, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _unfinished(out: Path) -> Path:
    # The machine's name is part of it: on a shared file system another machine's process ids say nothing here.
    return out.with_name(f".{out.name}.unfinished-{os.getpid()}-{secrets.token_hex(4)}-{socket.gethostname()}")


def _remove_stale(out: Path) -> None:
    pattern = re.compile(rf"\.{re.escape(out.name)}\.unfinished-(\d+)-[0-9a-f]+-{re.escape(socket.gethostname())}")
    for path in out.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match and not _is_alive(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # alive, and somebody else's
        return True
    return True
