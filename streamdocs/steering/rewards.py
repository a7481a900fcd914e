"""Rewards: what reports say of the arms, on a scale that neither the size of losses nor the age of a run changes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamdocs.steering.controllers.base import Floats, Reward, Seen
from streamdocs.steering.reports import HeldOut, Losses

#: How much of a running mean stays with each new value.
_KEPT = 0.9


class Lost(NamedTuple):
    """What was reported of a window, by arm.

    window: Which. sums: float64 (arms,), of the mean losses of its sequences, in nats a token. counts: int64 (arms,),
    sequences of which something was reported. dealt: int64 (arms,), sequences that it had.
    """

    window: int
    sums: tuple[float, ...]
    counts: tuple[int, ...]
    dealt: tuple[int, ...]

    @classmethod
    def of(cls, window: int, losses: Losses, stream: npt.NDArray[Any], arms: Sequence[int]) -> "Lost | None":
        """What was lost in a window, by arm; None where nothing is known of any.

        Args:
            window: Which.
            losses: float32 (window, bins), NaN where none is known.
            stream: integer (window,), number of the stream at each place.
            arms: Numbers of the streams that are arms.
        """
        known = ~np.isnan(losses).all(axis=1)
        means = np.nanmean(losses[known], axis=1, dtype=np.float64)
        streams = max([int(stream.max()), *arms]) + 1
        sums = np.bincount(stream[known], means, streams)
        counts, dealt = (np.bincount(each, minlength=streams) for each in (stream[known], stream))
        if not counts[list(arms)].any():
            return None
        return cls(window, *(tuple(each[list(arms)].tolist()) for each in (sums, counts, dealt)))

    @property
    def means(self) -> Floats:
        """float64 (arms,): mean loss, NaN where nothing was reported."""
        counts = np.array(self.counts)
        return np.where(counts > 0, np.array(self.sums) / np.maximum(counts, 1), np.nan)


class Rewards:
    """Makes rewards of reports.

    A reward is (y - m) / 4 s + 1/2, cut off at 0 and 1, with the running means m of y and s of its size. y is how far a
    loss fell, over the logarithm of how far the run (or the arm) came meanwhile: losses fall by powers, and by their
    logarithm in equal steps. By ``loss``, y is the loss itself. What is the same all along is 1/2.

    Args:
        reward: Which.
        window: Sequences a window.
    """

    def __init__(self, reward: Reward, window: int) -> None:
        self._reward = reward
        self._window = window

    def seen(
        self, state: Mapping[str, Any], lost: Sequence[Lost], held_out: Sequence[HeldOut], dealt: Sequence[Floats]
    ) -> tuple[dict[str, Any], list[Seen]]:
        """What reports say, and the state after them.

        Args:
            state: After those before; empty at first.
            lost: Windows, in order.
            held_out: Evaluations, in order.
            dealt: float64 (arms,), for each of these: sequences of each arm from the evaluation before it to it, as
                far as is known.
        """
        now = dict(state) or {"read": [], "losses": [], "held_out": [], "by": "", "mean": None, "size": None}
        is_held_out = self._reward == "held_out" or (self._reward == "auto" and bool(held_out or now["held_out"]))
        by = "held_out" if is_held_out else "loss" if self._reward == "loss" else "progress"
        if by != now["by"]:
            now |= {"by": by, "mean": None, "size": None}
        seen = [self._of_window(now, each) for each in lost]
        if is_held_out:
            seen += [each for found, had in zip(held_out, dealt, strict=True) if (each := self._held(now, found, had))]
        return now, seen

    def _of_window(self, now: dict[str, Any], lost: Lost) -> Seen:
        arms = len(lost.counts)
        before = np.array(now["read"] or [0.0] * arms)
        read, losses, last = before + lost.dealt, lost.means, np.array(now["losses"] or [None] * arms, np.float64)
        rewards = np.full(arms, np.nan)
        if now["by"] == "loss":
            rewards = self._scaled(now, losses)
        elif now["by"] == "progress":
            with np.errstate(divide="ignore", invalid="ignore"):
                came = np.log((read + self._window) / (before + self._window))
                rewards = self._scaled(now, np.where(came > 0, (last - losses) / came, np.nan))
        now["read"] = read.tolist()
        running = np.where(np.isnan(last), losses, 0.5 * last + 0.5 * losses)
        known = np.where(np.isnan(losses), last, running)
        now["losses"] = [None if math.isnan(loss) else loss for loss in known.tolist()]
        had = np.array(lost.dealt, np.float64)
        return Seen(had / max(had.sum(), 1), rewards, False, losses, read.astype(np.float64))

    def _held(self, now: dict[str, Any], found: HeldOut, had: Floats) -> Seen | None:
        before, now["held_out"] = now["held_out"], list(found)
        if not before or not had.sum():
            return None
        came = math.log((found.position + self._window) / (before[0] + self._window))
        reward = self._scaled(now, np.array([(before[1] - found.loss) / came]))
        unknown = np.full(len(had), np.nan)
        return Seen(had / had.sum(), np.repeat(reward, len(had)), True, unknown, unknown)

    @staticmethod
    def _scaled(now: dict[str, Any], values: Floats) -> Floats:
        known = values[~np.isnan(values)]
        if not len(known):
            return values
        mean = float(known.mean()) if now["mean"] is None else now["mean"]
        size = float(np.abs(known).mean()) if now["size"] is None else now["size"]
        rewards: Floats = np.clip(0.5 + ((values - mean) / (4 * size) if size else 0 * values), 0, 1)
        now["mean"] = _KEPT * mean + (1 - _KEPT) * float(known.mean())
        now["size"] = _KEPT * size + (1 - _KEPT) * float(np.abs(known).mean())
        return rewards
