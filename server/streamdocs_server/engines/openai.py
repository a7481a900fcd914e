"""Client of any OpenAI-compatible endpoint: ``/v1/models`` and ``/v1/chat/completions``."""

import asyncio
import email.utils
import json
import os
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal, TypeVar

import httpx
from pydantic import BaseModel, Field, ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from streamdocs.errors import ConfigError, EngineError, EngineUnavailableError
from streamdocs.requests import Request
from streamdocs_server.engines.base import Answer, Completion, RequestRefusedError, Sampling

_MAX_RESPONSE_BYTES = 64 * 2**20
_DEFAULT_SAMPLING = Sampling()
_FINISHED: dict[str | None, Literal["stop", "length"]] = {"stop": "stop", "length": "length"}
_BACKOFF = wait_random_exponential(multiplier=1, max=60)


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None  # "stop", "length", or a word of the server's own


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chat(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model] = Field(min_length=1)


_T = TypeVar("_T")
_Body = TypeVar("_Body", bound=BaseModel)


class _TryAgainError(EngineUnavailableError):
    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OpenAIEngine:
    """Generations from the chat endpoint at ``url`` (with or without a trailing ``/v1``).

    - ``model``: the name to ask for; None takes the one model that the server has.
    - ``api_key_env``: the environment variable that holds the API key, which appears in no error, log or repr.
    - ``timeout``: seconds for one HTTP request in all, 10 of them for connecting. A request may be sent
      ``1 + retries`` times, after refused, reset and timed-out connections, 408, 429, 5xx and malformed answers, with
      exponential back-off. A ``Retry-After`` is obeyed up to ``timeout``.
    - ``transport`` and ``sleep`` are for tests.

    Raises :class:`~streamdocs.errors.ConfigError` for a URL or key that cannot be used.
    """

    def __init__(
        self,
        *,
        url: str,
        model: str | None = None,
        sampling: Sampling = _DEFAULT_SAMPLING,
        api_key_env: str | None = None,
        timeout: float = 600.0,
        retries: int = 6,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._url = _base_url(url)
        self._model = model
        self._sampling = sampling
        self._timeout = timeout
        self._key = _api_key(api_key_env) if api_key_env else ""
        self._client = httpx.AsyncClient(
            transport=transport,
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            # Deadline and concurrency are the caller's; httpx's own would be per read, and 100 connections.
            timeout=httpx.Timeout(None, connect=10.0),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        )
        self._retries = retries
        self._sleep = sleep

    async def model(self) -> tuple[str, str]:
        """Name of the served model. The protocol tells no revision, so that is ``""``.

        Raises :class:`~streamdocs.errors.EngineError` if the configured model is not served, or if none is configured
        and several are served; otherwise as :meth:`generate`.
        """
        models = await self._retried(partial(self._ask, "GET", "/v1/models", None, _Models))
        served = [model.id for model in models.data]
        if self._model is None and len(served) == 1:
            self._model = served[0]
        if self._model not in served:
            problem = f"has no model {self._model!r}" if self._model else "serves several models and none is configured"
            names = ", ".join(map(repr, served))
            raise EngineError(f"{self._url} {problem}. Set `model` to one that is served: {names}.")
        return self._model, ""

    async def generate(self, request: Request, seed: int) -> Answer:
        """Exactly ``request.n`` completions, asking again for those that the server left out.

        A choice that neither stopped nor ran into the length limit (aborted, say) or has no content is left out; an
        answer of such choices alone is malformed and retried. Two exceptions: when the server filtered all of them, the
        request counts as refused; and null content of finish reason "length" (all tokens went into reasoning) is "".
        Where the server reports no usage, four characters count as a token.

        Raises :class:`RequestRefusedError` on 400, 413, 422 and filtered content,
        :class:`~streamdocs.errors.EngineUnavailableError` when all retries failed, and
        :class:`~streamdocs.errors.EngineError` on any other status (401, 403, 404): the configuration is wrong.
        """
        if self._model is None:
            await self.model()
        system = self._sampling.system
        messages = [{"role": "user", "content": request.prompt}]
        body: dict[str, Any] = {
            "model": self._model,
            "messages": messages if system is None else [{"role": "system", "content": system}, *messages],
            "max_tokens": request.max_tokens,
            "temperature": self._sampling.temperature,
            "top_p": self._sampling.top_p,
        }
        completions: list[Completion] = []
        prompt_tokens = 0
        # Every answer has at least one completion, so even a server that ignores `n` is asked at most n times.
        while len(completions) < request.n:
            # Some servers keep seeds in 32 bits; asking again with the same one would give the same text.
            body |= {"n": request.n - len(completions), "seed": (seed + len(completions)) % 2**31}
            more, read = await self._retried(partial(self._chat, body))
            completions += more
            prompt_tokens += read
        return Answer(tuple(completions[: request.n]), prompt_tokens)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _retried(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Result of the first attempt that does not raise _TryAgainError."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_TryAgainError),
            stop=stop_after_attempt(1 + self._retries),
            wait=self._wait,
            sleep=self._sleep,
            reraise=True,
        )
        return await retrying(attempt)

    async def _chat(self, body: dict[str, Any]) -> tuple[list[Completion], int]:
        """At least one completion, and the number of prompt tokens."""
        chat = await self._ask("POST", "/v1/chat/completions", body, _Chat)
        usage = chat.usage or _Usage()
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
                raise RequestRefusedError(f"{self._url} filtered the content of every choice.")
            raise self._try_again(f"no choice has content and ended by itself (finish reasons {reasons})")
        prompt = "".join(message["content"] for message in body["messages"])
        return completions, _estimate(prompt) if usage.prompt_tokens is None else usage.prompt_tokens

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None, expected: type[_Body], timeout: float | None = None
    ) -> _Body:
        """Send once and sort out what came back."""
        timeout = timeout or self._timeout
        # As ASCII, so that a lone surrogate in a document is for the server to judge and not an encoding error here.
        content = None if body is None else json.dumps(body).encode("ascii")
        try:
            response, answer = await asyncio.wait_for(self._send(method, path, content), timeout)
        except asyncio.TimeoutError as error:
            raise self._try_again(f"no complete answer within {timeout:g} s") from error
        except httpx.RequestError as error:
            raise self._try_again(f"{type(error).__name__} {error}") from error
        status = response.status_code
        if status in (408, 429) or status >= 500:
            raise self._try_again(f"status {status}: {self._excerpt(answer)}", _retry_after(response))
        if status in (400, 413, 422):
            raise RequestRefusedError(f"{self._url} refused the request with status {status}: {self._excerpt(answer)}")
        if not response.is_success:
            raise EngineError(
                f"{self._url}{path} answered {status}. Check the endpoint's URL, the model's name and the API key "
                "(api_key_env names the environment variable that holds it)."
            )
        try:
            return expected.model_validate_json(answer)
        except ValidationError:  # which quotes the answer without taking out the key
            raise self._try_again(f"malformed answer to {path}: {self._excerpt(answer)}") from None

    async def _send(self, method: str, path: str, content: bytes | None) -> tuple[httpx.Response, bytes]:
        headers = {"Content-Type": "application/json"} if content else {}
        answer = bytearray()
        async with self._client.stream(method, self._url + path, content=content, headers=headers) as response:
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > _MAX_RESPONSE_BYTES:
                    raise self._try_again(f"an answer of more than {_MAX_RESPONSE_BYTES >> 20} MiB")
        return response, bytes(answer)

    def _try_again(self, cause: str, retry_after: float = 0.0) -> _TryAgainError:
        return _TryAgainError(
            f"{self._url}: {cause}. Tried again {self._retries} times. Check that the server runs and is "
            "not overloaded; what was written so far is kept, and the same command goes on from there.",
            retry_after,
        )

    def _excerpt(self, answer: bytes) -> str:
        """The start of a server's message as one printable line; servers have been seen to quote the key."""
        text = answer[:4096].decode(errors="replace")
        return repr((text.replace(self._key, "***") if self._key else text)[:300])

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        retry_after = error.retry_after if isinstance(error, _TryAgainError) else 0.0
        return max(_BACKOFF(state), min(retry_after, self._timeout))


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
    except (ValueError, TypeError, OverflowError):
        return 0.0
