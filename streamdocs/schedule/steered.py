"""Dealing the synthetic sequences of each window by the counts that were decided for it."""

from fractions import Fraction
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from streamdocs.schedule.rotation import Rotation


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

    ``streams`` are those that have some, as the rotation numbers them.
    """

    first: int
    before: tuple[int, ...]
    streams: list[int]
    rotation: Rotation | None


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
        if found.rotation is None or stream not in found.streams:
            return found.before[stream]
        return found.before[stream] + found.rotation.before(found.streams.index(stream), count - found.first)

    def last_before(self, stream: int, count: int) -> int:
        """Number of the last sequence of a stream among the first ``count``, -1 for none."""
        while count and (had := self.before(stream, count)):
            found = self._window(self._window_of(count - 1))
            if found.rotation and had > found.before[stream]:
                return found.first + found.rotation.last_before(found.streams.index(stream), count - found.first)
            count = found.first
        return -1

    def between(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """uint8 (sequences,): the stream of each sequence from ``start`` to before ``stop``, which are one window's."""
        if start == stop:
            return np.zeros(0, np.uint8)
        found = self._window(self._window_of(start))
        assert found.rotation is not None
        return np.array(found.streams, np.uint8)[found.rotation.between(start - found.first, stop - found.first)]

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
        streams = [stream for stream, count in enumerate(counts) if count]
        shares = [Fraction(counts[stream], sum(counts)) for stream in streams]
        return _Window(sum(before), before, streams, Rotation(shares) if streams else None)
