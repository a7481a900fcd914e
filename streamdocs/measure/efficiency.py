"""Data efficiency: how much more web text a web-only run needs to lose as little as a recipe does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamdocs.errors import ConfigError, some
from streamdocs.measure.intervals import Chance, Draws, draw, interval
from streamdocs.measure.laws import NOTHING_KNOWN, Fit, Known, fit
from streamdocs.measure.runs import Points

WEB = "web"

Ends = tuple[float | None, float | None]


@dataclass(frozen=True)
class Efficiency:
    """What a recipe is worth.

    Args:
        name, recipe, generations: Of it.
        tokens: D, the web tokens that it had.
        loss, runs: Mean of its runs, and how many there are.
        excess: How far web text alone is above the asymptote at D, in how far the recipe is: what the law's exponent
            makes a ratio of data of.
        data: D', after how many web tokens the web-only law loses as little; None beyond the web-only runs, unless that
            was asked for, and where the law comes to no such loss.
        ratio: D'/D, likewise.
        ends: Of the interval of that; None for an end beyond the web-only runs, for all where the noise is not known.
        at_least, at_most: What is known of D'/D where it is beyond the web-only runs.
        why: What keeps it from being known; "" for nothing.
    """

    name: str
    recipe: str
    generations: int
    tokens: float
    loss: float
    runs: int
    excess: float | None
    data: float | None
    ratio: float | None
    ends: Ends
    at_least: float | None
    at_most: float | None
    why: str


@dataclass(frozen=True)
class Efficiencies:
    """All that follows from some runs.

    Args:
        web: The web-only ones.
        fit, known: Of the law, and what was given of it.
        constants: Intervals of its constants, by name; None where the noise is not known.
        recipes: Of each recipe, G and amount of web text.
        warnings: What to know of it.
    """

    web: Points
    fit: Fit
    known: Known
    constants: dict[str, tuple[float, float]] | None
    recipes: tuple[Efficiency, ...]
    warnings: tuple[str, ...]


def efficiencies(
    points: Sequence[Points],
    *,
    web: str = WEB,
    known: Known = NOTHING_KNOWN,
    chance: Chance | None = None,
    extrapolate: bool = False,
) -> Efficiencies:
    """Fit L(D) = A / D**a + E to web-only runs, and invert it for the loss of each other recipe.

    Args:
        points: Runs by recipe and G (``grouped``), ``tokens`` being the distinct web tokens of each.
        web: The recipe that is web text alone.
        known: Constants of the law that are given.
        chance: How intervals are drawn.
        extrapolate: Whether the law is believed beyond the web-only runs.

    Raises:
        ConfigError: There are no web-only runs, too few for the law, or none that lose less with more data.
    """
    base = next((each for each in points if each.recipe == web and not each.generations), None)
    if base is None:
        names = some(list(dict.fromkeys(each.recipe for each in points)))
        raise ConfigError(
            f"no run of recipe {web!r} without generations, by which others are measured; there are {names}"
        )
    if len(base.amounts) < known.free("power"):
        raise ConfigError(
            f"web-only runs of {len(base.amounts)} amounts of data ({some([f'{each:,.0f}' for each in base.amounts])} "
            f"tokens) do not determine {known.free('power')} constants of A / D^a + E: train on more amounts, or give "
            "what is known by --asymptote and --exponent"
        )
    found = fit("power", base.tokens, base.losses, known)
    first, last = found.law.loss(base.amounts[[0, -1]])
    if len(base.amounts) > 1 and first - last < 1e-6:
        raise ConfigError(
            "web-only runs lose no less with more data, so nothing is worth an amount of it: look at the runs"
        )
    others = [(each, amount) for each in points if each is not base for amount in each.amounts.tolist()]
    draws = draw(found, base.tokens, base.losses, chance or Chance(), known, further=len(others))
    warnings = [] if draws else ["no intervals: as many constants as runs; give more seeds, or the noise of a run"]
    told = [
        _efficiency(found, base, each, amount, draws, number, extrapolate)
        for number, (each, amount) in enumerate(others)
    ]
    return Efficiencies(base, found, known, _constants(draws) if draws else None, tuple(told), tuple(warnings))


def _constants(draws: Draws) -> dict[str, tuple[float, float]]:
    return {
        name: interval(np.array([getattr(law, of) for law in draws.laws]))
        for name, of in (("A", "scale"), ("a", "exponent"), ("E", "floor"))
    }


def _efficiency(
    found: Fit, web: Points, recipe: Points, amount: float, draws: Draws | None, number: int, extrapolate: bool
) -> Efficiency:
    law, losses = found.law, recipe.at(amount)
    loss = float(losses.mean())
    data = float(law.tokens(loss))
    low, high = (web.amounts[[0, -1]] / amount).tolist()
    ends: tuple[float, float] | None = None
    if draws:
        # What a recipe's mean would have been with other seeds.
        other = loss + draws.noise * draws.normal[:, number] / np.sqrt(len(losses))
        ends = interval(np.array([each.tokens(of) for each, of in zip(draws.laws, other, strict=True)]) / amount)

    def known(ratio: float) -> float | None:
        """A ratio that may be told."""
        return ratio if np.isfinite(ratio) and (extrapolate or low <= ratio <= high) else None

    why = ""
    if not np.isfinite(data):
        why = f"the web-only law does not come below {law.floor:.4f}"
    elif known(data / amount) is None:
        beyond, limit = ("more", web.amounts[-1]) if data / amount > high else ("less", web.amounts[0])
        why = f"D' is {beyond} than the {limit:,.0f} tokens to which web-only runs go: train one, or --extrapolate"
    above = loss - law.floor
    return Efficiency(
        *(recipe.name, recipe.recipe, recipe.generations, amount, loss, len(losses)),
        excess=float((law.loss(amount) - law.floor) / above) if above > 0 else None,
        data=data if known(data / amount) is not None else None,
        ratio=known(data / amount),
        ends=(known(ends[0]), known(ends[1])) if ends else (None, None),
        at_least=high if data / amount > high and known(data / amount) is None else None,
        at_most=low if data / amount < low and known(data / amount) is None else None,
        why=why,
    )
