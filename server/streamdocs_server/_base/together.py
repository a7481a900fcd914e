"""What many tasks want done, done together: as much at once as came while the last of it was being done."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Together(Generic[_Item, _Result]):
    """Has ``work`` done in a thread, beside the event loop, and never twice at once.

    Args:
        work: Takes what was given, one or more, and returns as many results, in that order.
    """

    def __init__(self, work: Callable[[list[_Item]], Sequence[_Result]]) -> None:
        self._work = work
        self._waiting: list[tuple[_Item, asyncio.Future[_Result]]] = []
        self._working: asyncio.Task[None] | None = None

    def give(self, item: _Item) -> "asyncio.Future[_Result]":
        """The result for one item, or what ``work`` raises, to be waited for; it is done also where nobody does."""
        done: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._go_on())
        return done

    async def do(self, item: _Item) -> _Result:
        """The result for one item."""
        return await self.give(item)

    async def flush(self) -> None:
        """Wait until all that was given is done, also what nobody waits for any more."""
        if self._working is not None:
            await self._working

    async def _go_on(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                results = await asyncio.to_thread(self._work, [item for item, _ in group])
            except Exception as error:
                for _, done in group:
                    if not done.done():
                        done.set_exception(error)
                continue
            for (_, done), result in zip(group, results, strict=True):
                if not done.done():
                    done.set_result(result)
