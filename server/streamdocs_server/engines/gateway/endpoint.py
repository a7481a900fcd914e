"""SGLang's model gateway as one server: requests go to it, and what it does not pass on is worked out."""

import logging
from typing import Any

from streamdocs.errors import ConfigError, EngineError, some
from streamdocs.recipes import Request
from streamdocs_server.engines.base import TryAgainError
from streamdocs_server.engines.connection import NotThereError
from streamdocs_server.engines.gateway.workers import Listed, Workers
from streamdocs_server.engines.openai import Load, OpenAIEndpoint
from streamdocs_server.engines.sglang import ModelInfo, SGLangEndpoint

log = logging.getLogger(__name__)


class GatewayEndpoint(SGLangEndpoint):
    """SGLang's model gateway, or else an SGLang server: which of the two is found by asking.

    A gateway passes on neither the version of the weights, nor the load, nor tokens that are counted. Its servers are
    asked for them; what those wrote says of which version it is where they cannot be reached from here.
    """

    def __init__(self, *, transport: Any = None, **connection: Any) -> None:
        super().__init__(transport=transport, **connection)
        self._transport = transport
        self._workers = Workers(self.url, self._worker)
        self._is_gateway: bool | None = None

    async def identify(self) -> tuple[str, str]:
        """Name and weight version that all servers of a gateway agree on; of an SGLang server, its own.

        Raises :class:`~streamdocs.errors.EngineError` also where they do not.
        """
        if (listed := await self._list()) is None:
            return await super().identify()
        if not (healthy := listed.healthy):
            of = f"none of its {len(listed.workers)} servers is healthy" if listed.workers else "it has no server yet"
            raise self._http.try_again("connection", of)
        told = await self._workers.look(healthy)
        if not told and self._workers.reached:
            raise self._http.try_again("connection", f"none of its servers answers: {self._untold()}")
        if told:
            served = await self._agreed(told)
            self.context = self._workers.context
        else:
            served = await self._by_itself()
        if self._workers.untold:
            self._tell_once(
                "workers",
                f"{self.url}: not all of its servers can be asked from here: {self._untold()}. What they serve is "
                "known by their answers, and their load is not",
            )
        await self._check_alive()
        return served

    async def load(self) -> Load | None:
        """That of all servers; None where none says."""
        return await (self._workers.load() if self._is_gateway else super().load())

    async def count(self, request: Request) -> int | None:
        """By any of the servers; None where none says."""
        return await (self._workers.count(request) if self._is_gateway else super().count(request))

    async def close(self) -> None:
        """Close all connections."""
        await self._workers.close()
        await super().close()

    def _worker(self, url: str) -> SGLangEndpoint:
        if self._http.hide(url) != url:
            raise ConfigError("A server's URL holds the API key.")
        return SGLangEndpoint(url=url, timeout=self._http.timeout, transport=self._transport)

    async def _list(self) -> Listed | None:
        """The servers; None where this is no gateway, or one that does not tell."""
        if self._is_gateway is False:
            return None
        try:
            listed = await self._http.control("GET", "/workers", None, Listed)
        except EngineError as error:
            if self._is_gateway or (isinstance(error, TryAgainError) and error.cause != "malformed answer"):
                raise
            self._is_gateway = False
            return None
        if self._is_gateway is None:
            log.info("%s is a gateway of %d servers, which are asked how they are", self.url, len(listed.workers))
        self._is_gateway = True
        return listed

    async def _agreed(self, told: dict[str, tuple[str, str]]) -> tuple[str, str]:
        served = {*told.values()}
        if len(served) > 1:
            first = {each: url for url, each in reversed(told.items())}
            each = some(
                [
                    f"{url[:200]} {name[:200]!r} version {version[:200] or 'default'!r}"
                    for (name, version), url in first.items()
                ]
            )
            raise EngineError(
                self._http.hide(f"{self.url} has servers that do not serve the same: {each}. Have all serve one.")
            )
        ((name, version),) = served
        return await self._served(ModelInfo(model_path=name, weight_version=version))

    async def _by_itself(self) -> tuple[str, str]:
        """What one server says of itself through the gateway, unless answers have said something else since."""
        try:
            served = await self._served(await self._http.control("GET", "/get_model_info", None, ModelInfo))
        except NotThereError:
            served = await OpenAIEndpoint.identify(self)
        if self._other_version is None:
            return served
        self._check_name(self._other_version)
        return served[0], self._other_version

    def _untold(self) -> str:
        return self._http.hide(some([f"{url[:200]} ({why[:300]})" for url, why in self._workers.untold.items()], 4))
