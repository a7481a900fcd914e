"""What was found of records when they were looked at: sealing a pass of rephrases asks for each once a generation."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from streamdocs.arrays import Ints

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

    Records with any fault are looked at again: they may be restored.

    Args:
        documents: Documents of the corpus.
        round_size: Generations of a record.
        max_bytes: Once records take more than this, all are forgotten before the next look. What says where they are
            takes at most 4 bytes for each document and round more.
    """

    def __init__(self, documents: int, round_size: int, max_bytes: int = 1 << 25) -> None:
        self._documents = documents
        self._max_bytes = max_bytes
        self._found: Found = np.empty(64, found_dtype(round_size))
        self._forget()

    def find(self, documents: Ints, rounds: Ints, look: Callable[[Ints, Ints], Found]) -> tuple[Found, Ints]:
        """What is known of records, and int64 (items,): the index there of each item's record.

        ``look`` is called for items that are not known, with each of them once.
        """
        if self._count * self._found.itemsize > self._max_bytes:
            self._forget()
        rows = np.empty(len(documents), np.int64)
        for round, here in _by_round(rounds):
            rows[here] = self._index(round)[documents[here]]
        missing = np.flatnonzero(rows == 0)
        if len(missing):
            items = documents[missing] << 32 | rounds[missing]
            _, first, inverse = np.unique(items, return_index=True, return_inverse=True)
            new = missing[first]
            rows[missing] = self._add(documents[new], rounds[new], look(documents[new], rounds[new]))[inverse]
        return self._found, rows

    def _forget(self) -> None:
        self._count = 1  # row 0 stands for what is not known
        self._indices: dict[int, npt.NDArray[np.uint32]] = {}

    def _index(self, round: int) -> npt.NDArray[np.uint32]:
        if round not in self._indices:
            self._indices[round] = np.zeros(self._documents, np.uint32)
        return self._indices[round]

    def _add(self, documents: Ints, rounds: Ints, found: Found) -> Ints:
        rows = self._count + np.arange(len(found))
        if self._count + len(found) > len(self._found):
            known = self._found[: self._count]
            self._found = np.empty(2 * (len(known) + len(found)), known.dtype)  # unused, it takes no memory
            self._found[: len(known)] = known
        self._count += len(found)
        self._found[rows] = found
        whole = ~found["faults"].any(axis=1)
        for round, here in _by_round(rounds):
            kept = here[whole[here]]
            self._index(round)[documents[kept]] = rows[kept]
        return rows


def _by_round(rounds: Ints) -> list[tuple[int, Ints]]:
    return [(round, np.flatnonzero(rounds == round)) for round in np.unique(rounds).tolist()]
