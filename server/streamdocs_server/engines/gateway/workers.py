"""The servers behind SGLang's model gateway, each asked by itself for what the gateway does not pass on."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import BaseModel, Field

from streamdocs._base.serving.door import is_loopback
from streamdocs.errors import ConfigError, EngineError
from streamdocs.recipes import Request
from streamdocs_server._base.network import parse_url
from streamdocs_server.engines.openai import Load
from streamdocs_server.engines.sglang import SGLangEndpoint

_T = TypeVar("_T")

#: For one question to one server, and how many are asked at once.
_ASK_SECONDS = 5.0
_AT_ONCE = 32


class _Worker(BaseModel):
    url: str = Field(max_length=2048)
    is_healthy: bool = True


class Listed(BaseModel):
    """What a gateway says of its servers."""

    workers: list[_Worker] = Field(max_length=4096)

    @property
    def healthy(self) -> list[str]:
        """The URLs of those that it gives something to; without the rank that it may add to one."""
        return [*dict.fromkeys(each.url.partition("@")[0].rstrip("/") for each in self.workers if each.is_healthy)]


class Workers:
    """The servers of one gateway, of those that it lists now.

    They get no API key: it is the gateway's, and the gateway says where they are.

    - ``gateway``: its URL.
    - ``make``: an endpoint of a URL. Raises :class:`~streamdocs.errors.ConfigError` for one that is none.
    """

    def __init__(self, gateway: str, make: Callable[[str], SGLangEndpoint]) -> None:
        self._here = is_loopback(parse_url(gateway).host or "")
        self._make = make
        self._known: dict[str, SGLangEndpoint] = {}
        #: Why those are not asked that are listed and cannot be asked, by their URLs.
        self.untold: dict[str, str] = {}
        #: Whether any ever answered.
        self.reached = False

    async def look(self, healthy: list[str]) -> dict[str, tuple[str, str]]:
        """Name and version of what each serves, of those that answer now, by their URLs."""
        for url in self._known.keys() - set(healthy):
            await self._known.pop(url).close()
        self.untold = {url: told for url, told in self.untold.items() if url in healthy}
        for url in healthy:
            if url not in self._known and self._is_for_us(url):
                with contextlib.suppress(ConfigError):
                    self._known[url] = self._make(url)
            if url not in self._known:
                self.untold[url] = "is no address that can be asked from here"
        told = await self._all(lambda each: each.weights())
        self.reached = self.reached or bool(told)
        return told

    async def load(self) -> Load | None:
        """That of all which say; None where none does."""
        loads = [*(await self._all(lambda each: each.load())).values()]
        if not loads:
            return None
        return Load(
            sum(each.running for each in loads),
            sum(each.waiting for each in loads),
            sum(each.used_tokens for each in loads),
            max(each.cache_usage for each in loads),
        )

    async def count(self, request: Request) -> int | None:
        """Tokens of a prompt, by the first that says; None where none does."""
        for each in [*self._known.values()]:
            if (counted := await self._ask(each, each.count(request))) is not None:
                return counted
        return None

    @property
    def context(self) -> int | None:
        """The shortest of theirs; None where none is known."""
        return min((each.context for each in self._known.values() if each.context), default=None)

    async def close(self) -> None:
        """Close the connections."""
        for each in self._known.values():
            await each.close()

    def _is_for_us(self, url: str) -> bool:
        """Whether it may be asked: this machine's own addresses are another's where the gateway is on another."""
        try:
            host = parse_url(url).host or ""
        except ValueError:
            return False
        return self._here or not is_loopback(host)

    async def _all(self, ask: Callable[[SGLangEndpoint], Awaitable[_T | None]]) -> dict[str, _T]:
        """Their answers, of those that have one."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def in_turn(each: SGLangEndpoint) -> _T | None:
            async with turns:
                return await self._ask(each, ask(each))

        known = dict(self._known)
        answers = await asyncio.gather(*map(in_turn, known.values()))
        return {url: told for url, told in zip(known, answers, strict=True) if told is not None}

    async def _ask(self, each: SGLangEndpoint, question: Awaitable[_T]) -> _T | None:
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                answer = await question
        except TimeoutError:
            self.untold[each.url] = f"does not answer within {_ASK_SECONDS:g} s"
        except EngineError as error:
            self.untold[each.url] = str(error)
        else:
            self.untold.pop(each.url, None)
            return answer
        return None
