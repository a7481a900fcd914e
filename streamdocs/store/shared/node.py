"""What a process does with the replica of its node: it appends to the log, and follows it."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from streamdocs.errors import StoreError
from streamdocs.store.objects.reliable import ReliableObjects
from streamdocs.store.shared.appender import Appender, Ticket, adding
from streamdocs.store.shared.bundles import Bundles
from streamdocs.store.shared.cache import Cache
from streamdocs.store.shared.follower import follow
from streamdocs.store.shared.journal import Journal
from streamdocs.store.shared.log import Log, Replay, held
from streamdocs.store.shared.replica import View

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Seconds for which one look for new entries is tried.
_POLL_PATIENCE = 5.0
# With no sign of the store for longer, nobody is taken to have been heard meanwhile.
_GAP = 5.0
#: Seconds that a bundle is kept of which nothing is left, by whoever let go of it; others take a day's time.
GRACE, _GRACE_OF_OTHERS = 900.0, 86_400.0
_SWEEP_SECONDS = 60.0
# Seconds that the end of a process waits for what it was to write some time.
_LAST_SECONDS = 10.0

#: Those with something to write some time: they stay until it was, also where nobody has them any more.
_owing: set["Node"] = set()


class Node:
    """One process's part of a node.

    Args:
        objects: The shared store.
        cache: Folder of the node.
        cache_bytes: What the replica may take; None for any.
        name: Of this process.
        seen: How far the log was seen already.
    """

    def __init__(self, objects: ReliableObjects, cache: str, cache_bytes: int | None, name: str, seen: int) -> None:
        self.process = os.getpid()
        self._seen_before = seen
        self._objects = objects
        self._cache = Cache(cache)
        self._cache_bytes = cache_bytes
        self._name = name
        self._log = Log(objects)
        self._polled = self._log.within(_POLL_PATIENCE)
        self.journal = Journal(self._cache.journal)
        self._queue: list[Ticket[Any]] = []
        self._turn, self._queueing = threading.Lock(), threading.Lock()
        #: What is to be written of processes that are gone, and where it lies until it was.
        self._left: list[tuple[Ticket[int], Path]] = []
        self._connected, self._heard = 0.0, time.monotonic()
        self._swept = time.monotonic()
        #: Why nothing is to be written.
        self._gone: StoreError | None = None

    def open(self, *, known: bool) -> None:
        """Make the replica one of this store, as far as it was seen, and follow the log from then on.

        Args:
            known: Whether the store was looked at already, by this process or the one that it was forked from.
        """
        known = (known and self._cache.is_known) or self._cache.identify(self._objects)
        self.replica = self._cache.open_replica()
        self.bundles = Bundles(self._objects, self.replica, self._cache_bytes)
        self._replay = Replay(self._objects, self._log, self.replica, self._cache, self._seen_before)
        self._appender = Appender(self._objects, self._log, self._name, self._replay)
        if not self.replica.store.is_read_only:
            if known and (not self._cache.is_followed or self.replica.head() < max(self.seen, 1)):
                self.catch_up()
            self._send_what_was_left(now=known)
        if self.replica.head() < self.seen:
            raise StoreError(
                f"store {self._objects.location} cannot be reached, and the cache lacks what was seen of it: start "
                "this again when it can be"
            )
        follow(self)

    def commit(self, change: Callable[[View], _T], *, pause: float = 0.0) -> _T:
        """Change the store by what ``change`` notes in a view, which is called again where somebody was faster.

        Args:
            change: What it returns is returned.
            pause: Seconds since this process's last change before the next, more where there are many writers: others
                may come along meanwhile.

        Raises:
            StoreError: The store cannot be written.
        """
        ticket = Ticket(change)
        self._enqueue(ticket)
        self._appender.pace.wait(pause)
        with held(self._turn, 2 * self._objects.patience, self._objects.location):
            if not ticket.done:
                self._appender.pace.make_way()
                self._append_queue()
        if ticket.error:
            raise ticket.error
        return cast(_T, ticket.found)

    def commit_soon(self, change: Callable[[View], Any]) -> None:
        """The same some time: with the next change, when the log is next looked at, or when the process ends."""
        self._enqueue(Ticket(change, alone=True))

    def catch_up(self) -> None:
        """Replay what is new in the log."""
        self._replay.catch_up()

    @property
    def seen(self) -> int:
        """How far the log was seen."""
        return self._replay.seen

    @property
    def connected_seconds(self) -> float:
        """Seconds of which others' entries could be seen."""
        return self._connected

    def look(self) -> None:
        """What is to be done from time to time."""
        if self.replica.store.is_read_only:
            return
        if not self._cache.is_followed:
            self._replay.catch_up(self._polled)
        now = time.monotonic()
        self._connected, self._heard = self._connected + min(now - self._heard, _GAP), now
        self._append_what_waits()
        if self._appender.pace.has_appended:  # who only reads may not be let write
            self._polled.fold(self.replica.head())
        if now - self._swept > _SWEEP_SECONDS:
            self._swept = now
            self._check_and_sweep()

    def end(self) -> None:
        """Write what was to be written some time."""
        self._objects.patience = min(self._objects.patience, _LAST_SECONDS)
        with held(self._turn, _LAST_SECONDS, self._objects.location):  # another thread may be writing it just now
            if self._queue:
                self._append_queue()

    def _send_what_was_left(self, *, now: bool) -> None:
        """Send what processes that are gone did not: before all else that this one writes."""
        for path, texts in self.journal.left():
            self._left.append((self._enqueue(Ticket(adding("texts", texts))), path))
        try:
            if now and self._left:
                self.commit(lambda _: None)
        except StoreError as error:  # to read there is no need of it
            log.warning("texts in cache %s are not in the store yet: %s", self.journal, error)

    def _enqueue(self, ticket: Ticket[_T]) -> Ticket[_T]:
        with self._queueing:
            self._queue.append(ticket)
            if ticket.alone:
                _owing.add(self)
        return ticket

    def _append_what_waits(self) -> None:
        if self._queue and self._turn.acquire(blocking=False):
            try:
                self._append_queue()
            finally:
                self._turn.release()

    def _append_queue(self) -> None:
        with self._queueing:
            tickets, self._queue = self._queue, []
        broken_off: Exception | None = StoreError(f"store {self._objects.location}: writing was broken off")
        try:
            self._append(tickets)
            broken_off = None
        except Exception as error:
            broken_off = error
        finally:
            for ticket in tickets:
                ticket.error, ticket.done = ticket.error or broken_off, True
                if ticket.alone and ticket.error:
                    log.warning("not written: %s", ticket.error)
            self._clear_journal()
            with self._queueing:
                if not self._queue:
                    _owing.discard(self)

    def _clear_journal(self) -> None:
        """Remove what processes that are gone had left, and is written; try again with what is not."""
        left, self._left = self._left, []
        for ticket, path in left:
            if not ticket.done:
                self._left.append((ticket, path))
            elif ticket.error:
                self._left.append((self._enqueue(Ticket(ticket.change)), path))
            else:
                path.unlink(missing_ok=True)

    def _append(self, tickets: Sequence[Ticket[Any]]) -> None:
        if self._gone:
            raise self._gone
        if not self.replica.is_whole:  # what a hole at its beginning would take
            self.catch_up()
        for bundle, values in self._appender.append(tickets):
            self.bundles.hold(bundle.id, bundle.table, values)

    def _check_and_sweep(self) -> None:
        """Write no more where this is another store by now; delete bundles of which nothing has long been left."""
        try:
            self._cache.check(self._objects.within(_POLL_PATIENCE))
            self._gone = None
        except StoreError as error:
            self._gone = None if error.__cause__ else error  # unless it could not be asked
            raise
        if not self.bundles.sweep(GRACE if self._appender.pace.has_appended else _GRACE_OF_OTHERS, _POLL_PATIENCE):
            self._swept = -_SWEEP_SECONDS  # the next ones at the next look
