"""A long text in chunks that a prompt can hold, its beginning, and the end of what was written so far."""

import re
from collections.abc import Callable, Iterable
from itertools import chain

from streamdocs._base.sentences import sentence_ends
from streamdocs.recipes.boundaries import JOINER, belongs

#: So much before a place tells what it is between: the end of a sentence is no initial, and no number of a list.
_BEFORE = 4

_LINE_END = re.compile(r"\n\s*+")
_SPACE = re.compile(r"\s*+")
_WORD_START = re.compile(r"\s(?=\S)")
_FLAGS = range(0x1F1E6, 0x1F200)
_HIGH, _LOW = range(0xD800, 0xDC00), range(0xDC00, 0xE000)


def chunks(text: str, cap: int) -> list[str]:
    """Cut a text into chunks of at most ``cap`` characters (1 or more) that are the text if joined.

    A text that fits is one chunk, also an empty one. What is left of a longer one is due in as few chunks of one size
    as can be; the next ends as near to that size as it may, from a half to one and a half of it: after blank lines if
    there are any, or else a line, or a sentence, or a word, or else between two characters that are no part of one
    (accents, joined emoji, flags, pairs of surrogates). So none is shorter than about a quarter of ``cap``, and sizes
    are worked out anew after each. Takes time linear in the text.
    """
    found, start = [], 0
    while (left := len(text) - start) > cap:
        size = left / -(-left // cap)
        end = start + _next_end(text, start, size, cap)
        found.append(text[start:end])
        start = end
    return [*found, text[start:]]


def head(text: str, length: int) -> str:
    """The beginning of a text: at most ``length`` characters, up to the end of a sentence or line, or of a word."""
    if len(text) <= length:
        return text
    # One character more, for whether a full stop ends a sentence shows only behind it.
    begin = length // 2
    window = text[begin : length + 1]
    finders = (lambda each: chain(_lines(each), _sentences(each)), _words, _characters)
    for find in finders:
        if ends := [at for at in find(window) if begin + at <= length and not _is_within(window, at)]:
            return text[: begin + max(ends)].rstrip()
    return text[:length]


def tail(text: str, length: int = 500) -> str:
    """The end of a text, stripped: at most ``length`` characters, from the start of a sentence or line, or a word."""
    text = text.strip()
    if len(text) <= length:
        return text
    least = len(text) - length
    before = max(least - _BEFORE, 0)
    window = text[before:]
    for find in (lambda each: chain(_lines(each), _sentences(each)), _words, _characters):
        starts = [at for at in find(window) if least - before <= at < len(window) and not _is_within(window, at)]
        if starts:
            return window[min(starts) :].strip()
    return text[least:]


def _next_end(text: str, start: int, size: float, cap: int) -> int:
    """How long the next chunk is, which should be of ``size``."""
    least, most = max(int(size / 2), 1), min(int(size * 1.5), cap)
    before = max(start + least - _BEFORE, 0)
    # One character more, for whether a full stop ends a sentence shows only behind it.
    window = text[before : start + most + 1]
    finders: tuple[Callable[[str], Iterable[int]], ...] = (_blank_lines, _lines, _sentences, _words, _characters)
    for find in finders:
        places = (before + at - start for at in find(window) if not _is_within(window, at))
        if ends := [each for each in places if least <= each <= most]:
            return min(ends, key=lambda each: abs(each - size))
    return round(size)


def _blank_lines(text: str) -> Iterable[int]:
    """Where a line begins after an empty one."""
    ends = (match for match in _LINE_END.finditer(text) if match[0].count("\n") > 1)
    return (match.start() + match[0].rfind("\n") + 1 for match in ends)


def _lines(text: str) -> Iterable[int]:
    return (match.start() + match[0].rfind("\n") + 1 for match in _LINE_END.finditer(text))


def _sentences(text: str) -> Iterable[int]:
    """Where a sentence begins, behind the space before it."""
    return (_SPACE.match(text, end).end() for end in sentence_ends(text))  # type: ignore[union-attr]


def _words(text: str) -> Iterable[int]:
    return (match.end() for match in _WORD_START.finditer(text))


def _characters(text: str) -> Iterable[int]:
    return range(len(text))


def _is_within(text: str, at: int) -> bool:
    """Whether what stands around a place is one character to whoever reads it."""
    if not 0 < at < len(text):
        return False
    before, after = ord(text[at - 1]), ord(text[at])
    return (
        belongs(text[at])
        or text[at - 1] == JOINER
        or (before in _FLAGS and after in _FLAGS)
        or (before in _HIGH and after in _LOW)
    )
