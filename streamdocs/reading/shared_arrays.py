"""Arrays that the DataLoader workers of a trainer all need: whoever needs one first works it out, the others map it."""

import os
import re
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamdocs._base.unfinished import remove, remove_stale, unfinished
from streamdocs.run import Run
from streamdocs.streams import Stream

_NAME = "streamdocs-arrays"
#: Sources of which an order takes so much memory (1 MB) that DataLoader workers should share it.
_MANY = 1 << 18


class SharedArrays:
    """Files in a temporary folder, which goes with the process that made this, or with the next one on this machine.

    So they take memory once, and the system may take that back. Where there is no room for a file, its array is kept in
    the memory of the process.
    """

    def __init__(self) -> None:
        place = Path(tempfile.gettempdir())
        remove_stale(place, _NAME)
        self._folder = unfinished(place / _NAME)
        with suppress(OSError):
            self._folder.mkdir()
        weakref.finalize(self, _remove_own, self._folder, os.getpid())

    def get(self, series: str, number: int, make: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """What ``make`` returns, the ``number``-th array of a series, of which the two beside it are kept too."""
        path = self._folder / f"{series}-{number}.npy"
        found = _map(path)
        if found is not None:
            return found
        array, new = make(), unfinished(path)
        try:
            with new.open("xb") as file:
                np.save(file, array)
            with suppress(FileExistsError):  # somebody else was faster
                path.hardlink_to(new)
            for other in self._folder.glob(f"{series}-*.npy"):
                if abs(int(re.findall(r"\d+", other.name)[-1]) - number) > 1:
                    remove(other)  # who has it mapped goes on with it
        except OSError:
            return array
        finally:
            remove(new)
        found = _map(path)
        return array if found is None else found


def share_orders(run: Run) -> None:
    """Have the orders of all streams shared that are of many sources."""
    read: list[Stream] = [*run.streams, *(stream.filler for stream in run.synthetic)]
    if large := [stream for stream in read if len(stream.sources) >= _MANY]:
        arrays = SharedArrays()
        for stream in large:
            stream.order.share(arrays.get)


def _map(path: Path) -> npt.NDArray[Any] | None:
    """The array in a file; None where there is no such file."""
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r")
    except OSError:
        return None
    return array.view(np.ndarray)  # slices of np.memmap are slow


def _remove_own(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a worker has a copy of what calls this
        remove(folder)
