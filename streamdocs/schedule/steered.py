"""Dealing the synthetic sequences of each window by the counts that were decided for it."""

from fractions import Fraction
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt


class Counts(Protocol):
    """What was decided: how many sequences each stream has in a window, and before it."""

    def counts(self, window: int) -> tuple[int, ...]:
        """In a window."""

    def before(self, window: int) -> tuple[int, ...]:
        """Before it."""


#: Counts in a window, and before it.
_Key = tuple[tuple[int, ...], tuple[int, ...]]


class _Window(NamedTuple):
    """How the sequences of a window are dealt: from the ``first`` of all on, ``before`` of each stream having been.

    order: uint8 (sequences,), the stream of each; those of a stream are spread evenly.
    """

    first: int
    before: tuple[int, ...]
    order: npt.NDArray[np.uint8]


class SteeredRotation:
    """As a ``Rotation``, but for the sequences of a half whose shares change from window to window.

    Args:
        counts: What was decided.
        fraction: Share of the half, of all sequences.
        window: Sequences a window.
    """

    def __init__(self, counts: Counts, fraction: Fraction, window: int) -> None:
        self._counts = counts
        self._fraction = fraction
        self._size = window
        self._opened: dict[_Key, _Window] = {}

    def before(self, stream: int, count: int) -> int:
        """Sequences of a stream among the first ``count`` of the half."""
        if not count:
            return 0
        found = self._window(self._window_of(count - 1))
        return found.before[stream] + int((found.order[: count - found.first] == stream).sum())

    def last_before(self, stream: int, count: int) -> int:
        """Number of the last sequence of a stream among the first ``count``, -1 for none."""
        while self.before(stream, count):
            found = self._window(self._window_of(count - 1))
            here = np.flatnonzero(found.order[: count - found.first] == stream)
            if len(here):
                return found.first + int(here[-1])
            count = found.first
        return -1

    def between(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """uint8 (sequences,): the stream of each sequence from ``start`` to before ``stop``, which are one window's."""
        if start == stop:
            return np.zeros(0, np.uint8)
        found = self._window(self._window_of(start))
        return found.order[start - found.first : stop - found.first]

    def _window_of(self, number: int) -> int:
        """The window of a sequence of the half: that of the first position by which so many more are due."""
        return (-(-(number + 1) * self._fraction.denominator // self._fraction.numerator) - 1) // self._size

    def _window(self, window: int) -> _Window:
        key = self._counts.counts(window), self._counts.before(window)
        if key not in self._opened:
            self._opened = {**dict(list(self._opened.items())[-3:]), key: self._open(*key)}
        return self._opened[key]

    @staticmethod
    def _open(counts: tuple[int, ...], before: tuple[int, ...]) -> _Window:
        due = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in counts])
        streams = np.repeat(np.arange(len(counts), dtype=np.uint8), counts)
        return _Window(sum(before), before, streams[np.argsort(due, kind="stable")])
