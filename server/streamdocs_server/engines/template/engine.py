"""The engine without a model."""

import asyncio

from streamdocs.recipes import Request
from streamdocs_server.engines.base import Answer, Completion
from streamdocs_server.engines.template.plain import CHARS_PER_TOKEN, rephrases, thoughts
from streamdocs_server.engines.template.rules import answers


class TemplateEngine:
    """Deterministic text for any request, from no model at all.

    ``tokens_per_second`` holds all concurrent calls together back to that many completion tokens a second;
    None is as fast as it goes. A token is taken to be four characters.
    """

    def __init__(self, *, tokens_per_second: float | None = None) -> None:
        self._seconds_per_token = 1 / tokens_per_second if tokens_per_second else 0.0
        self._busy_until = 0.0

    async def model(self) -> tuple[str, str]:
        """Always ``("template", "1")``."""
        return "template", "1"

    async def fit(self, request: Request) -> Request:
        """The request as it is: no document is too long."""
        return request

    async def generate(self, request: Request, seed: int) -> Answer:
        """``request.n`` texts that depend on the request, the seed and nothing else. Never raises."""
        write = answers if request.step else rephrases if request.kind == "rephrase" else thoughts
        completions = tuple(_cut(text, request.max_tokens) for text in write(request, seed))
        now = asyncio.get_running_loop().time()
        written = sum(completion.completion_tokens for completion in completions)
        self._busy_until = max(self._busy_until, now) + written * self._seconds_per_token
        await asyncio.sleep(self._busy_until - now)
        return Answer(completions, prompt_tokens=_tokens(request.prompt))

    async def close(self) -> None:
        """Nothing to let go of."""


def _tokens(text: str) -> int:
    return -(-len(text) // CHARS_PER_TOKEN)


def _cut(text: str, max_tokens: int) -> Completion:
    text = text.strip()
    if _tokens(text) <= max_tokens:
        return Completion(text, "stop", _tokens(text))
    kept = text[: CHARS_PER_TOKEN * max_tokens]
    return Completion(kept, "length", _tokens(kept))
