"""Off-line replay: what controllers would have done over recorded reports, and what that would have been worth.

An arm's reward is taken not to depend on the shares: what is said of an arm is said again, however much of it is read.
Where the arms were judged together, by what is held out, each one's reward is worked out by least squares: the reward
of a mixture is that of its arms, weighed by their shares, and what the recorded one had beyond that is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from streamdocs.steering.controllers import CONTROLLERS, FIXED, Ado, Arms, Controller, Learner, Schedule, Seen
from streamdocs.steering.controllers.base import Floats, Reward, State
from streamdocs.steering.decider import Decider
from streamdocs.steering.decision import PARTS, deal, in_parts
from streamdocs.steering.recorded import Recorded
from streamdocs.steering.rewards import Rewards

#: Differences of shares or rewards that are none.
_SAME = 1e-9


class Judgement(NamedTuple):
    """What one report says of the arms.

    window: Whose decision knew it first. seen: As that was told it. part: float64 (window,), how much of each window
    before that one it is about. rewards: float64 (arms,), what each arm alone would have had; 1/2, as good as usual,
    for one of which nothing is known. counts: Whether it says anything of rewards.
    """

    window: int
    seen: Seen
    part: Floats
    rewards: Floats
    counts: bool


class Simulated(NamedTuple):
    """What a controller would have done.

    shares: float64 (windows, arms). reward: The mean of what it would have had, from 0 to 1. regret: By how much the
    best fixed shares would have had more, in all.
    """

    shares: Floats
    reward: float
    regret: float


class Replayed(NamedTuple):
    """What all controllers would have done.

    best: float64 (arms,), the best fixed shares in hindsight. rewards: float64 (arms,), mean reward of each arm.
    judgements: How often arms were judged. apart: Whether that tells them apart.
    """

    controllers: dict[str, Simulated]
    best: Floats
    rewards: Floats
    judgements: int
    apart: bool


def candidates(arms: Arms, own: Controller | None) -> dict[str, Controller | None]:
    """A run's own controller, and with it the others as they are by default, by their names; None moves nothing.

    Where an arm begins with less than twice their floor, that is lower.
    """
    least = float(arms.shares.min())
    made = [
        replace(kind(), floor=min(kind().floor, least / 2)) for kind in CONTROLLERS.values() if kind is not Schedule
    ]
    return {FIXED: None, **{each.name: each for each in made}, **({own.name: own} if own else {})}


def replay(recorded: Recorded, controllers: Mapping[str, Controller | None], reward: Reward, floor: float) -> Replayed:
    """Decide over recorded reports as each controller would have.

    Args:
        recorded: The reports.
        controllers: By their names; None is for shares that stay.
        reward: By which all of them go, but for ado, and are compared.
        floor: Least share of each arm in the best fixed shares.
    """
    judgements = judged(recorded, reward)
    scored = [each for each in judgements if each.counts]
    rewards = np.array([each.rewards for each in scored]).reshape(-1, len(recorded.arms.names))
    best = np.full(len(recorded.arms.names), floor)
    best[int(rewards.sum(axis=0).argmax())] += 1 - best.sum()
    found = {}
    for name, controller in controllers.items():
        if isinstance(controller, Learner) and not isinstance(controller, Ado):
            controller = replace(controller, reward=reward)  # noqa: PLW2901
        shares, counts = _decided(recorded, judgements, controller)
        had = [float(_shares(each, counts) @ each.rewards) for each in scored]
        regret = float((rewards @ best).sum()) - sum(had)
        found[name] = Simulated(shares, sum(had) / max(len(had), 1), regret)
    apart = bool((np.ptp(rewards, axis=1) > _SAME).any())
    return Replayed(found, best, rewards.sum(axis=0) / max(len(scored), 1), len(scored), apart)


def judged(recorded: Recorded, reward: Reward) -> list[Judgement]:
    """What reports say of the arms, in order."""
    size, found = recorded.window, list[Judgement]()
    counts = _counts(recorded)
    rewards, state, dealt = Rewards(reward, size), dict[str, Any](), _Dealt(counts, size)
    for row in recorded.rows:
        state, seen = rewards.seen(state, row.lost, row.held_out, dealt)
        for each in seen:
            part = _part(each.positions, size, row.window)
            known = ~np.isnan(each.rewards)
            found.append(Judgement(row.window, each, part, np.where(known, each.rewards, 0.5), bool(known.any())))
    return _told_apart(found)


class _Dealt(NamedTuple):
    """What was read of the arms. counts: float64 (windows, arms), sequences of each. size: Sequences a window."""

    counts: Floats
    size: int

    def read(self, position: int) -> Floats:
        """float64 (arms,): sequences of each arm among the first so many of the run."""
        return self.due(0, position)

    def due(self, start: int, stop: int) -> Floats:
        """float64 (arms,): sequences of each between two positions; what was drawn is not recorded."""
        due: Floats = _part(range(start, stop), self.size, len(self.counts)) @ self.counts
        return due


def _part(positions: range, size: int, windows: int) -> Floats:
    """float64 (windows,): how much of each window is between these positions."""
    begins = np.arange(windows) * size
    ends = np.minimum(positions.stop, begins + size)
    between: Floats = np.clip(ends - np.maximum(positions.start, begins), 0, None) / size
    return between


def _told_apart(judgements: list[Judgement]) -> list[Judgement]:
    """The same, with rewards of each arm also where they were judged together."""
    together = [each for each in judgements if each.seen.together]
    if not together:
        return judgements
    shares = np.array([each.seen.shares for each in together])
    rewards = np.array([each.rewards[0] for each in together])
    # Shares add up to one, so that arms are told apart and nothing more: the smallest solution says just that.
    own = np.linalg.lstsq(shares - shares.mean(axis=0), rewards - rewards.mean(), rcond=_SAME)[0]
    return [
        each._replace(rewards=each.rewards + own - each.seen.shares @ own) if each.seen.together else each
        for each in judgements
    ]


def _decided(
    recorded: Recorded, judgements: Sequence[Judgement], controller: Controller | None
) -> tuple[Floats, Floats]:
    """float64 (windows, arms): what a controller decides, and how many sequences that gives each arm."""
    arms, dealt = recorded.arms, _counts(recorded)
    if controller is None:
        return np.tile(arms.shares, (len(dealt), 1)), dealt.sum(axis=1, keepdims=True) * arms.shares
    decider = Decider(controller, arms, recorded.window, recorded.seed)
    shares, counts, due = np.zeros_like(dealt), np.zeros_like(dealt), np.zeros_like(dealt)
    state: State = {}
    silent, owed = -1, (0,) * len(arms.names)
    new = {window: list(each) for window, each in groupby(judgements, lambda each: each.window)}
    for row in recorded.rows:
        seen = [_seen(each, counts, due) for each in new.get(row.window, [])]
        step, silent = decider.step(row.window, state, seen, silent)
        state, parts, sequences = step.state, in_parts(step.shares), sum(row.counts)
        counts[row.window], owed = deal(sequences, parts, owed)
        shares[row.window] = np.array(parts) / PARTS
        due[row.window] = sequences * decider.expected(state, silent, shares[row.window])
    return shares, counts


def _seen(judgement: Judgement, counts: Floats, due: Floats) -> Seen:
    """What would have been seen with other shares: where arms are judged together, their own rewards count by these."""
    seen, shares = judgement.seen, _shares(judgement, counts)
    rewards = seen.rewards
    if seen.together:
        rewards = np.clip(rewards + (shares - seen.shares) @ judgement.rewards, 0, 1)
    return seen._replace(shares=shares, expected=_shares(judgement, due), rewards=rewards)


def _shares(judgement: Judgement, counts: Floats) -> Floats:
    """float64 (arms,): each arm's of what something is said of, with ``counts`` in each window."""
    had: Floats = judgement.part @ counts[: judgement.window]
    return had / (had.sum() or 1.0)


def _counts(recorded: Recorded) -> Floats:
    """float64 (windows, arms): sequences of each arm in each window, as they were."""
    return np.array([row.counts for row in recorded.rows], np.float64).reshape(-1, len(recorded.arms.names))
