"""Appending to the log of a shared store what somebody wants changed, in turn with others."""

import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from streamdocs.errors import StoreError
from streamdocs.store.base import Table
from streamdocs.store.objects.reliable import ReliableObjects
from streamdocs.store.shared.bundles import Sending
from streamdocs.store.shared.entry import FOLD, Bundle, Entry
from streamdocs.store.shared.log import Log, Replay
from streamdocs.store.shared.replica import View

_T = TypeVar("_T")

_Values = Mapping[bytes, bytes]
_Said = Mapping[Table, Mapping[bytes, bytes | None]]

# After a conflict, a pause of up to so many seconds: whoever waited longer would lose again to who has just won.
_STEP = 0.02
# Entries that are asked for where somebody was faster.
_BEHIND = 4
# Who was too late so often asks for the next number, and others wait so many seconds, and some requests, for him.
_TOO_LATE, _TURN_SECONDS, _TURN_REQUESTS = 3, 2.0, 4
# How long who was faster gives way to others, in times of what an entry takes, at most of so many seconds.
_WAY, _LONGEST = (1.0, 4.0), 2.0
# Where there are many writers each appends less often, up to so many times, and by no common beat.
_MOST_SLOW, _SLOWER, _FASTER = 100.0, 1.5, 0.95


class Ticket(Generic[_T]):
    """A change that somebody wants, and maybe does not wait for."""

    def __init__(self, change: Callable[[View], _T], *, alone: bool = False) -> None:
        self.change = change
        self.alone = alone
        self.done = False
        self.found: _T | None = None
        self.error: Exception | None = None

    def evaluate(self, view: View) -> None:
        """Note in a view what it changes."""
        try:
            self.found = self.change(view)
        except Exception as error:
            self.error = error


def adding(table: Table, entries: Mapping[bytes, bytes]) -> Callable[[View], int]:
    """The change that writes those entries whose key is not there yet."""
    return lambda view: view.add(table, entries)


class Pace:
    """How often a process appends an entry."""

    def __init__(self) -> None:
        # When it last did, and how many times less often it is to.
        self._last, self._slow = -1.0, 1.0
        #: Seconds that an entry takes.
        self.took = 0.0

    @property
    def has_appended(self) -> bool:
        """Whether it ever did."""
        return self._last >= 0

    def wait(self, seconds: float) -> None:
        """Let so much time pass since the last entry, more where there are many writers."""
        self._sleep(seconds * self._slow * random.uniform(0.7, 1.3))

    def make_way(self) -> None:
        """Let those come who were slower than the last entry: they have to read it first, and then try."""
        self._sleep(self.took * random.uniform(*_WAY))

    def appended(self, took: float, crowded: int) -> None:
        """Note an entry: the seconds that it took, and how often others were faster who keep such a pace as well."""
        self.took = min(took, _LONGEST)  # it may have been repeated for minutes
        self._slow = min(self._slow * _SLOWER, _MOST_SLOW) if crowded > 1 else max(self._slow * _FASTER, 1.0)
        self._last = time.monotonic()

    def _sleep(self, since_last: float) -> None:
        time.sleep(max(0.0, self._last + since_last - time.monotonic()))


class Appender:
    """Appends entries to a log.

    Args:
        objects: Of the log.
        log: To append to.
        name: Of who appends.
        replay: What is new in the log, in a replica.
    """

    def __init__(self, objects: ReliableObjects, log: Log, name: str, replay: Replay) -> None:
        self._objects, self._log, self._name = objects, log, name
        self._replay, self._replica = replay, replay.replica
        self.pace = Pace()

    def append(self, tickets: Sequence[Ticket[Any]]) -> list[tuple[Bundle, _Values]]:
        """Append what tickets change, as one entry; the bundles that were sent, and what is in them.

        Raises:
            StoreError: Others were always faster, or the store does not answer.
        """
        sending, tries, crowded, asked = Sending(self._objects), 0, 0, b""
        until = time.monotonic() + self._objects.patience
        while True:
            is_turn = self._wait_for_others(asked)
            if tries < _TOO_LATE or is_turn:
                number, said, sent = self._evaluate(tickets, sending, is_turn)
                if not said and not sent:
                    return []
                entry = self._entry(said, [bundle for bundle, _ in sent])
            else:
                number, entry = self._replica.head(), self._entry({})
                asked = entry.id
            began = time.monotonic()
            there = self._append_or_replay(number, entry)
            if there and there.id == entry.id:
                if not entry.asks:
                    self.pace.appended(time.monotonic() - began, crowded)
                    return sent
                continue
            tries, crowded = tries + 1, crowded + bool(there and there.is_bulky)
            if time.monotonic() > until:
                raise StoreError(
                    f"store {self._objects.location}: others were faster {tries} times in a row. There are too many "
                    "writers for one store: docs/scaling.md"
                )
            if tries < _TOO_LATE:
                time.sleep(random.uniform(0, _STEP))

    def _evaluate(
        self, tickets: Sequence[Ticket[Any]], sending: Sending, is_turn: bool
    ) -> tuple[int, _Said, list[tuple[Bundle, _Values]]]:
        """The next number, what the log is to say, and what was sent for it."""
        is_current = False
        while True:
            left = [ticket for ticket in tickets if not ticket.error]
            with self._replica.view() as view:
                number = view.head
                for ticket in left:
                    ticket.evaluate(view)
            if any(ticket.error for ticket in left):  # nothing of what it noted counts
                continue
            if view.changes:
                return number, *sending.split(view.changes)
            if is_turn:  # others wait for an entry
                return number, {"notes": {}}, []
            if is_current:
                return number, {}, []
            self._replay.catch_up()  # it may be that others had changed what this was decided by
            is_current = True

    def _wait_for_others(self, asked: bytes) -> bool:
        """Let who asked for the next number have it, unless he takes long; whether that was asked here, by an entry."""
        until = time.monotonic() + _TURN_SECONDS + _TURN_REQUESTS * self.pace.took
        while (turn := self._replica.turn()) not in (b"", asked) and time.monotonic() < until:
            time.sleep(max(_STEP, self.pace.took) * random.uniform(0.5, 1))
            self._replay.catch_up()
        return turn == asked != b""

    def _entry(self, said: _Said, bundles: Sequence[Bundle] = ()) -> Entry:
        return Entry(secrets.token_bytes(16), time.time(), self._name, said, bundles)

    def _append_or_replay(self, number: int, entry: Entry) -> Entry | None:
        """Append an entry, or replay what has its number, and what followed; what has it, None where none is seen."""
        found, is_more = [entry], False
        if not self._log.create(number, entry):
            # In one go: whoever took long to see what followed would be too late again.
            found, is_more = self._log.read(number, _BEHIND)
        self._replay.apply(number, found)
        if is_more or not found:
            self._replay.catch_up()
        there = found[0] if found else None
        if there and there.id == entry.id and number % FOLD == FOLD - 1:
            self._log.unfolded.add(number // FOLD)
        return there
