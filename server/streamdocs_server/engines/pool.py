"""One engine out of one or several servers: balanced by load, and none of them has to be there all the time.

Every server is *in* or *out*. A failure puts it out; it is taken back when it says again that it serves the same model,
after a pause that doubles with every failure in a row. Meanwhile its requests go to the others, or wait.
"""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from operator import methodcaller
from typing import TypeVar

from anyio import CapacityLimiter

from streamdocs.errors import EngineError, StreamdocsError
from streamdocs.recipes import Request
from streamdocs_server.engines.base import Answer, RequestRefusedError, TryAgainError
from streamdocs_server.engines.fit import fit
from streamdocs_server.engines.member import Budget, Member
from streamdocs_server.engines.openai import OpenAIEndpoint

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Between two looks at a server that tells its load, and at one that does not.
_LOOK_SECONDS = 1.0
_RARE_LOOK_SECONDS = 10.0
#: Between two lines about what is waited for.
_TELL_SECONDS = 30.0
#: For a server that failed to say who it is, before an answer of it that came later is asked for anew.
_CONFIRM_SECONDS = 60.0
#: A request that failed so often while others were answered is the reason itself. Not where servers were overloaded,
#: unless it was never its turn for so long.
_MOST_SENDS = 10
_MOST_SECONDS = 3600.0
#: The server that this task asked last: requests of one document share a prefix, which it has in its cache. Worth to
#: a request as much as so large a share of the server's limit.
_LAST: ContextVar[Member | None] = ContextVar("last", default=None)
_LOYALTY = 0.25
#: More than any chat template takes.
_TEMPLATE_TOKENS = 256
_HARMLESS = "The river rises in the mountains. It flows past the old town and into the sea."


