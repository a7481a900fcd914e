"""Rewards: what reports say of the arms, on a scale that neither the size of losses nor the age of a run changes."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Count
from streamdocs.steering.controllers.base import Floats, Reward, Seen
from streamdocs.steering.reports import HeldOut, Losses

#: Of what is compared with the next, so many are remembered: the scale's values, and an arm's losses.
_MOST_VALUES, _MOST_LOSSES = 21, 3


class Dealt(Protocol):
    """What was read of the arms, reported or not."""

    def read(self, position: int) -> Floats:
        """float64 (arms,): sequences of each arm among the first so many of the run."""

    def due(self, start: int, stop: int) -> Floats:
        """float64 (arms,): sequences that each was to have between two positions, as likely as it was to be drawn."""


class Lost(NamedTuple):
    """What was reported of a window, by arm.

    window: Which. sums: float64 (arms,), of the mean losses of its sequences, in nats a token. counts: int64 (arms,),
    sequences of which something was reported. dealt: int64 (arms,), sequences that it had.
    """

    window: Count
    sums: tuple[float, ...]
    counts: tuple[Count, ...]
    dealt: tuple[Count, ...]

    @classmethod
    def of(cls, window: int, losses: Losses, stream: npt.NDArray[Any], arms: Sequence[int]) -> "Lost | None":
        """What was lost in a window, by arm; None where nothing is known of any.

        Args:
            window: Which.
            losses: float32 (window, bins), NaN where none is known.
            stream: integer (window,), number of the stream at each place.
            arms: Numbers of the streams that are arms.
        """
        heard = ~np.isnan(losses)
        bins = np.ascontiguousarray(heard.T).sum(axis=0)  # which is far quicker than along rows this short
        known = bins > 0
        means = np.where(heard, losses, 0).sum(axis=1, dtype=np.float64)[known] / bins[known]
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

    A reward is (y - m) / 4 s + 1/2, cut off at 0 and 1. y is how far a loss fell, over the logarithm of how far the run
    (or the arm) came meanwhile: losses fall by powers, and by their logarithm in equal steps. By ``loss``, y is the
    loss itself. m and s are medians of the last 21 y and of their sizes, the means of all arms of a window counting as
    one, and an arm's loss fell from the median of its last 3: what is far off counts once. What is the same all along
    is 1/2.

    Args:
        reward: Which.
        window: Sequences a window.
    """

    def __init__(self, reward: Reward, window: int) -> None:
        self._reward = reward
        self._window = window

    def seen(
        self, state: Mapping[str, Any], lost: Sequence[Lost], held_out: Sequence[HeldOut], dealt: Dealt
    ) -> tuple[dict[str, Any], list[Seen]]:
        """What reports say, and the state after them.

        Args:
            state: After those before; empty at first.
            lost: Windows, in order.
            held_out: Evaluations, in order.
            dealt: What was read of the arms until then.
        """
        now = dict(state) or {"read": [], "losses": [], "held_out": [], "by": "", "means": [], "sizes": []}
        is_held_out = self._reward == "held_out" or (self._reward == "auto" and bool(held_out or now["held_out"]))
        by = "held_out" if is_held_out else "loss" if self._reward == "loss" else "progress"
        if by != now["by"]:
            now |= {"by": by, "means": [], "sizes": []}
        seen = [self._of_window(now, each, dealt) for each in lost]
        if is_held_out:
            seen += [each for found in held_out if (each := self._held(now, found, dealt))]
        return now, seen

    def _of_window(self, now: dict[str, Any], lost: Lost, dealt: Dealt) -> Seen:
        positions = range(lost.window * self._window, (lost.window + 1) * self._window)
        read, losses = dealt.read(positions.stop), lost.means
        # Of each arm, at the newest window of which its loss is known.
        before, old = np.array(now["read"] or np.zeros(len(read))), now["losses"] or [[]] * len(read)
        rewards = np.full(len(read), np.nan)
        if now["by"] == "loss":
            rewards = self._scaled(now, losses)
        elif now["by"] == "progress":
            last = np.array([median(each) if each else np.nan for each in old])
            with np.errstate(divide="ignore", invalid="ignore"):
                came = np.log((read + self._window) / (before + self._window))
                rewards = self._scaled(now, np.where(came > 0, (last - losses) / came, np.nan))
        known = ~np.isnan(losses)
        now["read"] = np.where(known, np.maximum(read, before), before).tolist()
        now["losses"] = [
            [*each, loss][-_MOST_LOSSES:] if here else each
            for each, loss, here in zip(old, losses.tolist(), known.tolist(), strict=True)
        ]
        had = np.array(lost.dealt, np.float64)
        shares = had / max(had.sum(), 1)
        return Seen(positions, shares, shares, rewards, False, losses, read)

    def _held(self, now: dict[str, Any], found: HeldOut, dealt: Dealt) -> Seen | None:
        before, now["held_out"] = now["held_out"], list(found)
        positions = range(before[0] if before else found.position, found.position)
        had = dealt.read(positions.stop) - dealt.read(positions.start)
        if not had.sum():
            return None
        due = dealt.due(positions.start, positions.stop)
        came = math.log((positions.stop + self._window) / (positions.start + self._window))
        reward = self._scaled(now, np.array([(before[1] - found.loss) / came]))
        unknown = np.full(len(had), np.nan)
        return Seen(positions, had / had.sum(), due / due.sum(), np.repeat(reward, len(had)), True, unknown, unknown)

    @staticmethod
    def _scaled(now: dict[str, Any], values: Floats) -> Floats:
        known = values[~np.isnan(values)]
        if not len(known):
            return values
        new = {"means": float(known.mean()), "sizes": float(np.abs(known).mean())}
        mean, size = (median(now[name] or [value]) for name, value in new.items())
        rewards: Floats = np.clip(0.5 + ((values - mean) / (4 * size) if size else 0 * values), 0, 1)
        now |= {name: [*now[name], value][-_MOST_VALUES:] for name, value in new.items()}
        return rewards
