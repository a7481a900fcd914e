"""A server of a pool: whether it is in, how much it is given at once, and what it is asked right now."""

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from streamdocs.errors import EngineError, StreamdocsError
from streamdocs_server.engines.base import RetryCause, TryAgainError
from streamdocs_server.engines.openai import Load, OpenAIEndpoint

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_FIRST_LIMIT = 16
#: Requests that may wait in a server, as a share of those that it works on: enough for it never to run dry.
_QUEUE = 0.25
#: Share of its cache that should be in use. A full one throws away what it has read and has to read it again.
_FILLED = 0.8
#: What to do about a server that fails for good, by how it failed last.
_MENDS: dict[RetryCause, str] = {
    "malformed answer": "it is reachable, but its answers cannot be used: check that the URL is that of an API like "
    "OpenAI's, for chats, and what the answers say",
    "server error": "it is reachable, and fails: see its log",
    "overloaded": "it is reachable, and turns requests away: ask for less at once (server.max_in_flight), or later",
    "timeout": "it takes too long: check that it runs, and is not overloaded; generator.timeout may be longer",
    "hang": "it answers, and gets no further: see its log",
    "other weights": "it answers with other weights than it began with: serve those again, or begin a new run",
    "connection": "check that it runs, and can be reached from here",
}
#: Before anything was answered, what a request may cost although nothing comes of it: one is sent at a time.
_PAID = ("malformed answer", "server error")
#: And so many answers that cannot be used are enough: there is nothing to wait for.
_MOST_UNUSABLE = 4
_MOST_PAUSE = 60.0
_MOST_RETRY_AFTER = 600.0


@dataclass
class Budget:
    """Failures in a row, of all servers together and without an answer in between, before they are given up.

    Args:
        most: How many.
        answers: That there were at all.
        failures: Since the last one.
    """

    most: int
    answers: int = 0
    failures: int = 0

    def answered(self) -> None:
        """Start over."""
        self.answers += 1
        self.failures = 0

    def spend(self, member: "Member", error: TryAgainError) -> EngineError | None:
        """Count a failure, and say so; what to give up with where it is one too many."""
        self.failures += 1
        most = self.most
        if not self.answers and error.cause in _PAID:
            member.limit = 1
            most = min(most, _MOST_UNUSABLE) if error.cause == "malformed answer" else most
        loud = member.failures in (1, 4) or member.failures % 10 == 0
        log.log(
            logging.WARNING if loud else logging.DEBUG,
            "%s. Out for %.1f s; failure %d of %d in a row.",
            *(error, member.pause, self.failures, most),
        )
        if self.failures < most:
            return None
        return EngineError(
            f"{error}. That was failure {self.failures} in a row, so this stops: {_MENDS[error.cause]}. What was "
            "written is kept, and the same command goes on from there."
        )


@dataclass(eq=False)
class Member:
    """A server of a pool.

    Args:
        endpoint: How to reach it.
        up: Whether it is in, and since when (monotonic seconds).
        limit: How many requests it is given at once.
        load: What it last said of its load, None where it does not say.
        failures, last_error: How many in a row, and what the last one was.
        refused: Why it is out for good, or None.
        asking: Requests in flight; those that were ``taken_back`` are cancelled because it hangs.
    """

    endpoint: OpenAIEndpoint
    up: bool = False
    since: float = 0.0
    limit: float = _FIRST_LIMIT
    load: Load | None = None
    failures: int = 0
    pause: float = 0.0
    last_error: str = ""
    refused: StreamdocsError | None = None
    asking: set["asyncio.Future[Any]"] = field(default_factory=set)
    taken_back: set["asyncio.Future[Any]"] = field(default_factory=set)
    out: asyncio.Event = field(default_factory=asyncio.Event)
    # Since the limit was last thought over: answers, how full its cache was, and its shortest queue.
    _answers: int = 0
    _fullest: float = 0.0
    _queue: float = math.inf

    @property
    def busy(self) -> float:
        """Requests in flight as a share of the limit."""
        return len(self.asking) / self.limit

    def take_in(self) -> None:
        """It is there, and serves what it should."""
        self.up, self.since = True, time.monotonic()
        self.out.clear()

    def put_out(self, error: TryAgainError) -> None:
        """It failed. The pause is drawn at random: whoever was turned away together should not come back together."""
        self.up = False
        self.failures += 1
        self.last_error = str(error)
        self.pause = random.uniform(0, min(_MOST_PAUSE, 2.0 ** (self.failures - 2)))
        self.pause = max(self.pause, min(error.retry_after, _MOST_RETRY_AFTER))
        if error.cause == "overloaded":
            self.limit = max(1.0, self.limit / 2)
        if error.cause == "hang":
            self.taken_back |= self.asking
            for question in self.asking:
                question.cancel()
        self.out.set()

    def answered(self) -> None:
        """Note that it works. Where it does not tell its load, every answer while it is busy raises the limit."""
        self.failures = 0
        self._answers += 1
        if self.load is None and self.busy > 0.5:
            self.limit += 1

    def adapt(self, load: Load | None) -> None:
        """Follow what it says of its queue and cache, once for as many answers as the limit has requests.

        Not more often, for its cache is fullest just before it answers, and what it says may be seconds old. That it
        has nothing to do says nothing.
        """
        self.load = load
        if load is None or not (load.running or load.waiting):
            return
        self._fullest = max(self._fullest, load.cache_usage)
        self._queue = min(self._queue, load.waiting / max(1, load.running))
        if self._answers < self.limit:
            return
        if self._queue > _QUEUE:
            self.limit *= max(0.5, (1 + _QUEUE) / (1 + self._queue))
        elif self._fullest > _FILLED or self.busy > 0.5:
            # Half-way (of its logarithm), for what was seen is less than the most that there was.
            self.limit *= min(2.0, math.sqrt(_FILLED / max(self._fullest, 0.01)))
        self.limit = max(1.0, self.limit)
        self._answers, self._fullest, self._queue = 0, 0.0, math.inf

    async def ask(self, question: Awaitable[_T]) -> _T:
        """The answer to a question to its endpoint; a server that is found to hang gives it back."""
        asking = asyncio.ensure_future(question)
        self.asking.add(asking)
        try:
            return await asking
        except asyncio.CancelledError:
            if asking in self.taken_back:
                raise TryAgainError("hang", f"{self.endpoint.url}: the server hangs") from None
            raise
        finally:
            self.asking.discard(asking)
            self.taken_back.discard(asking)
