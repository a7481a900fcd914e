"""Rows of different lengths in one array."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from streamdocs._base.arrays import Int32s, Ints


@dataclass(frozen=True, eq=False)
class Rows:
    """Compressed sparse rows: of each row the columns that it has, ascending.

    Args:
        starts: int64 (rows + 1,), where each row begins in ``columns``, and the end of the last one.
        columns: int32 (entries,).
    """

    starts: Ints
    columns: Int32s

    @classmethod
    def of(cls, entries: Ints, rows: int, columns: int) -> "Rows":
        """From int64 (entries,), each row * ``columns`` + column, in any order, none twice. They are overwritten."""
        entries.sort()
        starts = np.searchsorted(entries, np.arange(rows + 1) * columns)
        entries %= columns
        return cls(starts, entries.astype(np.int32))

    def transposed(self, columns: int) -> "Rows":
        """Of each column the rows that have it."""
        rows = len(self.sizes)
        entries = self.columns.astype(np.int64)
        entries *= rows
        entries += np.repeat(np.arange(rows), self.sizes)
        return Rows.of(entries, columns, rows)

    @cached_property
    def sizes(self) -> Ints:
        """int64 (rows,), how many columns each row has."""
        return np.diff(self.starts)

    def row(self, number: int) -> Int32s:
        """The columns of one row."""
        return self.columns[self.starts[number] : self.starts[number + 1]]


def ranges(begins: Ints, ends: Ints) -> Ints:
    """int64: all numbers from each begin up to its end, range after range."""
    sizes = ends - begins
    before = np.cumsum(sizes) - sizes
    return np.repeat(begins - before, sizes) + np.arange(sizes.sum())
