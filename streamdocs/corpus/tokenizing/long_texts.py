"""Texts of many megabytes, a piece at a time: a tokenizer takes a hundred bytes of memory for each byte of one text."""

import re
from collections.abc import Iterator

import numpy as np
from tokenizers import Encoding, Tokenizer

from streamdocs._base.arrays import Ints

#: Texts of more characters are encoded in pieces.
LONG = 1 << 20
# Characters of a piece, and how many the next one begins before its end.
_PIECE, _OVERLAP = 1 << 17, 1 << 12
# Two pieces that agree on so many tokens on both sides of a place go on alike.
_AGREE = 32

# Learning from one word takes time in the square of its length: a line of ten million letters would take for ever.
_LONGEST_WORD = 1024
_LONG_WORD = re.compile(rf"\S{{{_LONGEST_WORD}}}|\s{{{_LONGEST_WORD}}}")


def pieces_to_learn_from(text: str) -> Iterator[str]:
    """A text in pieces that a tokenizer can be trained on; where it is not long, nor a word of it is, as it is."""
    if _LONG_WORD.search(text):
        yield from (text[start : start + _LONGEST_WORD] for start in range(0, len(text), _LONGEST_WORD))
    elif len(text) <= LONG:
        yield text
    else:
        start = 0
        while start < len(text):
            space = text.rfind(" ", start + 1, start + _PIECE)  # a word begins with the space before it
            stop = space if space > start and start + _PIECE < len(text) else start + _PIECE
            yield text[start:stop]
            start = stop


def encode_long(tokenizer: Tokenizer, text: str) -> list[int] | None:
    """The tokens of a long text, the same as all at once.

    Each piece overlaps the next one, and is left for it in the middle of tokens that both of them have.

    Returns:
        None where two pieces do not come to agree, as within a word that is longer than what they share.
    """
    tokens: list[int] = []
    before = _Piece(tokenizer, text, 0)
    while before.stop < len(text):
        after = _Piece(tokenizer, text, before.stop - _OVERLAP)
        place = _common_place(before, after)
        if place is None:
            return None
        tokens += before.ids[: place[0]].tolist()
        after.drop(place[1])
        before = after
    return tokens + before.ids.tolist()


class _Piece:
    """Tokens of a part of a text, and where in the text each begins."""

    def __init__(self, tokenizer: Tokenizer, text: str, start: int) -> None:
        self.stop = min(start + _PIECE, len(text))
        encoding: Encoding = tokenizer.encode(text[start : self.stop], add_special_tokens=False)
        self.ids: Ints = np.array(encoding.ids, np.int64)
        self.begins: Ints = np.array([begin for begin, _ in encoding.offsets], np.int64) + start

    def drop(self, tokens: int) -> None:
        self.ids, self.begins = self.ids[tokens:], self.begins[tokens:]


def _common_place(before: _Piece, after: _Piece) -> tuple[int, int] | None:
    """The token of either piece at which one may be left for the other, about the middle of what they share."""
    middle = before.stop - _OVERLAP // 2
    first = int(np.searchsorted(before.begins, middle))
    for at in range(first, len(before.begins) - _AGREE):
        same = int(np.searchsorted(after.begins, before.begins[at]))
        ours, theirs = slice(at - _AGREE, at + _AGREE), slice(same - _AGREE, same + _AGREE)
        if at < _AGREE or same < _AGREE or len(after.ids) < same + _AGREE:
            continue
        if (before.ids[ours] == after.ids[theirs]).all() and (before.begins[ours] == after.begins[theirs]).all():
            return at, same
    return None
