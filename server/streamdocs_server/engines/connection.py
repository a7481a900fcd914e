"""HTTP to one server: where its API is, what goes wrong on the way, and what it says where it does not answer."""

import asyncio
import email.utils
import errno
import json
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any, TypeVar

from aiohttp import ClientError
from pydantic import BaseModel, ValidationError
from yarl import URL

from streamdocs.errors import ConfigError, EngineError
from streamdocs_server._base.http import HttpTransport, Reply, TooLongError, Transport
from streamdocs_server._base.network import Trust, parse_url, proxy_of, trust
from streamdocs_server._base.secrets import Secret
from streamdocs_server.engines.base import RequestRefusedError, RetryCause, TryAgainError

_MAX_RESPONSE_BYTES = 64 * 2**20
#: For what a server answers at once or never.
_CONTROL_SECONDS = 30.0
_PASTED = re.compile(r"/(?:chat/completions|completions|models)$")
_VERSION = re.compile(r"/v[0-9]+[a-z0-9]*(?=/|$)")
_MOST_READ_OF_AN_ERROR = 4096
_MOST_SAID = 300  # characters

_Body = TypeVar("_Body", bound=BaseModel)


class NotThereError(EngineError):
    """The server has no such path."""


class Connection:
    """HTTP to the server at ``url``, which may be that of its API or of any path of it.

    An API is at the URL where that has a version (``/v1``, ``/api/paas/v4``, ``/v1beta/openai``) or was that of one of
    its paths (``…/chat/completions``). Otherwise it is at ``/v1`` below, or else at the URL: whichever answers first.

    - ``api_key_env``: the environment variable that holds the API key, which appears in no error, log or repr.
    - ``timeout``: seconds for one request in all, 10 of them for connecting.
    - ``transport`` is for tests.

    What fails in a way that may pass (refused, reset and timed-out connections, 408, 429, 5xx, malformed answers)
    raises :class:`~streamdocs_server.engines.base.TryAgainError`; what is refused (400, 413, 422)
    :class:`~streamdocs_server.engines.base.RequestRefusedError`; any other status, and a certificate that is not
    trusted, an :class:`~streamdocs.errors.EngineError`. All name the variable of a proxy that the request went through.

    Raises:
        ConfigError: The URL, the key, or what the environment says of proxies and certificates cannot be used.
    """

    def __init__(
        self, url: str, *, api_key_env: str | None, timeout: float, transport: Transport | None = None
    ) -> None:
        parsed = _parse(url)
        self.url, self._bases = _places(url.rstrip("/"), parsed.path)
        self.timeout = timeout
        self._key = Secret(_api_key(api_key_env) if api_key_env else "")
        via = None if transport else proxy_of(parsed)
        self.name, self._where = self.url, "at the proxy" if via else "there"
        if via:
            self.name += f" (through the proxy of {via.variable}; {parsed.host} in NO_PROXY would go past it)"
        self._trust: Trust | None = None
        if parsed.scheme == "https" or (via and via.url.scheme == "https"):
            self._trust = trust()
        self._transport = transport or HttpTransport(via, self._trust)
        # Not compressed: a few kilobytes could be as many gigabytes.
        self._headers = {**self._key.headers, "Accept-Encoding": "identity"}

    async def api(
        self, method: str, path: str, body: dict[str, Any] | None, expected: type[_Body], seconds: float | None = None
    ) -> _Body:
        """Send to a path of the API once, and once more where it may be elsewhere; ``seconds`` as :meth:`send`."""
        errors: list[EngineError] = []
        for base in self._bases:
            try:
                answer = await self.send(method, base + path, body, expected, seconds)
            except (NotThereError, TryAgainError) as error:
                # Some answer any question with a page; but what is asked for by POST may be paid for.
                if isinstance(error, TryAgainError) and (error.cause != "malformed answer" or method == "POST"):
                    raise
                errors.append(error)
            else:
                self._bases = (base,)
                return answer
        raise next((error for error in errors if not isinstance(error, NotThereError)), errors[0])

    async def control(self, method: str, path: str, body: dict[str, Any] | None, expected: type[_Body]) -> _Body:
        """Ask the server, beside its API, what it answers at once or never."""
        return await self.send(method, self.url + path, body, expected, _CONTROL_SECONDS)

    async def status(self, path: str, seconds: float) -> int | None:
        """The status of what a path answers, and nothing else of it; None where that did not come in time."""
        try:
            async with asyncio.timeout(seconds):
                return (await self._transport.send("GET", self.url + path, None, self._headers, None)).status
        except (ClientError, OSError):  # a timeout too
            return None

    async def send(
        self, method: str, url: str, body: dict[str, Any] | None, expected: type[_Body], seconds: float | None = None
    ) -> _Body:
        """Send once and sort out what came back, in at most ``seconds``; default and most is the timeout."""
        seconds = min(seconds or self.timeout, self.timeout)
        # As ASCII, so that a lone surrogate in a document is for the server to judge and not an encoding error here.
        content = None if body is None else json.dumps(body).encode("ascii")
        headers = self._headers if content is None else self._headers | {"Content-Type": "application/json"}
        try:
            # Not asyncio.wait_for, which before Python 3.12 may swallow a cancellation.
            async with asyncio.timeout(seconds):
                reply = await self._transport.send(method, url, content, headers, _MAX_RESPONSE_BYTES)
        except TooLongError:
            text = f"an answer of more than {_MAX_RESPONSE_BYTES >> 20} MiB"
            raise self.try_again("malformed answer", text) from None
        except ClientError as error:  # one for connecting is a TimeoutError, too
            raise self._failed(error) from None
        except TimeoutError:
            raise self.try_again("timeout", f"no complete answer within {seconds:g} s (generator.timeout)") from None
        except OSError as error:
            raise self._failed(error) from None
        if reply.headers.get("Content-Encoding", "identity") != "identity":
            raise self.try_again("malformed answer", "a compressed answer, which was not asked for")
        self._check_status(url, reply)
        try:
            return expected.model_validate_json(reply.body)
        except ValidationError:  # which quotes the answer without taking out the key
            text = f"malformed answer to {self._path(url)}{self._excerpt(reply.body)}"
            raise self.try_again("malformed answer", text) from None

    def try_again(self, cause: RetryCause, what: str, retry_after: float = 0.0) -> TryAgainError:
        """An error that says that something failed in a way that may pass."""
        return TryAgainError(cause, self.hide(f"{self.name}: {what}"), retry_after)

    def hide(self, text: str) -> str:
        """The text without the API key."""
        return self._key.hide(text)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()
        self._key.close()

    def _check_status(self, url: str, reply: Reply) -> None:
        if 200 <= (status := reply.status) < 300:
            return
        location = reply.headers.get("Location")
        said = f"status {status}{self._excerpt(reply.body)}"
        if status in (408, 429) or status >= 500:
            cause: RetryCause = "overloaded" if status in (429, 503) else "server error"
            raise self.try_again(cause, said, _retry_after(reply))
        if status in (400, 413, 422):
            text = self.hide(reply.body[:_MOST_READ_OF_AN_ERROR].decode(errors="replace"))
            raise RequestRefusedError(f"{self.name} refused the request with {said}", said=text)
        if status in (404, 405):
            raise NotThereError(
                f"{self.name} has no {self._path(url)}, {said}. Check the endpoint's URL and the model's name."
            )
        if status in (301, 302, 303, 307, 308) and location is not None:
            place = self.hide(location)[:_MOST_SAID]
            raise EngineError(
                f"{self.name} leads from {self._path(url)} to {place!r}: give that place as the endpoint."
            )
        raise EngineError(
            f"{self.name} answered {self._path(url)} with {said}. Check the endpoint's URL, the model's name and the "
            "API key (generator.api_key_env names the environment variable that holds it)."
        )

    def _failed(self, error: Exception) -> EngineError:
        """What to say where no answer came; not to be chained, for aiohttp's errors hold what was sent.

        That is :class:`~streamdocs_server.engines.base.TryAgainError` but where it is of TLS, and no second try could
        mend it.
        """
        # Of aiohttp's own errors, some are called so and say nothing.
        for cause in (each for each in _causes(error) if not isinstance(each, ClientError)):
            if isinstance(cause, ssl.SSLCertVerificationError):
                whose = self._trust.variable if self._trust else None
                trusted = (
                    f"those that {whose} names" if whose else "public ones; SSL_CERT_FILE may name a file of others"
                )
                return EngineError(f"{self.name}: {cause.verify_message}. Trusted certificates are {trusted}.")
            if isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
                return EngineError(f"{self.name} does not speak TLS: is its URL one of http://?")
            if isinstance(cause, ConnectionRefusedError) or getattr(cause, "errno", None) == errno.ECONNREFUSED:
                return self.try_again("connection", f"nobody listens {self._where}")
            if isinstance(cause, socket.gaierror):
                return self.try_again("connection", "there is no such host")
        said = self.hide(str(error))[:_MOST_SAID]  # aiohttp's may quote all that was sent
        return self.try_again("connection", f"{type(error).__name__} {said}")

    def _path(self, url: str) -> str:
        return url.removeprefix(self.url)

    def _excerpt(self, answer: bytes) -> str:
        """The start of a server's message as one printable line, after a colon."""
        text = self.hide(answer[:_MOST_READ_OF_AN_ERROR].decode(errors="replace"))
        return f": {text[:_MOST_SAID]!r}" if text else ""


def _parse(url: str) -> URL:
    try:
        parsed = parse_url(url)
        usable = parsed.scheme in ("http", "https") and not (parsed.user or parsed.password or parsed.query_string)
    except ValueError:
        usable = False
    if not usable:
        # Not shown, for there may be a password in it.
        raise ConfigError("The endpoint's URL must be http(s)://host[:port][/path], without user, password and query.")
    return parsed


def _places(url: str, path: str) -> tuple[str, tuple[str, ...]]:
    """The server's own URL, and where its API may be."""
    api = _PASTED.sub("", url)
    root = api.removesuffix("/v1")
    if root != api or api != url or _VERSION.search(path):
        return root, (api,)
    return root, (f"{root}/v1", root)


def _api_key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    # A character that no header may hold would have the client quote the whole key in its error.
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"Environment variable {variable} must hold the endpoint's API key; it is unset or no key.")
    return key


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _retry_after(reply: Reply) -> float:
    """Seconds that the server asks to wait, given as a number or a date (past: negative); 0 if it does not."""
    value = reply.headers.get("Retry-After", "")
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        return email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
