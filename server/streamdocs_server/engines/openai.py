"""One OpenAI-compatible server: ``/v1/models``, ``/v1/chat/completions`` and, where there is one, ``/tokenize``."""

import email.utils
import json
import os
import re
import time
from typing import Any, Literal, NamedTuple, TypeVar

import httpx
from anyio import fail_after
from pydantic import BaseModel, ValidationError

from streamdocs.errors import ConfigError, EngineError, some
from streamdocs.recipes import Request
from streamdocs_server._base.secrets import Secret
from streamdocs_server.engines.answers import Chat, Count, Models, PromptDetails, Usage
from streamdocs_server.engines.base import Answer, Completion, RequestRefusedError, RetryCause, Sampling, TryAgainError

_MAX_RESPONSE_BYTES = 64 * 2**20
_MOST_NAME = 1024
#: For what a server answers at once or never.
_CONTROL_SECONDS = 30.0
_DEFAULT_SAMPLING = Sampling()
_FINISHED: dict[str | None, Literal["stop", "length"]] = {"stop": "stop", "length": "length"}


class Load(NamedTuple):
    """Requests that are being answered and that wait, and tokens that those in progress hold, over all replicas.

    ``cache_usage`` is the share of the cache that those tokens take, in the replica where it is largest.
    """

    running: int
    waiting: int
    used_tokens: int
    cache_usage: float = 0.0


_Body = TypeVar("_Body", bound=BaseModel)


