"""Which positions of the run are web and which synthetic, and which sequence stands where in a window."""

import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Literal, NamedTuple

import numpy as np

from streamdocs._base.arrays import Bools, Ints
from streamdocs._base.hashing import permutation
from streamdocs.errors import ConfigError

#: What a trainer does where generations are missing: see ``Sealer``.
WhenBehind = Literal["wait", "reuse", "web"]

#: Longest sequence and largest window: what is worked out for one of either has to fit in memory.
MOST_TOKENS, MOST_SEQUENCES = 1 << 24, 1 << 22


def exact_fraction(number: float | str) -> Fraction:
    """The share that a number says: 0.75 as 3/4, and "1/3" as it is.

    Raises:
        ConfigError: It is not a number from 0 to 1, or one of more than six decimals.
    """
    text = str(number)
    try:
        # An exponent of ten digits would make a number of ten billion.
        if len(text) > 64 or not re.fullmatch(r"[^eE]*([eE][-+]?[0-9]{1,3})?", text):
            raise ValueError(text[:64])
        fraction = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"synthetic_fraction={text[:64]!r} is not a number") from error
    if not 0 <= fraction <= 1 or fraction.denominator > 10**6:
        raise ConfigError(
            f"synthetic_fraction={number}: from 0 to 1 with at most six decimals, or a fraction like '1/3'"
        )
    return fraction


class WindowPlan(NamedTuple):
    """What each position of a window holds.

    synthetic: bool (window,), which positions are synthetic.
    row: int64 (window,), which of the window's web (or synthetic) sequences stands there.
    """

    synthetic: Bools
    row: Ints


@dataclass(frozen=True)
class Mixture:
    """Layout of the run: sequences p = 0, 1, 2, …, of which an exact share is synthetic, in windows.

    Args:
        fraction: Share of synthetic sequences, 0 to 1.
        max_seq_len: Tokens a sequence.
        window: Sequences a window.
        seed: Of the shuffle inside windows.
    """

    fraction: Fraction
    max_seq_len: int
    window: int
    seed: int

    def __post_init__(self) -> None:
        if not (1 <= self.max_seq_len <= MOST_TOKENS and 1 <= self.window <= MOST_SEQUENCES):
            which = f"max_seq_len={self.max_seq_len}, window={self.window}"
            raise ConfigError(f"{which}: at least 1, and at most {MOST_TOKENS:,} and {MOST_SEQUENCES:,}")

    def synthetic_before(self, position: int) -> int:
        """Synthetic sequences among the first ``position``: floor(position * fraction)."""
        return position * self.fraction.numerator // self.fraction.denominator

    def last_synthetic_before(self, position: int) -> int:
        """Position by which the newest of those was counted, -1 for none: that it is in the same window is exact."""
        count = self.synthetic_before(position)
        return -(-count * self.fraction.denominator // self.fraction.numerator) - 1 if count else -1

    def web_before(self, position: int) -> int:
        """Web sequences among the first ``position``."""
        return position - self.synthetic_before(position)

    def rows(self, window: int) -> tuple[range, range]:
        """Web and synthetic sequences of a window, as numbers of their streams."""
        first, last = window * self.window, (window + 1) * self.window
        web = range(self.web_before(first), self.web_before(last))
        return web, range(self.synthetic_before(first), self.synthetic_before(last))

    def plan(self, window: int) -> WindowPlan:
        """Which sequence of which stream stands where in a window: position p is synthetic where floor(pf) rises."""
        # floor(pf) less floor(p0 f), p0 the window's first position: small numbers, however far the run is.
        rest = window * self.window * self.fraction.numerator % self.fraction.denominator
        before = (rest + np.arange(self.window + 1) * self.fraction.numerator) // self.fraction.denominator
        synthetic = before[1:] > before[:-1]
        row = np.empty(self.window, np.int64)
        for kind, here in (("web", ~synthetic), ("synthetic", synthetic)):
            row[here] = permutation(int(here.sum()), self.seed, kind, window)
        return WindowPlan(synthetic, row)

    def epoch_sequences(self, web_tokens: int) -> int:
        """Sequences of one pass over ``web_tokens`` packed web tokens; where all is synthetic, of as many tokens."""
        web_share = 1 - self.fraction or Fraction(1)
        return ceil(Fraction(web_tokens, self.max_seq_len) / web_share)
