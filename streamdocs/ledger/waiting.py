"""Waiting for generations: what for, how long already, how far that is, and until when."""

import logging
import time

import msgpack
from pydantic import TypeAdapter

from streamdocs._base.arrays import Count
from streamdocs._base.reports import Reports
from streamdocs._base.untrusted import unpack
from streamdocs.errors import WaitTimeoutError
from streamdocs.generations.heartbeat import Listener, other_scopes
from streamdocs.store import Store
from streamdocs.streams import GenerationScope

log = logging.getLogger(__name__)

#: Seconds without a sign of life after which no generator is taken to be running.
HEARTBEAT_TIMEOUT = 60.0

_POLL_SECONDS = (0.02, 1.0)  # first and longest pause between two looks at the store
_COUNT = TypeAdapter(Count)


class Wait:
    """One wait for generations, which a window needs to be sealed.

    Args:
        store, scope, ledger_id: Where, of what, and of which run.
        window: The window.
        timeout: Seconds without any progress after which it fails.
    """

    def __init__(self, store: Store, scope: GenerationScope, ledger_id: bytes, window: int, timeout: float) -> None:
        self._store = store
        self._scope = scope
        self._note = _prefix(scope) + ledger_id
        self._what = f"window {window} waits for generations in store {store.location}"
        self._timeout = timeout
        self._started = self._progressed = time.monotonic()
        self._pause = 0.0
        self._watermark = self._noted = -1
        self._reports = Reports()
        self._servers = Listener(store, scope)

    @property
    def seconds(self) -> float:
        """How long it took so far; 0 where what was wanted was there at the first look."""
        return time.monotonic() - self._started if self._pause else 0.0

    def go_on(self, missing: str, watermark: int) -> None:
        """Pause before the next look.

        Args:
            missing: What that will look for.
            watermark: Items resolved at the last look.

        Raises:
            WaitTimeoutError: It is in vain: nothing came in time, nobody is there to write it, or all is written.
        """
        now = time.monotonic()
        if watermark > self._watermark:
            self._watermark, self._progressed = watermark, now
        self._check(missing, now - self._progressed)
        waited = now - self._started
        if self._pause == _POLL_SECONDS[1] and watermark != self._noted:
            # A server that has written what it takes to be enough learns that it is not.
            self._store.update_soon(self._note, lambda _: msgpack.packb(watermark))
            self._noted = watermark
        if self._reports.due(waited):
            log.warning("%s, for %.0f s now: %s", self._what, waited, missing)
        self._pause = min(2 * self._pause, _POLL_SECONDS[1]) or _POLL_SECONDS[0]
        time.sleep(self._pause)

    def _check(self, missing: str, silent: float) -> None:
        """Whether to go on, so long after the last sign of progress."""
        if self._watermark == self._scope.generation_order.total_items:
            raise WaitTimeoutError(
                f"{self._what} in vain: all rounds are done, and none of their generations was accepted. "
                "`streamdocs inspect RUN_YAML` names the causes"
            )
        if silent > self._timeout:
            raise WaitTimeoutError(
                f"{self._what} ({missing}): none came in {silent:.0f} s; see the server's log, or raise wait_timeout"
            )
        if min(silent, self._servers.silent_seconds()) > HEARTBEAT_TIMEOUT:
            others = other_scopes(self._store, self._scope)
            raise WaitTimeoutError(
                f"{self._what} ({missing}) and no generator of this corpus, recipe and seed is running: start "
                "`streamdocs-server` with the same run file"
                + "".join(f". What another one wrote there is for another run ({other})" for other in others)
            )


def wanted_beyond(store: Store, scope: GenerationScope) -> int:
    """The most items that were resolved when some trainer went on waiting; -1 for none."""
    found = [-1]
    with store.read() as snapshot:
        for _, note in snapshot.scan("notes", _prefix(scope)):
            try:
                found.append(_COUNT.validate_python(unpack(note)))
            except ValueError:
                log.warning("what a trainer waits for cannot be read; it will say so again")
    return max(found)


def _prefix(scope: GenerationScope) -> bytes:
    return b"waits/" + scope.id
