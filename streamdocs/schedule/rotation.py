"""Rotation: which of several streams gets each sequence, so that none is ever a whole sequence from its share."""

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from heapq import heappop, heappush
from math import lcm

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Ints
from streamdocs.errors import ConfigError

#: Largest common denominator of shares: that of decimals with six places.
MOST_PARTS = 10**6
#: Sequences between two counts that are kept.
_STRIDE = 4096


class Rotation:
    """Deals sequences to streams: after any n of them, a stream of share f has had n f, within one sequence.

    That is the chairman assignment of Tijdeman (Discrete Mathematics 32, 1980), made by earliest deadline first: the
    j-th sequence of a stream may come when (j - 1) / f are dealt, and has to be among the first j / f, rounded up. It
    repeats after as many as the common denominator of the shares has, so that one period of it is kept.

    Args:
        shares: Of each stream; they add up to one.

    Raises:
        ConfigError: Their common denominator is above ``MOST_PARTS``.
    """

    def __init__(self, shares: Sequence[Fraction]) -> None:
        self.period = lcm(*(share.denominator for share in shares))
        if self.period > MOST_PARTS:
            raise ConfigError(
                f"shares {', '.join(map(str, shares))}: their common denominator is above {MOST_PARTS:,}; use decimals "
                "of at most six places, or fractions that fit each other"
            )
        self._parts = [int(share * self.period) for share in shares]

    def before(self, stream: int, count: int) -> int:
        """Sequences of a stream among the first ``count``."""
        if len(self._parts) == 1:
            return count
        periods, rest = divmod(count, self.period)
        stride = rest // _STRIDE
        within = int((self._order[stride * _STRIDE : rest] == stream).sum())
        return periods * self._parts[stream] + int(self._counts[stride, stream]) + within

    def last_before(self, stream: int, count: int) -> int:
        """Number of the last sequence of a stream among the first ``count``, -1 for none."""
        before = self.before(stream, count)
        low, high = 0, count
        while low < high:  # the fewest among which are as many
            middle = (low + high) // 2
            low, high = (low, middle) if self.before(stream, middle) >= before else (middle + 1, high)
        return low - 1

    def between(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """uint8 (sequences,): the stream of each sequence from ``start`` to before ``stop``."""
        if len(self._parts) == 1:
            return np.zeros(stop - start, np.uint8)
        return self._order[(start % self.period + np.arange(stop - start)) % self.period]

    @cached_property
    def _order(self) -> npt.NDArray[np.uint8]:
        """uint8 (period,): the stream of each sequence of a period."""
        period, parts = self.period, self._parts
        order = bytearray(period)
        coming = [(0, stream) for stream in range(len(parts))]  # when a stream may have its next sequence
        due: list[tuple[int, int]] = []  # by when it has to
        dealt = [0] * len(parts)
        for number in range(period):
            while coming and coming[0][0] <= number:
                stream = heappop(coming)[1]
                heappush(due, (-(-(dealt[stream] + 1) * period // parts[stream]), stream))
            order[number] = stream = heappop(due)[1]
            dealt[stream] += 1
            if dealt[stream] < parts[stream]:
                heappush(coming, (dealt[stream] * period // parts[stream], stream))
        return np.frombuffer(order, np.uint8)

    @cached_property
    def _counts(self) -> Ints:
        """int64 (strides, streams): sequences of each stream before every ``_STRIDE``-th of a period."""
        strides = np.arange(0, self.period + 1, _STRIDE)
        found = np.zeros((len(strides), len(self._parts)), np.int64)
        for row, start in enumerate(strides[:-1].tolist(), 1):
            found[row] = found[row - 1] + np.bincount(self._order[start : start + _STRIDE], minlength=len(self._parts))
        return found
