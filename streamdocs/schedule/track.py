"""Tracks: packed units, and what the sequences that are cut from them are made of."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamdocs._base.arrays import Ints
from streamdocs.schedule.order import Stream
from streamdocs.schedule.packing import Pieces, Units


class Spans(NamedTuple):
    """What rows are made of, in order: the span's piece, and which tokens of its row and of its source it is.

    row, piece, start, stop, offset: int64 (spans,).
    """

    row: Ints
    piece: Ints
    start: Ints
    stop: Ints
    offset: Ints


@dataclass(frozen=True)
class Track:
    """Packed units, from which sequences are cut: row r is the r-th ``length`` tokens after the first ``skip``.

    Args:
        stream: What it is.
        units, pieces: What it is made of.
        skip: Tokens before row 0.
        length: Tokens a row.
    """

    stream: Stream
    units: Units
    pieces: Pieces
    skip: int
    length: int

    def spans(self, rows: Ints) -> Spans:
        """What some rows are made of, one row after the other."""
        pieces = self.pieces
        begin = self.skip + rows * self.length
        first = np.searchsorted(pieces.end, begin, side="right")
        counts = np.searchsorted(pieces.end, begin + self.length, side="left") + 1 - first
        row = np.repeat(np.arange(len(rows)), counts)
        piece = np.arange(len(row)) + np.repeat(first - np.cumsum(counts) + counts, counts)
        piece_start = pieces.end[piece] - pieces.length[piece]
        start = np.maximum(begin[row], piece_start)
        stop = np.minimum(begin[row] + self.length, pieces.end[piece])
        return Spans(row, piece, start - begin[row], stop - begin[row], pieces.start[piece] + start - piece_start)
