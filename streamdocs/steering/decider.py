"""Deciding: from the decision before and what was reported since to the next; pure arithmetic."""

import logging
from collections.abc import Sequence

import numpy as np

from streamdocs._base.hashing import seeded_numbers
from streamdocs.steering.controllers import Arms, Controller, Learner, Seen
from streamdocs.steering.controllers.base import Floats, Reward, State, Step
from streamdocs.steering.decision import Decision, deal, in_parts
from streamdocs.steering.reports import HeldOut
from streamdocs.steering.rewards import Dealt, Lost, Rewards

log = logging.getLogger(__name__)

#: Windows after which a report that was not there is not looked for any more.
LATEST = 64
#: Windows with reports after which an arm of which none says anything is told.
_HEARD = 4


class Decider:
    """Decides how the windows of a run are dealt.

    Args:
        controller: By which rule.
        arms: What it moves shares between.
        window: Sequences a window.
        seed: Of what it draws.
    """

    def __init__(self, controller: Controller, arms: Arms, window: int, seed: int) -> None:
        controller.check(arms)
        self._controller = controller
        self._arms = arms
        self._window = window
        self._seed = seed
        self._learner = controller if isinstance(controller, Learner) else None
        self._rewards = Rewards(self._learner.reward, window) if self._learner else None

    @property
    def lag(self) -> int | None:
        """Windows between the last whose reports a decision may know and the one that it is for; None for none."""
        return self._learner.lag if self._learner else None

    @property
    def reward(self) -> Reward:
        """By which reports are judged; those of a run whose controller goes by none, as by default."""
        return self._learner.reward if self._learner else "auto"

    def decide(
        self,
        window: int,
        sequences: int,
        last: Decision | None,
        lost: Sequence[Lost] = (),
        held_out: Sequence[HeldOut] = (),
        dealt: Dealt | None = None,
    ) -> Decision:
        """The decision on a window.

        Args:
            window, sequences: Which, and how many synthetic sequences it has.
            last: The decision on the window before; None for the first.
            lost, held_out: What was reported since.
            dealt: What was read of the arms until then; of no use without these.
        """
        arms, learner = self._arms, self._learner
        none = (0,) * len(arms.names)
        state = last.state if last else {}
        rewarded = dict(state.get("rewards", {}))
        seen: list[Seen] = []
        if self._rewards and dealt:
            rewarded, seen = self._rewards.seen(rewarded, lost, held_out, dealt)
        step, silent = self.step(window, state.get("controller", {}), seen, last.silent if last else -1)
        if learner and silent == learner.patience:
            log.warning("window %d: %s: its shares are those that the run began with", window, step.why)
        parts = in_parts(step.shares)
        counts, owed = deal(sequences, parts, last.owed if last else none)
        heard = last.taken if last else ()
        taken = [*heard, *(each.window for each in lost)]
        if len(heard) < _HEARD <= len(taken):
            self._tell_unknown(window, len(taken), rewarded)
        return Decision(
            window=window,
            shares=parts,
            counts=counts,
            before=last.after if last else none,
            owed=owed,
            why=step.why,
            lost=tuple(lost),
            held_out=tuple(held_out),
            taken=tuple(each for each in taken if each >= window - LATEST - 1 - (self.lag or 0)),
            evaluated=held_out[-1].position if held_out else (last.evaluated if last else -1),
            silent=silent,
            state={"controller": dict(step.state), "rewards": rewarded},
        )

    def _tell_unknown(self, window: int, heard: int, rewarded: State) -> None:
        """Warn of arms of which nothing was reported in so many windows, where each is judged by its own loss."""
        unknown = [name for name, losses in zip(self._arms.names, rewarded["losses"], strict=True) if not losses]
        if unknown and rewarded["by"] != "held_out":
            log.warning(
                "window %d: in %d windows nothing was reported of %s's own text, and its rewards stay unknown: report "
                "every batch, or every so many that all streams come up; web text in its place does not count",
                *(window, heard, ", ".join(unknown)),
            )

    def step(self, window: int, state: State, seen: Sequence[Seen], silent: int) -> tuple[Step, int]:
        """What the controller makes of what was seen, and for how many windows in a row nothing was.

        Args:
            window: Which is decided on.
            state: What the controller remembers.
            seen: What is new.
            silent: Windows in a row, before this one, for which nothing was.
        """
        silent = 0 if self._learner and self._learner.hears(seen) else silent + 1
        draw = int(seeded_numbers(np.array([window]), self._seed, "arms")[0] >> np.uint64(11)) / (1 << 53)
        step = self._controller.decide(state, seen, self._arms, window * self._window, draw)
        if self._learner and silent >= self._learner.patience:
            step = step._replace(shares=self._arms.shares, why=f"nothing was reported for {silent} windows")
        return step, silent

    def expected(self, state: State, silent: int, shares: Floats) -> Floats:
        """float64 (arms,): what shares were to be before anything was drawn; those that the run began with are not.

        Args:
            state, silent: What the controller remembered after they were decided, and as of ``step``.
            shares: float64 (arms,), those that were.
        """
        if self._learner and silent >= self._learner.patience:
            return shares
        return self._controller.expected(state, shares)
