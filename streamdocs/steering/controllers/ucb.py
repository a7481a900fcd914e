"""Upper confidence bounds: the arm that may be the best, given how little is known of it (UCB1; arXiv 2412.05466)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from streamdocs.steering.controllers.base import Arms, Floats, Learner, Seen, State, Step, scattered

_TIE = 1e-12


@dataclass(frozen=True, kw_only=True)
class Ucb(Learner):
    """All above the floors goes to the arm of the highest bound: its mean reward + c r sqrt(ln(1 + T) / n).

    n is how often the arm was read, a window of it alone counting as one, T the sum over arms, and r the span of the
    rewards so far. Arms with the same bound share in proportion to what they began with. What was chosen stays until
    something new is seen; where arms are judged together, each is chosen once first.

    Args:
        c: How much what is little known is worth.
    """

    name: ClassVar[str] = "ucb"

    c: Annotated[float, Field(ge=0)] = 0.5

    def decide(self, state: State, seen: Sequence[Seen], arms: Arms, position: int, draw: float) -> Step:
        """As of every controller."""
        new = self.judged(seen)
        now = self._learned(dict(state) or _new(len(arms.names)), new)
        if new:
            now["chosen"] = self._chosen(now, new[-1].together, self.above_floor(arms.shares))
        if not now["chosen"]:
            return Step(now, arms.shares, "some arm is not known yet")
        chosen = np.array(now["chosen"])
        best, is_tried = arms.names[int(chosen.argmax())], now["trying"] >= 0
        why = f"{best} is tried" if is_tried else f"{best} may be the best" if chosen.max() == 1 else "all are as good"
        return Step(now, self.with_floor(chosen), why)

    def _learned(self, state: dict[str, Any], seen: Sequence[Seen]) -> dict[str, Any]:
        times, sums = np.array(state["times"]), np.array(state["sums"])
        low, high = state["low"], state["high"]
        for each in seen:
            known = ~np.isnan(each.rewards)
            times[known] += each.shares[known]
            sums[known] += (each.shares * each.rewards)[known]
            if known.any():
                low, high = min(low, each.rewards[known].min()), max(high, each.rewards[known].max())
        return {**state, "times": times.tolist(), "sums": sums.tolist(), "low": float(low), "high": float(high)}

    def _chosen(self, state: dict[str, Any], together: bool, begun: Floats) -> list[float]:
        arms = len(begun)
        state["trying"] = -1
        if together and state["tried"] < arms:
            state["trying"], state["tried"] = state["tried"], state["tried"] + 1
            return scattered(arms, state["trying"]).tolist()
        times = np.array(state["times"])
        if not times.all():  # an arm of which nothing is known is neither better nor worse
            return []
        span = max(state["high"] - state["low"], 0.0)
        bounds = np.array(state["sums"]) / times + self.c * span * np.sqrt(math.log1p(times.sum()) / times)
        best = np.where(bounds >= bounds.max() - _TIE, begun, 0.0)
        if not best.sum():  # those that began at the floor
            best = (bounds >= bounds.max() - _TIE).astype(np.float64)
        chosen: list[float] = (best / best.sum()).tolist()
        return chosen


def _new(arms: int) -> dict[str, Any]:
    zeros = [0.0] * arms
    return {"times": zeros, "sums": zeros, "low": 1.0, "high": 0.0, "tried": 0, "trying": -1, "chosen": []}
