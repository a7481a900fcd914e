"""What every engine takes and gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from streamdocs.errors import EngineError, EngineUnavailableError
from streamdocs.recipes import Request

#: Why a request has to be sent again; these are the labels of the metrics.
RetryCause = Literal["connection", "timeout", "overloaded", "server error", "malformed answer", "hang", "other weights"]


#: Why a request is not answered; these are the causes under which its generations are recorded as rejected.
RefusalCause = Literal["refused by the server", "filtered by the server", "too long for the context"]


class RequestRefusedError(EngineError):
    """The server will not answer this one request, now or later; others may go on. ``said`` is its own message."""

    def __init__(self, message: str, cause: RefusalCause = "refused by the server", said: str = "") -> None:
        super().__init__(message)
        self.cause: RefusalCause = cause
        self.said = said


class TryAgainError(EngineUnavailableError):
    """A request failed in a way that may pass. ``retry_after`` is how many seconds the server asked to wait, or 0."""

    def __init__(self, cause: RetryCause, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.cause = cause
        self.retry_after = retry_after


@dataclass(frozen=True)
class Completion:
    """One generation as it came from the engine, before any gate.

    Args:
        text: What was written.
        finish_reason: ``stop`` where that is all of it, ``length`` where it was cut off, or may have been.
        completion_tokens: As the engine counts them.
        reasoned: Whether the model also reasoned, in a field of its own; with an empty text that is all it did.
    """

    text: str
    finish_reason: Literal["stop", "length"]
    completion_tokens: int
    reasoned: bool = False


@dataclass(frozen=True)
class Answer:
    """Generations of one request, and the tokens of its prompt, summed over every time that it was answered.

    ``cached_tokens`` are those of ``prompt_tokens`` that the server had in its cache, where it says so; of a request
    for several generations, servers report them for the first one.
    """

    completions: tuple[Completion, ...]
    prompt_tokens: int
    cached_tokens: int = 0

    def __add__(self, other: "Answer") -> "Answer":
        """Both as one."""
        return Answer(
            self.completions + other.completions,
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to sample, and how to say it.

    Args:
        temperature, top_p: As in the protocol; ``n`` and ``max_tokens`` are in the request.
        system: A system message.
        extra_body: Further fields of the body.
        fields: Names of the protocol's fields at the server, None for those that are left out.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    system: str | None = None
    extra_body: Mapping[str, Any] | None = None
    fields: Mapping[str, str | None] = field(default_factory=dict)

    def of(self, request: Request) -> dict[str, float]:
        """Temperature and top_p of a request: a step may have its own."""
        own = {} if request.step is None else {"temperature": request.step.temperature, "top_p": request.step.top_p}
        ours = {"temperature": self.temperature, "top_p": self.top_p}
        return ours | {name: value for name, value in own.items() if value is not None}


class Engine(Protocol):
    """A source of generations, used by many concurrent calls in one event loop."""

    async def model(self) -> tuple[str, str]:
        """Name and revision of the model that is actually served; asked for at start.

        Raises :class:`~streamdocs.errors.EngineError` if that is not the configured one.
        """

    async def fit(self, request: Request) -> Request:
        """The request, its document cut to what the model can read where it is too long.

        Raises as :meth:`generate`.
        """

    async def generate(self, request: Request, seed: int) -> Answer:
        """Exactly ``request.n`` completions; an engine that can be deterministic is so by ``seed`` (at least 0).

        Raises :class:`RequestRefusedError` if this request is never going to be answered and
        :class:`~streamdocs.errors.EngineError` if none is: the message says what has to change first.
        """

    async def close(self) -> None:
        """Let go of connections."""
