"""A writer: an engine under the name that a run has for it, which is made anew after it gave up."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from anyio import CapacityLimiter

from streamdocs.errors import EngineError
from streamdocs.recipes import Request
from streamdocs_server.engines.base import Answer, Engine
from streamdocs_server.engines.pool import Pool


@dataclass(eq=False)
class Writer:
    """One who writes.

    Args:
        name: In the run; "" where there is only one.
        make: Makes its engine, and makes it anew after that gave up.
        slots: How many requests it may have at once; the engine may change it, below what it is at first.
        model: The name under which it has to be served; None for any.
    """

    name: str
    make: Callable[[], Engine]
    slots: CapacityLimiter
    model: str | None = None
    #: Why it cannot be used now; "" while it can.
    fault: str = ""
    #: When it last answered (monotonic seconds).
    answered: float = -math.inf
    #: What it has answered.
    answers: int = 0
    completion_tokens: int = 0
    _engine: Engine | None = None
    _known: bool = False
    _beginning: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def engine(self) -> Engine:
        """Its engine."""
        if self._engine is None:
            self._engine = self.make()
        return self._engine

    @property
    def pool(self) -> Pool | None:
        """Its engine, where that is one of servers."""
        return self._engine if isinstance(self._engine, Pool) else None

    @property
    def up(self) -> bool:
        """Whether it can write now."""
        return not self.fault and (self.pool is None or any(member.up for member in self.pool.members))

    @property
    def owes(self) -> int:
        """Requests that wait for it, or that it works on."""
        return int(self.slots.borrowed_tokens) + self.slots.statistics().tasks_waiting

    async def begin(self) -> tuple[str, str]:
        """Name and revision of the model that it serves.

        Raises:
            EngineError: It cannot be used, or serves another model than the run file says.
        """
        served = await self.engine.model()
        if self.model not in (None, served[0]):
            raise EngineError(f"the engine serves {served[0]}, the run file says {self.model}: change one")
        self._known = True
        return served

    async def fit(self, request: Request) -> Request:
        """Likewise."""
        await self._begun()
        return await self.engine.fit(request)

    async def _begun(self) -> None:
        async with self._beginning:
            if not self._known:
                await self.begin()

    async def generate(self, request: Request, seed: int) -> Answer:
        """As its engine does, which is begun where it is not yet."""
        await self._begun()
        answer = await self.engine.generate(request, seed)
        self.fault, self.answered = "", time.monotonic()
        self.answers += 1
        self.completion_tokens += sum(each.completion_tokens for each in answer.completions)
        return answer

    async def close(self) -> None:
        """Let go of its engine; the next use makes it anew."""
        engine, self._engine, self._known = self._engine, None, False
        if engine is not None:
            await engine.close()
