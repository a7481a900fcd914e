"""HTTP to one server: where its API is, what goes wrong on the way, and what it says where it does not answer."""

import email.utils
import json
import os
import re
import ssl
import time
from collections.abc import Iterator
from typing import Any, TypeVar

import httpx
from anyio import fail_after
from pydantic import BaseModel, ValidationError

from streamdocs.errors import ConfigError, EngineError
from streamdocs_server._base.network import Trust, proxy_of, trust
from streamdocs_server._base.secrets import Secret
from streamdocs_server.engines.base import RequestRefusedError, RetryCause, TryAgainError

_MAX_RESPONSE_BYTES = 64 * 2**20
#: For what a server answers at once or never.
_CONTROL_SECONDS = 30.0
_CONNECT_SECONDS = 10.0
_PASTED = re.compile(r"/(?:chat/completions|completions|models)$")
_VERSION = re.compile(r"/v[0-9]+[a-z0-9]*(?=/|$)")
_MOST_READ_OF_AN_ERROR = 4096

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
        self, url: str, *, api_key_env: str | None, timeout: float, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        parsed = _parse(url)
        self.url, self._bases = _places(url.rstrip("/"), parsed.path)
        self.timeout = timeout
        self._key = Secret(_api_key(api_key_env) if api_key_env else "")
        via = None if transport else proxy_of(parsed)
        self.name = self.url
        if via:
            self.name += f" (through the proxy of {via.variable}; {parsed.host} in NO_PROXY would go past it)"
        self._trust: Trust | None = None
        if parsed.scheme == "https" or (via and via.proxy.url.scheme == "https"):
            self._trust = trust()
        self._client = httpx.AsyncClient(
            transport=transport,
            proxy=via.proxy if via else None,
            verify=self._trust.context if self._trust else False,  # of http alone there is nothing to verify
            trust_env=False,
            # Not compressed: a few kilobytes could be as many gigabytes.
            headers={**self._key.headers, "Accept-Encoding": "identity"},
            # Deadline and concurrency are the caller's; httpx's own would be per read, and 100 connections.
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        )

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
            with fail_after(seconds):
                async with self._client.stream("GET", self.url + path) as response:
                    return response.status_code
        except (httpx.RequestError, TimeoutError):
            return None

    async def send(
        self, method: str, url: str, body: dict[str, Any] | None, expected: type[_Body], seconds: float | None = None
    ) -> _Body:
        """Send once and sort out what came back, in at most ``seconds``; default and most is the timeout."""
        seconds = min(seconds or self.timeout, self.timeout)
        # As ASCII, so that a lone surrogate in a document is for the server to judge and not an encoding error here.
        content = None if body is None else json.dumps(body).encode("ascii")
        try:
            # Not asyncio.wait_for, which before Python 3.12 may swallow a cancellation.
            with fail_after(seconds):
                response, answer = await self._send(method, url, content)
        except TimeoutError as error:
            raise self.try_again("timeout", f"no complete answer within {seconds:g} s (generator.timeout)") from error
        except httpx.RequestError as error:
            self._check_certificate(error)
            raise self.try_again("connection", f"{type(error).__name__} {error}") from error
        self._check_status(url, response, answer)
        try:
            return expected.model_validate_json(answer)
        except ValidationError:  # which quotes the answer without taking out the key
            text = f"malformed answer to {self._path(url)}{self._excerpt(answer)}"
            raise self.try_again("malformed answer", text) from None

    def try_again(self, cause: RetryCause, what: str, retry_after: float = 0.0) -> TryAgainError:
        """An error that says that something failed in a way that may pass."""
        return TryAgainError(cause, self.hide(f"{self.name}: {what}"), retry_after)

    def hide(self, text: str) -> str:
        """The text without the API key."""
        return self._key.hide(text)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        self._key.close()

    async def _send(self, method: str, url: str, content: bytes | None) -> tuple[httpx.Response, bytes]:
        headers = {"Content-Type": "application/json"} if content else {}
        answer = bytearray()
        async with self._client.stream(method, url, content=content, headers=headers) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise self.try_again("malformed answer", "a compressed answer, which was not asked for")
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > _MAX_RESPONSE_BYTES:
                    raise self.try_again("malformed answer", f"an answer of more than {_MAX_RESPONSE_BYTES >> 20} MiB")
        return response, bytes(answer)

    def _check_status(self, url: str, response: httpx.Response, answer: bytes) -> None:
        status = response.status_code
        said = f"status {status}{self._excerpt(answer)}"
        if status in (408, 429) or status >= 500:
            cause: RetryCause = "overloaded" if status in (429, 503) else "server error"
            raise self.try_again(cause, said, _retry_after(response))
        if status in (400, 413, 422):
            text = self.hide(answer[:_MOST_READ_OF_AN_ERROR].decode(errors="replace"))
            raise RequestRefusedError(f"{self.name} refused the request with {said}", said=text)
        if status in (404, 405):
            raise NotThereError(
                f"{self.name} has no {self._path(url)}, {said}. Check the endpoint's URL and the model's name."
            )
        if response.has_redirect_location:
            place = self.hide(response.headers["location"][:300])
            raise EngineError(
                f"{self.name} leads from {self._path(url)} to {place!r}: give that place as the endpoint."
            )
        if not response.is_success:
            raise EngineError(
                f"{self.name} answered {self._path(url)} with {said}. Check the endpoint's URL, the model's name and "
                "the API key (generator.api_key_env names the environment variable that holds it)."
            )

    def _check_certificate(self, error: httpx.RequestError) -> None:
        """Raises :class:`~streamdocs.errors.EngineError` where it is of TLS, and no second try could mend it."""
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                whose = self._trust.variable if self._trust else None
                trusted = (
                    f"those that {whose} names" if whose else "public ones; SSL_CERT_FILE may name a file of others"
                )
                raise EngineError(
                    f"{self.name}: {cause.verify_message}. Trusted certificates are {trusted}."
                ) from error
            if isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
                raise EngineError(f"{self.name} does not speak TLS: is its URL one of http://?") from error

    def _path(self, url: str) -> str:
        return url.removeprefix(self.url)

    def _excerpt(self, answer: bytes) -> str:
        """The start of a server's message as one printable line, after a colon."""
        text = self.hide(answer[:_MOST_READ_OF_AN_ERROR].decode(errors="replace"))
        return f": {text[:300]!r}" if text else ""


def _parse(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
        usable = parsed.scheme in ("http", "https") and parsed.host and not (parsed.userinfo or parsed.query)
    except httpx.InvalidURL:
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
    # A character that no header may hold would have httpx quote the whole key in its error.
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"Environment variable {variable} must hold the endpoint's API key; it is unset or no key.")
    return key


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the server asks to wait, given as a number or a date (past: negative); 0 if it does not."""
    value = response.headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        return email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
