"""Decisions in a store: each is made once, when its window is opened, and then is everybody's."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count, takewhile
from typing import Any

import numpy as np

from streamdocs.errors import StoreError
from streamdocs.schedule.mixture import Mixture
from streamdocs.steering.controllers import Controller
from streamdocs.steering.controllers.base import Floats, Reward
from streamdocs.steering.decider import LATEST, Decider
from streamdocs.steering.decision import PARTS, Decision
from streamdocs.steering.reports import Losses, Reports
from streamdocs.steering.rewards import Lost
from streamdocs.steering.sealed import Consult, SealedRows, arms_of, lost_in, nothing_sealed, synthetic_in
from streamdocs.store import Store

_MOST_KNOWN = 64
#: A decision is looked up far more often than it is made.
_unpacked = lru_cache(maxsize=4)(Decision.unpack)


class Decisions:
    """The decisions of a run, which deal its synthetic sequences to their streams.

    Args:
        controller: Who decides.
        mixture: Of the run; it is dealt by these from now on.
    """

    def __init__(self, controller: Controller, mixture: Mixture) -> None:
        self.streams, self.arms = arms_of(mixture)
        self._decider = Decider(controller, self.arms, mixture.window, mixture.seed)
        self._mixture = mixture
        self._store: Store | None = None
        self._run = b""
        self._known: dict[int, Decision] = {}
        self._packed: tuple[Decision, bytes] | None = None
        self._consult: Consult = nothing_sealed
        mixture.steer(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_consult": nothing_sealed}  # which holds open stores

    def consult(self, sealed: Consult) -> None:
        """From now on, know what is sealed of windows: which of their sequences are web text, and lost decisions."""
        self._consult = sealed

    def sealed_rows(self, window: int) -> Sequence[SealedRows]:
        """What is known to be sealed of a window."""
        return self._consult(window)

    def attach(self, store: Store, run: bytes) -> None:
        """From now on, take decisions from a store, and make them there, for the run of this id."""
        if (self._store, self._run) != (store, run):
            self._store, self._run, self._known = store, run, {}

    @property
    def lag(self) -> int | None:
        """Windows between the last whose reports a decision may know and the one that it is for; None for none."""
        return self._decider.lag

    @property
    def reward(self) -> Reward:
        """By which reports are judged."""
        return self._decider.reward

    @property
    def reports(self) -> Reports:
        """What training reported."""
        return Reports(self._the_store, self._run, self._mixture.window, self._mixture.max_seq_len)

    def of(self, window: int) -> Decision:
        """The decision on a window.

        Raises:
            StoreError: There is none yet, or it is damaged.
        """
        if window not in self._known:
            if (found := self._found(window)) is None:
                raise StoreError(
                    f"window {window} was not decided on in store {self._the_store.location}: restore the store, or "
                    "import an exported ledger of the run"
                )
            self._known = {**dict(list(self._known.items())[-_MOST_KNOWN:]), window: found}
        return self._known[window]

    def make(self, window: int) -> Decision:
        """The decision on a window; it, and those before it, are made now where they are not yet.

        Raises:
            StoreError: It is damaged.
        """
        if window in self._known or self._found(window):
            return self.of(window)
        first = window
        while first and self._found(first - 1) is None:
            first -= 1
        if self.sealed(window + 1):  # they are made in order
            raise self._unreadable(window, LookupError("it is missing"))
        last = self.of(first - 1) if first else None
        for number in range(first, window + 1):
            try:
                decision = self._decided(number, last)
            except (LookupError, TypeError, ValueError) as error:  # it is not what any controller remembers
                raise self._unreadable(number - 1, error) from error
            last = self.adopt(decision)
        return self.of(window)

    def packed(self, window: int) -> bytes:
        """As ``make``, packed."""
        decision = self.make(window)
        if self._packed is None or self._packed[0] is not decision:
            self._packed = decision, decision.pack()
        return self._packed[1]

    def _found(self, window: int) -> Decision | None:
        """The decision on a window; one that was lost is in what was sealed by it. None where there is none yet."""
        try:
            found, problem = self.sealed(window), ""
        except StoreError as error:
            found, problem = None, str(error)
        if found is None and (copies := [each.decision for each in self._consult(window) if each.decision]):
            found = self.adopt(Decision.unpack(copies[0]))
        if found is None and problem:
            raise StoreError(problem)
        return found

    def assume(self, decisions: Sequence[Decision]) -> None:
        """Take those of the first windows to be made, which may not be, until ``forget``.

        Raises:
            ValueError: They cannot be this run's.
        """
        for window, decision in enumerate(decisions):
            before = decisions[window - 1].after if window else (0,) * len(self.arms.names)
            if (decision.window, decision.before) != (window, before) or sum(decision.counts) != self._sequences(
                window
            ):
                raise ValueError(f"the decision on window {window} cannot be one of this run")
        self._known = {decision.window: decision for decision in decisions}

    def forget(self) -> None:
        """Look them up anew."""
        self._known = {}

    def counts(self, window: int) -> tuple[int, ...]:
        """Sequences of each arm in a window."""
        return self.of(window).counts

    def before(self, window: int) -> tuple[int, ...]:
        """Sequences of each arm before a window."""
        return self.of(window).before

    def read(self, position: int) -> Floats:
        """float64 (arms,): sequences of each arm among the first so many of the run."""
        return np.array([self._mixture.before(stream, position) for stream in self.streams], np.float64)

    def due(self, start: int, stop: int) -> Floats:
        """float64 (arms,): sequences that each was to have between two positions, as likely as it was to be drawn."""
        size, before, due = self._mixture.window, self._mixture.synthetic_before, np.zeros(len(self.streams))
        for window in range(start // size, -(-stop // size)):
            sequences = before(min((window + 1) * size, stop)) - before(max(window * size, start))
            made = self.of(window)
            shares = np.array(made.shares) / PARTS
            due += sequences * self._decider.expected(made.state["controller"], made.silent, shares)
        return due

    def sealed(self, window: int) -> Decision | None:
        """The decision on a window; None where there is none yet.

        Raises:
            StoreError: It is damaged.
        """
        with self._the_store.read() as snapshot:
            if (found := snapshot.get("windows", self._key(window))) is None:
                return None
            packed = bytes(found)
        try:
            decision = _unpacked(packed)
            if decision.window != window or len(decision.shares) != len(self.arms.names):
                raise ValueError("it is another one")
        except ValueError as error:
            raise self._unreadable(window, error) from error
        return decision

    def adopt(self, decision: Decision) -> Decision:
        """Take a decision from elsewhere, unless there is one that can be read: the one that there is."""
        packed = decision.pack()
        entry = {self._key(decision.window): packed}
        try:
            self.sealed(decision.window)
        except StoreError:
            self._the_store.replace({"windows": entry})
        self._the_store.add("windows", entry)
        found = self.sealed(decision.window)
        if found is None:
            raise StoreError(f"the decision on window {decision.window} vanished while it was read")
        if found is _unpacked(packed):
            self._packed = found, packed
        return found

    def evaluated(self) -> int:
        """Position of the last evaluation that any decision took; -1 for none.

        Raises:
            StoreError: A decision is damaged.
        """
        least = 1
        while self.sealed(least):
            least *= 2
        windows = bisect_left(range(least), True, key=lambda window: self.sealed(window) is None)
        return self.of(windows - 1).evaluated if windows else -1

    def made(self) -> Iterator[Decision]:
        """Those that were made, from the first window on.

        Raises:
            StoreError: One is damaged.
        """
        return takewhile(bool, map(self.sealed, count()))  # type: ignore[arg-type]

    def _decided(self, window: int, last: Decision | None) -> Decision:
        """What is to be decided on a window, by what was reported until now."""
        size = self._mixture.window
        position, sequences = window * size, self._sequences(window)
        if (lag := self._decider.lag) is None:
            return self._decider.decide(window, sequences, last)
        newest, reports = window - 1 - lag, self.reports
        taken = last.taken if last else ()
        missing = (each for each in range(max(newest - LATEST, 0), newest + 1) if each not in taken)
        lost = [found for each in missing if (found := self._lost(each, reports.losses(each)))]
        held_out = reports.held_out(last.evaluated if last else -1, position)
        return self._decider.decide(window, sequences, last, lost, held_out, self)

    def _sequences(self, window: int) -> int:
        """Synthetic sequences of a window."""
        return synthetic_in(self._mixture, window)

    def _lost(self, window: int, losses: Losses | None) -> Lost | None:
        """What was lost in a window, by arm; None where nothing is known."""
        return None if losses is None else lost_in(self._mixture, window, losses, self._consult(window))

    def _unreadable(self, window: int, error: Exception) -> StoreError:
        return StoreError(
            f"the decision on window {window} in store {self._the_store.location} cannot be read ({error}): restore "
            "the store, or import an exported ledger of the run"
        )

    @property
    def _the_store(self) -> Store:
        if self._store is None:
            raise StoreError("decisions are in a store, and none was attached")
        return self._store

    def _key(self, window: int) -> bytes:
        return b"decision/" + self._run + window.to_bytes(8, "big")
