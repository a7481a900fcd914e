"""What was found of records when they were looked at: sealing a pass of rephrases asks for each once a generation."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Ints, runs

#: What was found of records, see ``found_dtype``.
Found = npt.NDArray[np.void]


def found_dtype(round_size: int) -> np.dtype[np.void]:
    """Of a record of ``round_size`` generations, for each of them: its tokens, their checksum, and what is wrong.

    lengths: 0 where it was rejected or is lost. checksums: 0 where its record is lost. faults: 0 for nothing.
    """
    columns = (("lengths", "<u4"), ("checksums", "<u8"), ("faults", "u1"))
    return np.dtype([(name, kind, (round_size,)) for name, kind in columns])


class RecordCache:
    """Remembers what was found of the records of (document, round) items: a key never changes its record.

    Each has one place, which it shares with others where there are too many. Records with any fault have none: they may
    be restored.

    Args:
        documents: Documents of the corpus.
        rounds: Rounds that units draw on at a time.
        round_size: Generations of a record.
        max_bytes: What all records of so many rounds may take. Where they take more, few of them would still be known
            when they are next asked for, and only as many as one window needs have a place.
    """

    def __init__(self, documents: int, rounds: int, round_size: int, max_bytes: int = 1 << 25) -> None:
        dtype = found_dtype(round_size)
        records = documents * rounds
        if records * dtype.itemsize > max_bytes:
            records = max(max_bytes // 8 // dtype.itemsize, 1)
        self._documents = documents
        self._items = np.zeros(records, np.int64)
        self._found: Found = np.empty(records, dtype)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self._items.nbytes + self._found.nbytes

    def forget(self) -> None:
        """Know nothing any more."""
        self._items[:] = 0

    def find(self, documents: Ints, rounds: Ints, look: Callable[[Ints], Found]) -> tuple[Found, Ints]:
        """What is known of records, until the next call, and int64 (items,): the index there of each item's record.

        ``look`` is given the positions of items that are not known, one for those in a row that are the same.
        """
        items = rounds * self._documents + documents + 1  # 0: none
        starts, rows = runs(items)
        items = items[starts]
        places = items % len(self._items)
        missing = np.flatnonzero(self._items[places] != items)
        if not len(missing):
            return self._found, places[rows]
        found = self._found[places]  # apart, since of several with one place only the last will be there
        found[missing] = look(starts[missing])
        kept = missing[~found["faults"][missing].any(axis=1)]
        self._items[places[kept]] = items[kept]
        self._found[places[kept]] = found[kept]
        return found, rows
