"""An engine whose text a function gives."""

from collections.abc import Callable

from streamdocs.recipes import Request
from streamdocs_server.engines.base import Answer, Completion


class Writes:
    """Answers with what ``text`` makes of a request and the number of a completion; "" is rejected by every gate.

    Args:
        text: What to write.
    """

    def __init__(self, text: Callable[[Request, int], str]) -> None:
        self._text = text
        self.asked = 0

    async def model(self) -> tuple[str, str]:
        return "template", "1"

    async def fit(self, request: Request) -> Request:
        return request

    async def close(self) -> None:
        pass

    async def generate(self, request: Request, seed: int) -> Answer:
        self.asked += 1
        return Answer(tuple(Completion(self._text(request, i), "stop", 1) for i in range(request.n)), 1)


def number_of(request: Request) -> str:
    """The number of a document of ``make_texts``, from its text: what is written should differ between documents."""
    return next(iter(request.fields.values())).split()[1]
