"""Laws of loss over tokens, fitted by least squares: a power law, and one that is rectified."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy.optimize import least_squares

from streamdocs._base.arrays import Floats
from streamdocs.errors import ConfigError

Form = Literal["power", "rectified"]
#: In which a fit looks: the exponent, and the other constants as logarithms where tokens are counted in their mean.
EXPONENTS = 0.01, 5.0
_LOGARITHMS = -16.0, 16.0
#: Exponents and shifts that a search begins with.
_STARTS = [(exponent, shift) for exponent in (0.15, 0.5, 1.2) for shift in (-3.0, 1.0)]


@dataclass(frozen=True)
class Law:
    """Loss after D tokens: ``scale / (shift + D**exponent) + floor``.

    A power law A / D**a + E has no shift; the rectified scaling law B / (D_l + D**b) + E (SynthLLM, arXiv 2503.19551,
    after arXiv 2402.02314) says by its shift that data before these tokens was worth as much as some of them.

    Args:
        scale: A or B.
        exponent: a or b.
        floor: E, which no data goes below.
        shift: D_l.
    """

    scale: float
    exponent: float
    floor: float
    shift: float = 0.0

    def loss(self, tokens: Floats | float) -> Floats:
        """What is lost after so many tokens, of the same shape."""
        return self.scale / (self.shift + np.asarray(tokens, np.float64) ** self.exponent) + self.floor

    def tokens(self, loss: Floats | float) -> Floats:
        """After how many tokens so much is lost; infinity where no number is enough, 0 where none is needed."""
        above = np.asarray(loss, np.float64) - self.floor
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            found = np.maximum(self.scale / above - self.shift, 0.0) ** (1 / self.exponent)
        return np.where(above > 0, found, np.inf)


@dataclass(frozen=True)
class Fit:
    """A law, and how well it fits.

    Args:
        law: With tokens counted one by one.
        form: Of it.
        freedom: Runs less free constants: how many of them say something of the noise.
        residual: Sum of the squares of what is left.
        start: Constants as the search has them, from which one like it begins.
        unit: Tokens that the search counts in.
    """

    law: Law
    form: Form
    freedom: int
    residual: float
    start: Floats = field(repr=False)
    unit: float

    @property
    def noise(self) -> float | None:
        """Standard deviation of a run around the law; None where there are no more runs than constants."""
        return float(np.sqrt(self.residual / self.freedom)) if self.freedom > 0 else None


@dataclass(frozen=True)
class Known:
    """Constants that are not fitted.

    Args:
        exponent, floor: Their values; None for what is fitted.
    """

    exponent: float | None = None
    floor: float | None = None

    def __post_init__(self) -> None:
        if self.exponent is not None and not EXPONENTS[0] <= self.exponent <= EXPONENTS[1]:
            raise ConfigError(f"an exponent of {self.exponent}: it is from {EXPONENTS[0]} to {EXPONENTS[1]}")
        if self.floor is not None and not (np.isfinite(self.floor) and self.floor >= 0):
            raise ConfigError(f"an asymptote of {self.floor}: no loss is below 0")

    def free(self, form: Form) -> int:
        """How many constants of such a law are fitted."""
        return 1 + (form == "rectified") + (self.exponent is None) + (self.floor is None)


NOTHING_KNOWN = Known()


def fit(form: Form, tokens: Floats, losses: Floats, known: Known = NOTHING_KNOWN, *, near: Fit | None = None) -> Fit:
    """The law of this form with the least squares from the losses of some runs, all of which count the same.

    Args:
        form: ``power`` or ``rectified``.
        tokens, losses: Of each run, float64 (runs,); different tokens at least as many as free constants.
        known: Constants that are given.
        near: A fit of nearly the same losses, where the search begins; default everywhere.

    Raises:
        ConfigError: There are fewer amounts of tokens than free constants, or a given asymptote is above all losses.
    """
    amounts, free = len(np.unique(tokens)), known.free(form)
    if amounts < free:
        raise ConfigError(f"{free} constants cannot be fitted to runs of {amounts} different numbers of tokens")
    if known.floor is not None and losses.min() <= known.floor:
        raise ConfigError(
            f"a run lost {losses.min():.4g}, which is not above the asymptote {known.floor}: give a lower one"
        )
    unit = near.unit if near else float(np.exp(np.log(tokens).mean()))
    relative, logarithms = tokens / unit, np.log(tokens / unit)

    # Constants in the search: logarithm of the scale, logarithm of the exponent, floor, logarithm of the shift.
    low = np.array([_LOGARITHMS[0], np.log(EXPONENTS[0]), 0.0, _LOGARITHMS[0]])
    high = np.array([_LOGARITHMS[1], np.log(EXPONENTS[1]), max(float(losses.max()), 1e-9), _LOGARITHMS[1]])
    free_ones = np.array([True, known.exponent is None, known.floor is None, form == "rectified"])
    given = np.array([0.0, np.log(known.exponent or 1.0), known.floor or 0.0, -np.inf])

    def whole(some: Floats) -> Floats:
        constants = given.copy()
        constants[free_ones] = some
        return constants

    def remainder(some: Floats) -> Floats:
        scale, exponent, floor, shift = whole(some)
        return np.exp(scale) / (np.exp(shift) + relative ** np.exp(exponent)) + floor - losses

    def slopes(some: Floats) -> Floats:
        scale, exponent, _, shift = whole(some)
        power, offset = relative ** np.exp(exponent), np.exp(shift)
        part = np.exp(scale) / (offset + power)
        by_exponent = -part / (offset + power) * power * logarithms * np.exp(exponent)
        by_shift = -part / (offset + power) * offset
        return np.stack([part, by_exponent, np.ones_like(part), by_shift], axis=1)[:, free_ones]

    starts = [near.start] if near else [_start(losses, *each) for each in _STARTS]
    best = min(
        (
            least_squares(
                remainder,
                np.clip(start[free_ones], low[free_ones] + 1e-6, high[free_ones] - 1e-6),
                jac=slopes,
                bounds=(low[free_ones], high[free_ones]),
                x_scale="jac",
                ftol=1e-12,
                xtol=1e-12,
                gtol=1e-12,
                max_nfev=300,
            )
            for start in starts
        ),
        key=lambda found: found.cost,
    )
    constants = whole(best.x)
    exponent = float(np.exp(constants[1]))
    law = Law(
        float(np.exp(constants[0] + exponent * np.log(unit))),
        exponent,
        float(constants[2]),
        float(np.exp(constants[3] + exponent * np.log(unit))),
    )
    start = np.where(np.isfinite(constants), constants, 0.0)
    return Fit(law, form, len(losses) - free, 2 * float(best.cost), start, unit)


def _start(losses: Floats, exponent: float, shift: float) -> Floats:
    above = max(float(np.ptp(losses)), 1e-3)
    return np.array([np.log(above), np.log(exponent), max(float(losses.min()) - above, 0.0), shift])