class Pool:
    """An engine over ``endpoints``, which all serve the same model; one that does not is left out for good.

    - ``slots``: documents that may be asked for at once. Its total follows what the servers that are in take together,
      and never exceeds what it was at first.
    - ``failure_budget``: failures in a row, of all servers together and without an answer in between, before they are
      given up; also how many documents in a row may be refused.
    - ``context``: most tokens of prompt and generation together, where servers do not say or should be given less.
    - ``sleep`` is for tests.
    """

    def __init__(
        self,
        endpoints: Sequence[OpenAIEndpoint],
        *,
        slots: CapacityLimiter,
        failure_budget: int = 30,
        context: int | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.members = [Member(endpoint) for endpoint in endpoints]
        #: Requests that were sent again, by cause.
        self.retries: Counter[str] = Counter()
        self._slots = slots
        self._ceiling = slots.total_tokens
        self._budget = Budget(failure_budget)
        self._context = context
        self._sleep = sleep
        self._served: tuple[str, str] | None = None
        self._refusals = 0
        self._answered_shapes: set[tuple[int, int]] = set()
        self._given_up: StreamdocsError | None = None
        self._changed = asyncio.Event()
        self._tending: list[asyncio.Task[None]] = []

    async def model(self) -> tuple[str, str]:
        """Name and revision of the served model, once one server is there; waits as long as the budget lasts.

        Raises :class:`~streamdocs.errors.EngineError` if none is, or not with the configured model.
        """
        if not self._tending:
            self._tending = [asyncio.create_task(self._tend(member)) for member in self.members]
        telling = asyncio.create_task(self._tell_what_is_waited_for())
        try:
            await self._member()
        finally:
            telling.cancel()
        assert self._served is not None
        return self._served

    @property
    def waits_for(self) -> str:
        """The servers and why each of them is out; "" where one is in."""
        if any(member.up for member in self.members):
            return ""
        return "; ".join(member.last_error or member.endpoint.url for member in self.members)

    async def fit(self, request: Request) -> Request:
        """The request, cut to the shortest context of the servers; as it is where none is known."""
        contexts = [member.endpoint.context for member in self.members] + [self._context]
        context = min((each for each in contexts if each), default=None)
        if context is None:
            return request
        room = context - request.max_tokens
        # A token has at least a byte, so that most documents need no counting.
        if self.members[0].endpoint.size(request) + _TEMPLATE_TOKENS <= room:
            return request
        return await fit(request, room, self._count)

    async def generate(self, request: Request, seed: int) -> Answer:
        """Exactly ``request.n`` completions, asking again for those that a server left out.

        Raises :class:`~streamdocs_server.engines.base.RequestRefusedError` for a request that is refused, or fails
        again and again, while others are answered.
        """
        answer = Answer((), 0)
        # Every answer has at least one completion, so that even a server that ignores `n` is asked at most n times.
        while missing := max(0, request.n - len(answer.completions)):
            # Asking again with the same seed would give the same text.
            ask = methodcaller("ask", request, missing, seed + len(answer.completions))
            try:
                answer += await self._retried(ask)
            except RequestRefusedError as error:
                await self._blame(request, error)
                raise
            self._refusals = 0
            self._answered_shapes.add((request.n, request.max_tokens))
        return replace(answer, completions=answer.completions[: request.n])

    async def close(self) -> None:
        """Close the connections, and stop the servers that were started here."""
        self._give_up(EngineError("the engine was closed"))
        for task in self._tending:
            task.cancel()
        await asyncio.gather(*self._tending, return_exceptions=True)
        for member in self.members:
            await member.endpoint.close()

    async def _count(self, request: Request) -> int:
        counted = await self._retried(lambda endpoint: endpoint.count(request))
        # Where nobody counts: half the bytes are more than the tokens of nearly any text.
        return counted or self.members[0].endpoint.size(request) // 2 + _TEMPLATE_TOKENS

    async def _retried(self, ask: Callable[[OpenAIEndpoint], Awaitable[_T]]) -> _T:
        """The first answer. A server that fails is out, and the request goes to another one or waits."""
        answers, sends, turned_away = self._budget.answers, 0, math.inf
        while True:
            member = await self._member()
            _LAST.set(member)
            began = time.monotonic()
            try:
                answer = await member.ask(ask(member.endpoint))
            except TryAgainError as error:
                if error.cause == "overloaded":
                    if turned_away == math.inf:
                        answers, turned_away = self._budget.answers, began
                else:
                    sends += 1
                self.retries[error.cause] += 1
                # What else was in flight when a server failed fails with it: that is one failure.
                if member.up and member.since <= began:
                    self._failed(member, error)
                if self._budget.answers > answers and (sends >= _MOST_SENDS or began - turned_away > _MOST_SECONDS):
                    raise RequestRefusedError(f"Failed again and again while others were answered: {error}") from error
                continue
            finally:
                if member.up:
                    self._note_change()  # it has room for another
            if not await self._confirmed(member):
                continue
            if answer is not None:  # a server that does not count tokens has not answered
                self._budget.answered()
                member.answered()
                self._set_slots()
            return answer

    async def _confirmed(self, member: Member) -> bool:
        """Whether who answered is still who it was. One that failed meanwhile may have been replaced by another."""
        deadline = time.monotonic() + _CONFIRM_SECONDS
        while not (member.up or member.refused or self._given_up) and time.monotonic() < deadline:
            await _wait(self._changed, deadline - time.monotonic())
        return member.up

    async def _member(self) -> Member:
        """The least busy server that is in and has room. Waits for one, which ends when the budget does."""
        last = _LAST.get()
        while self._given_up is None:
            # Also for what is sent again: a server that was overloaded should not get all of it at once.
            if free := [member for member in self.members if member.up and member.busy < 1]:
                return min(free, key=lambda member: member.busy - _LOYALTY * (member is last))
            await self._changed.wait()
        raise EngineError(str(self._given_up)) from self._given_up

    async def _blame(self, request: Request, error: RequestRefusedError) -> None:
        """Return if it is the document that was refused.

        Raises :class:`~streamdocs.errors.EngineError` if it is not, or if too many are in a row.
        """
        self._refusals += 1
        if self._refusals >= self._budget.most:
            raise EngineError(f"{self._refusals} documents in a row were refused, the last one so: {error}") from error
        if (request.n, request.max_tokens) in self._answered_shapes:
            return
        harmless = replace(request, fields=dict.fromkeys(request.fields, _HARMLESS))
        try:
            await self._retried(lambda endpoint: endpoint.ask(harmless, request.n, 0))
        except RequestRefusedError:
            raise EngineError(
                f"Two short sentences are refused like any document: {error}. generator.fields renames fields of the "
                "request or leaves them out (as `seed: null`), and extra_body adds to them."
            ) from error

    async def _tend(self, member: Member) -> None:
        """Take a server in, look after it while it is in, and take it back after every failure."""
        try:
            while self._given_up is None:
                await self._sleep(member.pause)
                try:
                    await self._identify(member)
                    member.take_in()
                    self._set_slots()
                    self._note_change()
                    await self._look_after(member)
                except TryAgainError as error:
                    self._failed(member, error)
        except StreamdocsError as error:
            member.up, member.refused, member.last_error = False, error, str(error)
            log.error("%s is left out: %s", member.endpoint.url, error)
            self._note_change()
            if all(each.refused for each in self.members):
                self._give_up(error)
        except Exception as error:  # a bug; those who wait for this server should not do so for ever
            self._give_up(EngineError(f"{member.endpoint.url}: {error!r}"))
            raise

    async def _tell_what_is_waited_for(self) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            log.info("waits for a server, %.0f s by now: %s", time.monotonic() - began, self.waits_for)

    async def _look_after(self, member: Member) -> None:
        while member.up and self._given_up is None:
            member.adapt(await member.endpoint.load())
            self._set_slots()
            await _wait(member.out, _LOOK_SECONDS if member.load else _RARE_LOOK_SECONDS)
            if member.up:
                await self._identify(member)

    async def _identify(self, member: Member) -> None:
        served = await member.endpoint.identify()
        self._served = self._served or served
        if served != self._served:
            raise EngineError(
                f"{member.endpoint.url} serves {_name(served)}, and this run began with {_name(self._served)}. Start a "
                "server with that one again, or begin a new run."
            )

    def _failed(self, member: Member, error: TryAgainError) -> None:
        member.put_out(error)
        self._set_slots()
        self._answered_shapes.clear()  # what comes back may be configured otherwise
        if too_many := self._budget.spend(member, error):
            self._give_up(too_many)

    def _give_up(self, error: StreamdocsError) -> None:
        self._given_up = self._given_up or error
        self._note_change()

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _set_slots(self) -> None:
        for member in self.members:
            member.limit = min(member.limit, self._ceiling)
        taken = sum(member.limit for member in self.members if member.up)
        self._slots.total_tokens = max(1, min(self._ceiling, int(taken)))


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but not for long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _name(served: tuple[str, str]) -> str:
    return " version ".join(repr(each) for each in served if each)
