"""Files and folders that appear complete or not at all, and what is left of them where a process is killed."""

import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import xxhash

#: How often a file is begun again in a folder that somebody deleted meanwhile.
_TRIES = 20


def unfinished(path: Path) -> Path:
    """A name beside ``path`` that nobody else takes, for what is to be renamed to it."""
    # The machine's name is part of it: on a shared file system another machine's process ids say nothing here.
    return path.with_name(f".{path.name}.unfinished-{os.getpid()}-{secrets.token_hex(4)}-{socket.gethostname()}")


def remove_stale(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes of this machine left in a folder, of what was to have this name or any."""
    which = ".+" if name is None else re.escape(name)
    pattern = re.compile(rf"\.{which}\.unfinished-(\d+)-[0-9a-f]+-{re.escape(socket.gethostname())}")
    for each in folder.iterdir():
        match = pattern.fullmatch(each.name)
        if match and not is_alive(int(match[1])):
            remove(each)


def remove(path: Path) -> None:
    """Remove a file or folder, as far as that is possible."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_whole(path: Path, contents: bytes) -> None:
    """Write a file that appears when it is complete, and is on the disk then.

    Raises:
        OSError: It cannot be written; what was there before stays.
    """
    with whole_file(path) as file:
        file.write(contents)


def write_into(folder: Path, name: str, contents: bytes) -> None:
    """Write such a file in a folder that is made where it is missing, and may be deleted at any time.

    Raises:
        OSError: It cannot be written.
    """
    for left in reversed(range(_TRIES)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / name, contents)
            return
        except (FileNotFoundError, FileExistsError):  # of a folder that went while it was looked at, too
            if not left:
                raise


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to be written that takes its name when all of it is on the disk, unless something is raised.

    Raises:
        OSError: It cannot be written; what was there before stays.
    """
    remove_stale(path.parent, path.name)
    new = unfinished(path)
    try:
        with new.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        remove(new)


@contextmanager
def new_folder(out: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside ``out`` that takes its name at the end, or vanishes where anything is raised.

    What killed processes of this machine left behind is removed first.

    Raises:
        OSError: It cannot be written, or ``out`` has contents by then that are not to be replaced.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(out.parent, out.name)
    old, folder = unfinished(out), unfinished(out)
    folder.mkdir()
    try:
        yield folder
        if replace and out.exists():
            out.rename(old)
        folder.rename(out)
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        for leftover in (folder, old):
            remove(leftover)


def is_alive(process: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # alive, and somebody else's
        return True
    return True


def identity(process: int) -> str:
    """What a process of this machine is called that no other ever was; "" where it does not run.

    Ids alone come again: after a start of the machine, and soon in a container.
    """
    try:
        state, *rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:  # it is gone, or this is no Linux
        return str(process) if not Path("/proc/self/stat").exists() and is_alive(process) else ""
    started = rest[18]
    return "" if state in "ZX" else f"{process}-{xxhash.xxh3_64_hexdigest(boot + started)}"
