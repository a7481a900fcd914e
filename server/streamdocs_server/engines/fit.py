"""Cutting a prompt to what a model can read: whole sentences of the document go, the instructions stay."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from streamdocs._base.sentences import sentence_ends
from streamdocs.errors import EngineError
from streamdocs.recipes import Request
from streamdocs_server.engines.base import RequestRefusedError

#: No text has more characters a token than this, on average; so much of a huge one is looked at.
_MOST_CHARS_PER_TOKEN = 16
#: So much more is left out than a count asks for: tokens are not evenly long.
_MARGIN = 1.05
_MOST_COUNTS = 8
#: What is written about fewer tokens of a long document has little to do with it.
_LEAST_TOKENS = 32
# A thought is about the place between the two, so that what is next to it stays.
_KEEP_END = ("before",)


async def fit(request: Request, room: int, count: Callable[[Request], Awaitable[int]]) -> Request:
    """The request with its fields cut until ``count`` (tokens of the whole prompt) is at most ``room``.

    Fields are cut evenly: the longer ones first. Those that are empty from the start may be so.

    Raises:
        EngineError: The instructions leave no room for any document.
        RequestRefusedError: They do, and yet nothing of this one fits.
    """
    length = min(sum(map(len, request.fields.values())), _MOST_CHARS_PER_TOKEN * max(room, 0))
    shortened = replace(request, fields=shorten(request.fields, length))
    if (tokens := await count(shortened)) <= room:
        return shortened
    instructions = await count(replace(request, fields=dict.fromkeys(request.fields, "")))
    if instructions + _LEAST_TOKENS > room:
        raise EngineError(
            f"The instructions take {instructions:,} tokens and what is written about a document up to "
            f"{request.max_tokens:,} (recipe.max_tokens), which leaves no room for the document in the "
            f"{room + request.max_tokens:,} of the model (generator.context, or max_model_len of the server). Raise "
            "generator.context, take a server with a longer context, or lower recipe.max_tokens."
        )
    for _ in range(_MOST_COUNTS):
        # By the tokens of the document alone, which may be much shorter than those of the instructions.
        share = (room - instructions) / (tokens - instructions) / _MARGIN
        length = int(share * sum(map(len, shortened.fields.values())))
        shortened = replace(request, fields=shorten(request.fields, length))
        if (tokens := await count(shortened)) <= room:
            break
    if not any(shortened.fields.values()):
        text = f"Not one word of the document fits in {room - instructions:,} tokens."
        raise RequestRefusedError(text, "too long for the context")
    return shortened


def shorten(fields: Mapping[str, str], length: int) -> dict[str, str]:
    """Fields of at most ``length`` characters together, cut between sentences, or else words, or else anywhere."""
    left, shortened = length, {}
    by_length = sorted(fields, key=lambda name: len(fields[name]))
    for number, name in enumerate(by_length):
        kept = min(len(fields[name]), left // (len(fields) - number))
        left -= kept
        shortened[name] = _tail(fields[name], kept) if name in _KEEP_END else _head(fields[name], kept)
    return {name: shortened[name] for name in fields}


def _head(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    # One character more, for whether a full stop ends a sentence shows only behind it.
    ends = (end for end in sentence_ends(text[: length + 1]) if end <= length)
    end = max(ends, default=0) or text.rfind(" ", 0, length + 1)
    return text[: end if end > 0 else length]


def _tail(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    rest = text[len(text) - length :]
    start = next((end for end in sentence_ends(rest) if end < len(rest)), 0) or rest.find(" ") + 1
    return rest[start:].lstrip() if start else rest
