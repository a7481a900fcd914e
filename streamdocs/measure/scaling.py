"""The rectified scaling law of each recipe, with intervals, and against points that it was not fitted to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from streamdocs._base.arrays import Floats
from streamdocs.errors import ConfigError
from streamdocs.measure.intervals import Chance, Draws, draw, interval
from streamdocs.measure.laws import NOTHING_KNOWN, Fit, Form, fit
from streamdocs.measure.runs import Points

#: An exponent whose interval spans more than such a factor is not determined by the points.
_MOST_SPAN = 2.0


@dataclass(frozen=True)
class Predicted:
    """What a law says of one amount of tokens.

    Args:
        tokens: The amount.
        loss: By the law.
        ends: From where to where a run would be, noise and all; None where the noise is not known.
        measured: Mean of the runs there; None for none.
        held_out: Whether they were kept out of the fit.
    """

    tokens: float
    loss: float
    ends: tuple[float, float] | None
    measured: float | None
    held_out: bool

    @property
    def covered(self) -> bool | None:
        """Whether the interval has what was measured; None where there is none of the two."""
        return self.ends[0] <= self.measured <= self.ends[1] if self.ends and self.measured is not None else None


@dataclass(frozen=True)
class Scaling:
    """The law of one recipe.

    Args:
        points: All its runs.
        fit: Of the rectified law.
        ends: Intervals of its constants, by name; None where the noise is not known.
        predicted: Amounts that were measured or asked for, in order.
        errors: By the form of a law, its root mean square error on points that were kept out; none without such points.
        warnings: What to know of it.
    """

    points: Points
    fit: Fit
    ends: dict[str, tuple[float, float]] | None
    predicted: tuple[Predicted, ...]
    errors: dict[Form, float]
    warnings: tuple[str, ...]


def scaling(points: Points, *, hold_out: int = 0, at: Sequence[float] = (), chance: Chance | None = None) -> Scaling:
    """Fit B / (D_l + D**b) + E to the runs of one recipe.

    Args:
        points: Its runs, ``tokens`` being what each was trained on.
        hold_out: So many of the largest amounts are kept out of the fit, and compared with what it says of them.
        at: Further amounts of which something is to be said.
        chance: How intervals are drawn.

    Raises:
        ConfigError: It has too few amounts of tokens.
    """
    amounts = points.amounts
    kept = amounts[: len(amounts) - hold_out]
    needed = NOTHING_KNOWN.free("rectified")
    if len(kept) < needed:
        without = f", {hold_out} of which are held out" if hold_out else ""
        raise ConfigError(
            f"{points.name}: it was measured after {len(amounts)} amounts of tokens{without}, and B / (D_l + D^b) + E "
            f"has {needed} constants: measure more"
        )
    fitted = points.only(kept)
    found = fit("rectified", fitted.tokens, fitted.losses)
    chance = chance or Chance()
    where = np.unique(np.concatenate([amounts, np.array(at, np.float64)]))
    draws = draw(found, fitted.tokens, fitted.losses, chance, further=len(where))
    predicted = tuple(_predicted(points, found, draws, where, kept))
    return Scaling(
        points,
        found,
        _ends(draws) if draws else None,
        predicted,
        _errors(fitted, predicted) if hold_out else {},
        tuple(_warnings(found, draws, chance)),
    )


def _ends(draws: Draws) -> dict[str, tuple[float, float]]:
    return {
        name: interval(np.array([getattr(law, of) for law in draws.laws]))
        for name, of in (("B", "scale"), ("D_l", "shift"), ("b", "exponent"), ("E", "floor"))
    }


def _predicted(points: Points, found: Fit, draws: Draws | None, where: Floats, kept: Floats) -> Iterator[Predicted]:
    for number, amount in enumerate(where.tolist()):
        ends = None
        if draws:
            by_draw = np.array([float(law.loss(amount)) for law in draws.laws])
            ends = interval(by_draw + draws.noise * draws.normal[:, number])
        losses = points.at(amount)
        measured = float(losses.mean()) if len(losses) else None
        yield Predicted(
            amount, float(found.law.loss(amount)), ends, measured, measured is not None and amount not in kept
        )


def _errors(fitted: Points, predicted: Sequence[Predicted]) -> dict[Form, float]:
    held_out = [(each.tokens, each.measured) for each in predicted if each.held_out and each.measured is not None]
    tokens, measured = (np.array(each) for each in zip(*held_out, strict=True))
    forms: tuple[Form, ...] = ("rectified", "power")
    laws = {form: fit(form, fitted.tokens, fitted.losses).law for form in forms}
    return {form: float(np.sqrt(np.mean((law.loss(tokens) - measured) ** 2))) for form, law in laws.items()}


def _warnings(found: Fit, draws: Draws | None, chance: Chance) -> Iterator[str]:
    if found.freedom < 1:
        said = "a law of four constants goes through four points whatever they are"
        yield f"b is not determined: {said}{'' if draws else ', and there are no intervals'}; measure more amounts"
    if draws:
        low, high = interval(np.array([law.exponent for law in draws.laws]))
        if high > low * _MOST_SPAN and found.freedom > 0:
            yield (
                f"b is not determined: between {low:.2f} and {high:.2f} the law fits as well. Its constants say "
                "nothing; measure amounts further apart, or more seeds"
            )
    if draws and chance.noise is not None and found.noise is not None and found.noise > 2 * chance.noise:
        yield f"runs are {found.noise:.3g} from the law, more than the noise of {chance.noise:.3g} that was given"
