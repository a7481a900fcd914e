"""Exponential weights (EXP3; as for data mixtures in arXiv 2312.02406)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from streamdocs.steering.controllers.base import Arms, Floats, Learner, Seen, State, Step, scattered


@dataclass(frozen=True, kw_only=True)
class Exp3(Learner):
    """Above the floors, shares are p = (1 - K e) w exp(e' R) / sum + K e w, w being what they began with.

    R sums an arm's rewards less 1/2, e is min(1/K, sqrt(ln K / (K t))) after t of them, and e' that of one before.
    Where arms are judged together, one of them is drawn with probability p, gets all above the floors until something
    new is seen, and R sums the reward times the arm's share of what was read, over what that was to be on average: over
    the probabilities with which these windows were drawn, whatever is known since.
    """

    name: ClassVar[str] = "exp3"

    def decide(self, state: State, seen: Sequence[Seen], arms: Arms, position: int, draw: float) -> Step:
        """As of every controller."""
        count, begun, new = len(arms.names), self.above_floor(arms.shares), self.judged(seen)
        now: dict[str, Any] = dict(state) or {"sums": [0.0] * count, "times": 0, "parts": [], "drawn": -1}
        for each in new:
            now |= self._learned(now, each)
        if new:
            now["parts"] = self._parts(now, begun).tolist()
            ends = np.cumsum(now["parts"])
            now["drawn"] = int((ends[:-1] <= draw).sum()) if new[-1].together else -1
        if not now["parts"]:
            return Step(now, arms.shares, "nothing is known yet")
        if (drawn := now["drawn"]) >= 0:
            return Step(now, self.with_floor(scattered(count, drawn)), f"{arms.names[drawn]} was drawn")
        return Step(now, self.with_floor(np.array(now["parts"])), f"weights after {now['times']} rewards")

    def expected(self, state: State, shares: Floats) -> Floats:
        """As of every controller."""
        return self.with_floor(np.array(state["parts"])) if state["drawn"] >= 0 else shares

    def _learned(self, state: dict[str, Any], seen: Seen) -> dict[str, Any]:
        rewards = np.nan_to_num(seen.rewards - 0.5)
        if seen.together:
            rewards = rewards * np.divide(seen.shares, seen.expected, np.zeros_like(rewards), where=seen.expected > 0)
        return {"sums": (np.array(state["sums"]) + rewards).tolist(), "times": state["times"] + 1}

    def _parts(self, state: dict[str, Any], begun: Floats) -> Floats:
        arms, times = len(begun), state["times"]
        mixed = arms * _rate(arms, times)
        grown = _rate(arms, times - 1) * np.array(state["sums"])
        weights = begun * np.exp(grown - grown.max())
        if not weights.sum():
            return begun
        parts: Floats = (1 - mixed) * weights / weights.sum() + mixed * begun
        return parts


def _rate(arms: int, times: int) -> float:
    return min(1 / arms, math.sqrt(math.log(arms) / (arms * max(times, 1))))
