"""A folder that appears complete or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamdocs._base.unfinished import remove, remove_stale, unfinished
from streamdocs.errors import CorpusError


@contextmanager
def new_folder(out: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside ``out`` that takes its name at the end, or vanishes where anything is raised.

    What killed processes of this machine left behind is removed first. Raises ``CorpusError`` where the folder cannot
    be written, or where ``out`` has contents by then that are not to be replaced.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(out.parent, out.name)
        old, folder = unfinished(out), unfinished(out)
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
            remove(leftover)
