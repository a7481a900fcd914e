"""Cutting a prompt to what a model can read: whole sentences of the document go, the instructions stay."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from streamdocs.requests import Request
from streamdocs_server.sentences import sentence_ends

#: No text has more characters a token than this, on average; so much of a huge one is looked at.
_MOST_CHARS_PER_TOKEN = 16
#: Of what a count says is too much, so much more is left out: tokens are not evenly long.
_MARGIN = 1.05
_MOST_COUNTS = 8
# A thought is about the place between the two, so that what is next to it stays.
_KEEP_END = ("before",)


async def fit(request: Request, room: int, count: Callable[[Request], Awaitable[int]]) -> Request:
    """The request with its fields cut until ``count`` (tokens of the whole prompt) is at most ``room``.

    Fields are cut evenly: the longer ones first. Where the instructions alone are too long the request stays too long,
    and the server will refuse it.
    """
    length = min(sum(map(len, request.fields.values())), _MOST_CHARS_PER_TOKEN * max(room, 0))
    for _ in range(_MOST_COUNTS):
        shortened = replace(request, fields=shorten(request.fields, length))
        tokens = await count(shortened)
        if tokens <= room or not length:
            break
        held = sum(map(len, shortened.fields.values()))
        too_many = (tokens - room) * len(shortened.prompt) / tokens
        length = max(0, int(min(length, held) - _MARGIN * too_many) - 1)
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
