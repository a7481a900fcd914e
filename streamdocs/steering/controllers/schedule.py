"""A curriculum: shares by how far the run is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from streamdocs._base.arrays import Count
from streamdocs._base.typed import exact_fraction
from streamdocs.errors import ConfigError
from streamdocs.steering.controllers.base import Arms, Controller, Floats, Seen, State, Step


@dataclass(frozen=True, kw_only=True)
class Schedule(Controller):
    """Shares by position, whatever is reported.

    Args:
        shares: By position, from 0 on: the share of each synthetic stream, of all of them together. What holds for a
            window is what holds for its first position.
        ramp: Between two positions, go from the shares of the one to those of the other in a line; default at once.
    """

    name: ClassVar[str] = "schedule"

    floor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    shares: Mapping[Count, Mapping[str, float | str]] = field(default_factory=dict)
    ramp: bool = False

    @property
    def identity(self) -> list[Any]:
        """As of every controller; in lists, whose order says which is when."""
        points = [
            [at, sorted((name, str(_share(each))) for name, each in self.shares[at].items())] for at in self.points
        ]
        return [self.name, points, self.ramp]

    @property
    def points(self) -> list[int]:
        """The positions at which shares are given."""
        return sorted(self.shares)

    def check(self, arms: Arms) -> None:
        """As of every controller: it says all shares of all arms, from position 0 on."""
        super().check(arms)
        if not self.shares or self.points[0] != 0:
            raise ConfigError("controller schedule: shares: say those of position 0, and of further ones")
        for at, shares in self.shares.items():
            where = f"controller schedule: shares of position {at}"
            exact = [exact_fraction(share, f"{where}: {name}") for name, share in shares.items()]
            if set(shares) != set(arms.names) or sum(exact) != 1:
                raise ConfigError(f"{where}: one for each of {', '.join(arms.names)}, which add up to 1")
            if min(exact) < self.floor:
                raise ConfigError(f"{where}: one is below floor={self.floor}")

    def decide(self, state: State, seen: Sequence[Seen], arms: Arms, position: int, draw: float) -> Step:
        """The shares that hold at a position."""
        points: list[int] = self.points
        number = int(np.searchsorted(points, position, side="right")) - 1
        here = self._at(points[number], arms)
        if not self.ramp or number + 1 == len(points):
            return Step({}, here, f"shares of position {points[number]:,}")
        there, part = points[number + 1], (position - points[number]) / (points[number + 1] - points[number])
        shares: Floats = (1 - part) * here + part * self._at(there, arms)
        return Step({}, shares, f"{part:.0%} of the way to position {there:,}")

    def _at(self, point: int, arms: Arms) -> Floats:
        return np.array([float(_share(self.shares[point][name])) for name in arms.names])


def _share(value: float | str) -> Fraction:
    return exact_fraction(value, "share")
