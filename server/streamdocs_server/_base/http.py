"""The way to a server: one request, and its whole answer."""

from collections.abc import Mapping
from ssl import SSLContext
from typing import NamedTuple, Protocol

from aiohttp import BaseConnector, ClientConnectionError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from streamdocs_server._base.network import Proxy, Trust

_CONNECT_SECONDS = 10.0


class Reply(NamedTuple):
    """What a server answered; ``headers`` are found by their names in any case, ``body`` is as it was sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TooLongError(Exception):
    """An answer has more bytes than anybody wants to read."""


class Transport(Protocol):
    """What takes requests to servers. That of the tests plays the server itself."""

    async def send(
        self, method: str, url: str, content: bytes | None, headers: Mapping[str, str], most_bytes: int | None
    ) -> Reply:
        """The answer to one request, wherever that leads; without its body where ``most_bytes`` is None.

        No deadline but that for connecting, 10 s: that is the caller's.

        Raises:
            aiohttp.ClientError, OSError: There was none.
            TooLongError: Its body has more than ``most_bytes``.
        """

    async def close(self) -> None:
        """Close what is open."""


class HttpTransport:
    """HTTP/1.1 over connections that are kept and used again, as many as are wanted at once.

    Args:
        proxy: Through which to go; None for none.
        trust: Whose certificates are trusted; None where there are none to look at.
    """

    def __init__(self, proxy: Proxy | None, trust: Trust | None) -> None:
        self._proxy = proxy
        self._trust = trust
        self._session: ClientSession | None = None
        self._faults: tuple[type[Exception], ...] = ()  # what else than aiohttp's own errors a connector raises

    async def send(
        self, method: str, url: str, content: bytes | None, headers: Mapping[str, str], most_bytes: int | None
    ) -> Reply:
        """As of :class:`Transport`."""
        if self._session is None:  # which has to be made in an event loop
            self._session = self._open()
        proxy = self._proxy.url if self._proxy and not self._proxy.is_socks else None
        try:
            response = await self._session.request(
                method, url, data=content, headers=headers, proxy=proxy, allow_redirects=False
            )
        except self._faults as error:
            raise ClientConnectionError(f"{type(error).__name__} {error}") from error
        try:
            body = bytearray()
            while most_bytes is not None and (chunk := await response.content.readany()):
                body += chunk
                if len(body) > most_bytes:
                    raise TooLongError
            return Reply(response.status, response.headers, bytes(body))
        finally:
            response.close()  # of what was read to its end, the connection is free by now

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> ClientSession:
        return ClientSession(
            connector=self._connector(),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            auto_decompress=False,
            trust_env=False,
        )

    def _connector(self) -> BaseConnector:
        tls: SSLContext | bool = self._trust.context if self._trust else True
        if self._proxy and self._proxy.is_socks:
            import aiohttp_socks  # noqa: PLC0415  (only where it is needed is it there)

            self._faults = (
                aiohttp_socks.ProxyError,
                aiohttp_socks.ProxyConnectionError,
                aiohttp_socks.ProxyTimeoutError,
            )
            return aiohttp_socks.ProxyConnector.from_url(str(self._proxy.url.with_scheme("socks5")), limit=0, ssl=tls)
        return TCPConnector(limit=0, ssl=tls)
