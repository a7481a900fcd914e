"""Shares by how fast each arm is learned, which scaling laws say (ADO, arXiv 2410.11820)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from streamdocs.errors import ConfigError
from streamdocs.steering.controllers.base import Arms, Floats, Learner, Seen, State, Step

#: Exponents that are tried, and points of an arm that are kept.
_EXPONENTS = np.linspace(0.05, 1.5, 59)
_MOST_POINTS = 64


@dataclass(frozen=True, kw_only=True)
class Ado(Learner):
    """Above the floors, shares are in proportion to what they began with, times how fast the loss of the arm falls.

    Of each arm a law L(n) = e + b n^-a is fitted to its loss after n sequences of it, by least squares; it falls by
    a b n^(-a-1) a sequence. The result is a running average.

    Args:
        smoothing: How much of the shares before stays in it.
        reward: It knows but the losses of the arms: ``auto`` alone.
    """

    name: ClassVar[str] = "ado"

    floor: Annotated[float, Field(ge=0, lt=1)] = 0.01
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.9

    def check(self, arms: Arms) -> None:
        """As of every controller."""
        if self.reward != "auto":
            raise ConfigError("controller ado: reward: it goes by how fast losses fall: leave it out")
        super().check(arms)

    def hears(self, seen: Sequence[Seen]) -> bool:
        """As of every learner: it is told by losses."""
        return any(not np.isnan(each.losses).all() for each in seen)

    def decide(self, state: State, seen: Sequence[Seen], arms: Arms, position: int, draw: float) -> Step:
        """As of every controller."""
        begun = self.above_floor(arms.shares)
        now: dict[str, Any] = dict(state) or {"points": [[] for _ in arms.names], "parts": begun.tolist()}
        points = [list(each) for each in now["points"]]
        new = [each for each in seen if not np.isnan(each.losses).all()]
        for each in new:
            for arm in np.flatnonzero(~np.isnan(each.losses) & (each.read > 0)).tolist():
                points[arm].append([float(each.read[arm]), float(each.losses[arm])])
        now["points"] = [each if len(each) <= _MOST_POINTS else each[1::2] for each in points]
        if new:
            speeds = begun * np.array([learning_speed(np.array(each)) for each in now["points"]])
            parts = speeds / speeds.sum() if speeds.sum() > 0 else begun
            now["parts"] = (self.smoothing * np.array(now["parts"]) + (1 - self.smoothing) * parts).tolist()
        known = min(map(len, now["points"]))
        return Step(now, self.with_floor(np.array(now["parts"])), f"laws of {known} points or more")


def learning_speed(points: Floats) -> float:
    """How far a loss falls with the next sequence, by the law that fits best; 0 where it does not, or nobody can say.

    Args:
        points: float64 (points, 2), sequences and loss.
    """
    if len(points) < 3:
        return 0.0
    read, losses = points.T
    best, speed = np.inf, 0.0
    for exponent in _EXPONENTS.tolist():
        powers = read**-exponent
        spread = powers - powers.mean()
        if not (squares := float(spread @ spread)):
            continue
        slope = max(float(spread @ (losses - losses.mean())) / squares, 0.0)
        wrong = losses - losses.mean() - slope * spread
        if (error := float(wrong @ wrong)) < best:
            best, speed = error, exponent * slope * float(read.max()) ** (-exponent - 1)
    return speed
