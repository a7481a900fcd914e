"""Which stream each position of the run belongs to, and which of its sequences stands where in a window."""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Ints
from streamdocs._base.hashing import permutation
from streamdocs.errors import ConfigError
from streamdocs.schedule.rotation import Rotation
from streamdocs.schedule.steered import Counts, SteeredRotation

#: What a trainer does where generations are missing: see ``Sealer``.
WhenBehind = Literal["wait", "reuse", "web"]

#: Names of the two streams of a run that says a recipe and a fraction. What depends on a name is as it was for these.
WEB, SYNTHETIC = "web", "synthetic"

#: Longest sequence and largest window: what is worked out for one of either has to fit in memory.
MOST_TOKENS, MOST_SEQUENCES = 1 << 24, 1 << 22


class Share(NamedTuple):
    """A stream's share of the sequences, and whether it is synthetic."""

    name: str
    synthetic: bool
    fraction: Fraction


def plain_shares(fraction: Fraction) -> list[Share]:
    """Those of a run of two streams, of which the synthetic one has a ``fraction``."""
    return [Share(WEB, False, 1 - fraction), Share(SYNTHETIC, True, fraction)]


class WindowPlan(NamedTuple):
    """What each position of a window holds.

    stream: uint8 (window,), number of the stream that it belongs to.
    row: int64 (window,), which of the window's sequences of that stream stands there.
    """

    stream: npt.NDArray[np.uint8]
    row: Ints


class Mixture:
    """Layout of the run: sequences p = 0, 1, 2, …, of which each stream has an exact share, in windows.

    Positions are web or synthetic by floor(p f), f being what all synthetic streams have together, so that no web
    sequence moves whatever becomes of the synthetic part; each half is dealt to its streams by a ``Rotation``. After
    any n sequences a stream has had its share of n within one, and within two where its half has several.

    Args:
        shares: Of the streams, which are numbered in this order; they add up to one.
        max_seq_len: Tokens a sequence.
        window: Sequences a window.
        seed: Of the shuffle inside windows.
    """

    def __init__(self, shares: Sequence[Share], max_seq_len: int, window: int, seed: int) -> None:
        for name, value, most in (("max_seq_len", max_seq_len, MOST_TOKENS), ("window", window, MOST_SEQUENCES)):
            if not 1 <= value <= most:
                raise ConfigError(f"{name}={value}: has to be at least 1, and at most {most:,}")
        self.shares = tuple(shares)
        self.max_seq_len = max_seq_len
        self.window = window
        self.seed = seed
        #: Share of all synthetic streams together.
        self.fraction = sum((share.fraction for share in shares if share.synthetic), Fraction())
        kinds = {share.synthetic for share in shares if share.fraction}
        self._halves = {kind: _Half(self.shares, kind) for kind in sorted(kinds)}

    def steer(self, counts: Counts) -> None:
        """From now on, deal the synthetic sequences of each window to their streams by what was decided for it."""
        self._halves[True].dealing = SteeredRotation(counts, self.fraction, self.window)

    def begun_before(self, stream: int, position: int) -> int:
        """As ``before``, had every window the shares that the run begins with; of any position."""
        return self._before(stream, position, begun=True)

    def synthetic_before(self, position: int) -> int:
        """Synthetic sequences among the first ``position``: floor(position * fraction)."""
        return position * self.fraction.numerator // self.fraction.denominator

    def before(self, stream: int, position: int) -> int:
        """Sequences of a stream among the first ``position``."""
        return self._before(stream, position, begun=False)

    def _before(self, stream: int, position: int, *, begun: bool) -> int:
        synthetic = self.shares[stream].synthetic
        if (half := self._halves.get(synthetic)) is None:
            return 0
        dealing = half.rotation if begun else half.dealing
        return dealing.before(half.streams.index(stream), self._count(synthetic, position))

    def rows(self, stream: int, window: int) -> range:
        """Sequences of a stream in a window, by their numbers in it."""
        return range(*(self.before(stream, number * self.window) for number in (window, window + 1)))

    def last_before(self, stream: int, position: int) -> int:
        """Position by which the newest sequence of a synthetic stream was dealt, -1 for none: exact to the window."""
        if (half := self._halves.get(True)) is None:
            return -1
        number = half.dealing.last_before(half.streams.index(stream), self.synthetic_before(position))
        return -(-(number + 1) * self.fraction.denominator // self.fraction.numerator) - 1

    def plan(self, window: int) -> WindowPlan:
        """Which sequence of which stream stands where in a window."""
        stream = self.streams(window)
        row = np.empty(self.window, np.int64)
        for number in range(len(self.shares)):
            here = stream == number
            row[here] = self.order(number, window, int(here.sum()))
        return WindowPlan(stream, row)

    def streams(self, window: int) -> npt.NDArray[np.uint8]:
        """uint8 (window,): ``plan``'s stream of each position: position p is synthetic where floor(pf) rises."""
        # floor(pf) less floor(p0 f), p0 the window's first position: small numbers, however far the run is.
        rest = window * self.window * self.fraction.numerator % self.fraction.denominator
        before = (rest + np.arange(self.window + 1) * self.fraction.numerator) // self.fraction.denominator
        synthetic = before[1:] > before[:-1]
        stream = np.empty(self.window, np.uint8)
        for kind, half in self._halves.items():
            first, last = (self._count(kind, number * self.window) for number in (window, window + 1))
            stream[synthetic == kind] = half.numbers[half.dealing.between(first, last)]
        return stream

    def order(self, stream: int, window: int, sequences: int) -> Ints:
        """int64 (sequences,): ``plan``'s row of each position of a stream, which has so many in the window."""
        return permutation(sequences, self.seed, self.shares[stream].name, window)

    def epoch_sequences(self, web_tokens: int) -> int:
        """Sequences of one pass over ``web_tokens`` packed web tokens; where all is synthetic, of as many tokens."""
        web_share = 1 - self.fraction or Fraction(1)
        return ceil(Fraction(web_tokens, self.max_seq_len) / web_share)

    def _count(self, synthetic: bool, position: int) -> int:
        count = self.synthetic_before(position)
        return count if synthetic else position - count


class _Half:
    """The streams of one kind, web or synthetic, and how the sequences of that kind are dealt to them."""

    def __init__(self, shares: Sequence[Share], synthetic: bool) -> None:
        self.streams = [number for number, share in enumerate(shares) if share.synthetic == synthetic]
        self.numbers = np.array(self.streams, np.uint8)
        total = sum((shares[number].fraction for number in self.streams), Fraction())
        self.rotation = Rotation([shares[number].fraction / total for number in self.streams])
        #: How they are dealt: by the shares that they begin with, unless these move.
        self.dealing: Rotation | SteeredRotation = self.rotation
