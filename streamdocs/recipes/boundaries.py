"""Where a document may be cut: between words, or else between characters. Arithmetic on its tokens alone."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from streamdocs._base.arrays import Bools, Ints, Tokens

#: A cut goes to a word at most so many tokens away. Otherwise (Chinese has no spaces) it only spares the character.
REACH = 16

_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_CONTINUATION = range(0x80, 0xC0)  # of the bytes of a character in UTF-8, all but the first
_FAR = 1 << 60


@dataclass(frozen=True)
class TokenBoundaries:
    """What of a tokenizer's tokens can be told apart at their ends, by token: bool (vocabulary,).

    Args:
        continues: It begins within a character, or with what belongs to the one before (accents, joined emoji).
        joins: What follows it belongs to its last character.
        opens, closes: It begins, or ends, with whitespace.
    """

    continues: Bools
    joins: Bools
    opens: Bools
    closes: Bools

    @classmethod
    def of(cls, texts: Mapping[int, bytes]) -> "TokenBoundaries":
        """Of what each token stands for, by its id."""
        size = max(texts, default=-1) + 1
        table = cls(*(np.zeros(size, np.bool_) for _ in range(4)))
        for token, text in texts.items():
            chars = text.decode(errors="ignore")
            table.continues[token] = bool(text) and (text[0] in _CONTINUATION or _belongs(chars[:1]))
            table.joins[token] = chars.endswith(_JOINER)
            table.opens[token], table.closes[token] = chars[:1].isspace(), chars[-1:].isspace()
        return table

    def nearest(self, tokens: Tokens, lengths: Ints, cuts: Ints, counts: Ints) -> Ints:
        """Each cut where it is nearest to a boundary: int64 (cuts,), tokens from the start of its document.

        Within ``REACH`` tokens of it that is the nearest whitespace inside the document, elsewhere the nearest
        character. Cuts that rose still rise.

        Args:
            tokens: Of some documents, end to end.
            lengths: int64 (documents,), tokens of each; at least one.
            cuts: int64 (cuts,), where they would be cut, tokens from the start of each; those of a document together.
            counts: int64 (documents,), cuts of each.
        """
        firsts = np.cumsum(lengths) - lengths
        within = self.continues[tokens]
        within[1:] |= self.joins[tokens[:-1]]
        word = self.opens[tokens]
        word[1:] |= self.closes[tokens[:-1]]
        word &= ~within
        word[firsts] = within[firsts] = False
        first, last = np.repeat(firsts, counts), np.repeat(firsts + lengths, counts)
        at = first + cuts
        words = _nearest(np.flatnonzero(word), at, first, last)
        characters = _nearest(np.append(np.flatnonzero(~within), len(tokens)), at, first, last)
        return np.where(np.abs(words - at) <= REACH, words, characters) - first


def _nearest(places: Ints, at: Ints, first: Ints, last: Ints) -> Ints:
    """Of sorted ``places``, the nearest to each of ``at`` from ``first`` to ``last``, the lower of two; or far away."""
    lower = np.insert(places, 0, -_FAR)[np.searchsorted(places, at, side="right")]
    upper = np.append(places, _FAR)[np.searchsorted(places, at)]
    lower, upper = np.where(lower >= first, lower, -_FAR), np.where(upper <= last, upper, _FAR)
    return np.where(at - lower <= upper - at, lower, upper)


def _belongs(char: str) -> bool:
    """Whether a character belongs to the one before it, as far as a character alone can tell (Unicode, annex 29)."""
    return char == _JOINER or unicodedata.category(char or " ")[0] == "M" or ord(char or " ") in _SKIN_TONES