class OpenAIEndpoint:
    """The server at ``url`` (with or without a trailing ``/v1``). Everything is asked once; a pool asks again.

    - ``model``: the name to ask for; None takes the one model that the server has.
    - ``api_key_env``: the environment variable that holds the API key, which appears in no error, log or repr.
    - ``timeout``: seconds for one request in all, 10 of them for connecting.
    - ``transport`` is for tests.

    Raises :class:`~streamdocs.errors.ConfigError` for a URL or key that cannot be used. What fails in a way that may
    pass (refused, reset and timed-out connections, 408, 429, 5xx, malformed answers) raises
    :class:`~streamdocs_server.engines.base.TryAgainError`.
    """

    def __init__(
        self,
        *,
        url: str,
        model: str | None = None,
        sampling: Sampling = _DEFAULT_SAMPLING,
        api_key_env: str | None = None,
        timeout: float = 600.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = _base_url(url)
        self.model = model
        #: Tokens that prompt and generation may have together; None where the server does not say.
        self.context: int | None = None
        self._sampling = sampling
        self._timeout = timeout
        self._counts = False  # whether it is known to count tokens
        self._key = Secret(_api_key(api_key_env) if api_key_env else "")
        self._client = httpx.AsyncClient(
            transport=transport,
            # Not compressed: a few kilobytes could be as many gigabytes.
            headers={**self._key.headers, "Accept-Encoding": "identity"},
            # Deadline and concurrency are the caller's; httpx's own would be per read, and 100 connections.
            timeout=httpx.Timeout(None, connect=10.0),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        )

    async def identify(self) -> tuple[str, str]:
        """Name and revision of the served model. The protocol tells no revision, so that is ``""``.

        Raises :class:`~streamdocs.errors.EngineError` if the configured model is not served, or if none is configured
        and several are served.
        """
        served = {model.id: model for model in (await self._control("GET", "/v1/models", None, Models)).data}
        if self.model is None and len(served) == 1:
            self.model = next(iter(served))
        if self.model not in served:
            problem = f"has no model {self.model!r}" if self.model else "serves several models and none is configured"
            names = some([repr(name[:200]) for name in served], 20)
            raise EngineError(self._key.hide(f"{self.url} {problem}. Set `model` to one that is served: {names}."))
        self._check_name(self.model)
        self.context = served[self.model].max_model_len
        return self.model, ""

    async def healthy(self) -> bool:
        """Whether it can generate, as far as it says without being asked to."""
        return True

    async def load(self) -> Load | None:
        """How busy it is by its own account; None where it does not say."""
        return None

    async def ask(self, request: Request, n: int, seed: int) -> Answer:
        """At least one of ``n`` completions.

        A choice that neither stopped nor ran into the length limit (aborted, say) or has no content is left out; an
        answer of such choices alone is malformed. Two exceptions: when the server filtered all of them, the request
        counts as refused; and null content of finish reason "length" (all tokens went into reasoning) is "". Where the
        server reports no usage, four characters count as a token.

        Raises :class:`RequestRefusedError` on 400, 413, 422 and filtered content, and
        :class:`~streamdocs.errors.EngineError` on any other status (401, 403, 404): the configuration is wrong.
        """
        chat = await self._ask("POST", "/v1/chat/completions", self.body(request, n, seed), Chat)
        usage = chat.usage or Usage()
        completions = []
        for index, choice in enumerate(chat.choices):
            text = choice.message.content
            reason = _FINISHED.get(choice.finish_reason)
            if text is None and reason == "length":
                text = ""
            if text is None or reason is None:
                continue
            # Usage is for all choices together; an even split has the right sum.
            total = usage.completion_tokens
            tokens = _estimate(text) if total is None else (total + index) // len(chat.choices)
            completions.append(Completion(text, reason, tokens))
        if not completions:
            reasons = {choice.finish_reason for choice in chat.choices}
            if reasons == {"content_filter"}:
                raise RequestRefusedError(f"{self.url} filtered the content of every choice.")
            ended = repr(reasons)[:300]
            raise self._try_again("malformed answer", f"no choice has content and ended by itself ({ended})")
        prompt_tokens = _estimate(request.prompt) if usage.prompt_tokens is None else usage.prompt_tokens
        details = usage.prompt_tokens_details or PromptDetails()
        return Answer(tuple(completions), prompt_tokens, details.cached_tokens or 0)

    def body(self, request: Request, n: int, seed: int) -> dict[str, Any]:
        """What is sent: the chat template is the server's."""
        return {
            "model": self.model,
            "messages": self.messages(request),
            "n": n,
            "seed": seed % 2**31,  # some servers keep it in 32 bits
            "max_tokens": request.max_tokens,
            "temperature": self._sampling.temperature,
            "top_p": self._sampling.top_p,
        }

    def messages(self, request: Request) -> list[dict[str, str]]:
        """The chat of a request."""
        messages = [{"role": "user", "content": request.prompt}]
        system = self._sampling.system
        return messages if system is None else [{"role": "system", "content": system}, *messages]

    async def count(self, request: Request) -> int | None:
        """Tokens of the whole prompt as the server counts them; None where it does not say.

        Some servers answer 200 or 500 to a path that they do not know, and some have a ``/tokenize`` of their own. From
        one that has counted before that is a failure: :class:`~streamdocs_server.engines.base.TryAgainError`.
        """
        question = {"model": self.model, "messages": self.messages(request)}
        try:
            counted = (await self._control("POST", "/tokenize", question, Count)).count
        except EngineError as error:
            another_path = "malformed answer", "server error"
            if isinstance(error, TryAgainError) and (self._counts or error.cause not in another_path):
                raise
            return None
        self._counts = True
        return counted

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        self._key.close()

    def _check_name(self, name: str) -> None:
        """A model's name is part of every key in the store, of fingerprints and of the log.

        Raises :class:`~streamdocs.errors.EngineError` where it should be in none of them.
        """
        if self._key.hide(name) != name or len(name) > _MOST_NAME:
            raise EngineError(
                f"{self.url} serves a model whose name holds the API key, or has more than {_MOST_NAME} characters."
            )

    async def _control(self, method: str, path: str, body: dict[str, Any] | None, expected: type[_Body]) -> _Body:
        return await self._ask(method, path, body, expected, min(self._timeout, _CONTROL_SECONDS))

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None, expected: type[_Body], seconds: float | None = None
    ) -> _Body:
        """Send once and sort out what came back."""
        seconds = seconds or self._timeout
        # As ASCII, so that a lone surrogate in a document is for the server to judge and not an encoding error here.
        content = None if body is None else json.dumps(body).encode("ascii")
        try:
            # Not asyncio.wait_for, which before Python 3.12 may swallow a cancellation.
            with fail_after(seconds):
                response, answer = await self._send(method, path, content)
        except TimeoutError as error:
            raise self._try_again("timeout", f"no complete answer within {seconds:g} s") from error
        except httpx.RequestError as error:
            raise self._try_again("connection", f"{type(error).__name__} {error}") from error
        status = response.status_code
        if status in (408, 429) or status >= 500:
            cause: RetryCause = "overloaded" if status in (429, 503) else "server error"
            raise self._try_again(cause, f"status {status}: {self._excerpt(answer)}", _retry_after(response))
        if status in (400, 413, 422):
            raise RequestRefusedError(f"{self.url} refused the request with status {status}: {self._excerpt(answer)}")
        if not response.is_success:
            raise EngineError(
                f"{self.url}{path} answered {status}. Check the endpoint's URL, the model's name and the API key "
                "(api_key_env names the environment variable that holds it)."
            )
        try:
            return expected.model_validate_json(answer)
        except ValidationError:  # which quotes the answer without taking out the key
            text = f"malformed answer to {path}: {self._excerpt(answer)}"
            raise self._try_again("malformed answer", text) from None

    async def _send(self, method: str, path: str, content: bytes | None) -> tuple[httpx.Response, bytes]:
        headers = {"Content-Type": "application/json"} if content else {}
        answer = bytearray()
        async with self._client.stream(method, self.url + path, content=content, headers=headers) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise self._try_again("malformed answer", "a compressed answer, which was not asked for")
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > _MAX_RESPONSE_BYTES:
                    raise self._try_again("malformed answer", f"an answer of more than {_MAX_RESPONSE_BYTES >> 20} MiB")
        return response, bytes(answer)

    def _try_again(self, cause: RetryCause, what: str, retry_after: float = 0.0) -> TryAgainError:
        return TryAgainError(cause, self._key.hide(f"{self.url}: {what}"), retry_after)

    def _excerpt(self, answer: bytes) -> str:
        """The start of a server's message as one printable line."""
        return repr(self._key.hide(answer[:4096].decode(errors="replace"))[:300])


def _base_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
        usable = parsed.scheme in ("http", "https") and parsed.host and not (parsed.userinfo or parsed.query)
    except httpx.InvalidURL:
        usable = False
    if not usable:
        # Not shown, for there may be a password in it.
        raise ConfigError("The endpoint's URL must be http(s)://host[:port][/path], without user, password and query.")
    return url.rstrip("/").removesuffix("/v1")


def _api_key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    # A character that no header may hold would have httpx quote the whole key in its error.
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"Environment variable {variable} must hold the endpoint's API key; it is unset or no key.")
    return key


def _estimate(text: str) -> int:
    """Tokens, where the server does not count them."""
    return -(-len(text) // 4)


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the server asks to wait, given as a number or a date (past: negative); 0 if it does not."""
    value = response.headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        return email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
