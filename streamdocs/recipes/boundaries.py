"""Where a document may be cut: between words, or else between characters. Arithmetic on its tokens alone."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Ints, Tokens

#: A cut goes to a word at most so many tokens away. Otherwise (Chinese has no spaces) it only spares the character.
REACH = 16

#: Joins emoji to one.
JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_CONTINUATIONS = [bytes([byte]) for byte in range(0x80, 0xC0)]  # of a character in UTF-8, all bytes but the first
_FAR = 1 << 60


# What is known of a token by itself. The upper two are of what follows it, as the lower two are of itself: shifted onto
# the next token, all that is known of a place is in two bits.
_WITHIN, _WORD, _JOINS, _CLOSES = 1, 2, 4, 8


@dataclass(frozen=True)
class TokenBoundaries:
    """What of a tokenizer's tokens can be told apart at their ends.

    Args:
        ends: uint8 (vocabulary,), of each token, added up: 1, it begins within a character, or with what belongs to the
            one before (accents, joined emoji); 2, it begins with whitespace; 4, what follows belongs to its last
            character; 8, it ends with whitespace.
    """

    ends: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, texts: Mapping[int, bytes]) -> "TokenBoundaries":
        """Of what each token stands for, by its id."""
        ends = np.zeros(max(texts, default=-1) + 1, np.uint8)
        for token, text in texts.items():
            chars = text.decode(errors="ignore")
            ends[token] = (
                _WITHIN * (text[:1] in _CONTINUATIONS or belongs(chars[:1]))
                + _WORD * chars[:1].isspace()
                + _JOINS * chars.endswith(JOINER)
                + _CLOSES * chars[-1:].isspace()
            )
        return cls(ends)

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
        places = self.ends[tokens]
        places[1:] |= places[:-1] >> np.uint8(2)
        places &= _WITHIN | _WORD
        places[firsts] = 0
        first, last = np.repeat(firsts, counts), np.repeat(firsts + lengths, counts)
        at = first + cuts
        moved = _nearest(np.flatnonzero(places == _WORD), at, first, last)
        far = np.abs(moved - at) > REACH
        if far.any():
            characters = np.append(np.flatnonzero(places & _WITHIN == 0), len(tokens))
            moved[far] = _nearest(characters, at[far], first[far], last[far])
        return moved - first


def _nearest(places: Ints, at: Ints, first: Ints, last: Ints) -> Ints:
    """Of sorted ``places``, the nearest to each of ``at`` from ``first`` to ``last``, the lower of two; or far away."""
    lower = np.insert(places, 0, -_FAR)[np.searchsorted(places, at, side="right")]
    upper = np.append(places, _FAR)[np.searchsorted(places, at)]
    lower, upper = np.where(lower >= first, lower, -_FAR), np.where(upper <= last, upper, _FAR)
    return np.where(at - lower <= upper - at, lower, upper)


def belongs(char: str) -> bool:
    """Whether a character belongs to the one before it, as far as a character alone can tell (Unicode, annex 29)."""
    return char == JOINER or unicodedata.category(char or " ")[0] == "M" or ord(char or " ") in _SKIN_TONES
