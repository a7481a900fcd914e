"""How sure a fitted law is: laws of the same runs with other noise (a parametric bootstrap)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from streamdocs._base.arrays import Floats
from streamdocs.errors import ConfigError
from streamdocs.measure.laws import NOTHING_KNOWN, Fit, Known, Law, fit

#: From where to where of the draws an interval goes, and how many there are by default.
COVERAGE, DRAWS = 0.9, 400


@dataclass(frozen=True)
class Draws:
    """Laws as they might have come out.

    Args:
        laws: Of each draw.
        noise: Of each draw, the standard deviation of a run around it, float64 (draws,).
        normal: Of each draw, a standard normal number for each of some further runs, float64 (draws, further).
    """

    laws: tuple[Law, ...]
    noise: Floats
    normal: Floats


@dataclass(frozen=True)
class Chance:
    """How chance is drawn.

    Args:
        draws: How many laws; 0 for no intervals.
        noise: Standard deviation of a run around a law, where it is known; default what the runs say.
        seed: Of what is drawn.
    """

    draws: int = DRAWS
    noise: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.noise is not None and not (np.isfinite(self.noise) and self.noise > 0):
            raise ConfigError(f"a noise of {self.noise}: a standard deviation is above 0")


def draw(
    found: Fit, tokens: Floats, losses: Floats, chance: Chance, known: Known = NOTHING_KNOWN, further: int = 0
) -> Draws | None:
    """Fit the law anew to what it says of each run, with noise of its own.

    Where the noise is not known, each draw has one of its own size too, residual / chi-squared: a few runs hardly tell
    it, and intervals have to be the wider for it.

    Args:
        found: The fit.
        tokens, losses: Of the runs that it was fitted to.
        chance: How many draws, and what is known of the noise.
        known: Constants that were given.
        further: Runs beside these whose noise is drawn as well.

    Returns:
        None where nothing says how large the noise is.
    """
    if not chance.draws or (chance.noise is None and found.freedom < 1):
        return None
    rng = np.random.default_rng(chance.seed)
    if chance.noise is None:
        noise = np.sqrt(found.residual / rng.chisquare(found.freedom, chance.draws))
    else:
        noise = np.full(chance.draws, chance.noise)
    expected = found.law.loss(tokens)
    laws, kept = [], []
    for each in range(chance.draws):
        noisy = expected + noise[each] * rng.standard_normal(len(tokens))
        if known.floor is not None and noisy.min() <= known.floor:
            continue  # such runs there cannot be
        laws.append(fit(found.form, tokens, noisy, known, near=found).law)
        kept.append(each)
    return Draws(tuple(laws), noise[kept], rng.standard_normal((len(kept), further))) if laws else None


def interval(values: Iterator[float] | Floats) -> tuple[float, float]:
    """From where to where the middle of them goes, COVERAGE of all; infinity counts as large."""
    half = (1 - COVERAGE) / 2
    low, high = np.quantile(np.fromiter(values, np.float64), [half, 1 - half], method="nearest")
    return float(low), float(high)
