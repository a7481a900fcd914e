"""What every engine takes and gives."""

from dataclasses import dataclass
from typing import Literal, Protocol

from streamdocs.errors import EngineError
from streamdocs.requests import Request


class RequestRefusedError(EngineError):
    """The server will not answer this one request, now or later; others may go on."""


@dataclass(frozen=True)
class Completion:
    """One generation as it came from the engine, before any gate. ``completion_tokens`` are the engine's own."""

    text: str
    finish_reason: Literal["stop", "length"]
    completion_tokens: int


@dataclass(frozen=True)
class Answer:
    """The generations of one request, and the prompt tokens read for them, summed over every time it was sent."""

    completions: tuple[Completion, ...]
    prompt_tokens: int


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to sample. ``n`` and ``max_tokens`` are in the request; ``system`` is a system message or None."""

    temperature: float = 1.0
    top_p: float = 1.0
    system: str | None = None


class Engine(Protocol):
    """A source of generations, used by many concurrent calls in one event loop."""

    async def model(self) -> tuple[str, str]:
        """Name and revision of the model that is actually served; asked for at start.

        Raises :class:`~streamdocs.errors.EngineError` if that is not the configured one.
        """
        ...

    async def generate(self, request: Request, seed: int) -> Answer:
        """Exactly ``request.n`` completions; an engine that can be deterministic is so by ``seed`` (at least 0).

        Raises :class:`RequestRefusedError` if this request is never going to be answered,
        :class:`~streamdocs.errors.EngineUnavailableError` if it may be later, after retrying, and
        :class:`~streamdocs.errors.EngineError` if the configuration has to change first.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
