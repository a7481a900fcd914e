"""A text as words: what it repeats, what it shares with another one, and whether both are of one language."""

import re
from functools import cached_property, lru_cache
from itertools import islice

import numpy as np
import numpy.typing as npt

NGRAM = 10
_ALL_KNOWN = b"\1" * NGRAM
#: Letters of a word that are compared: inflected, it is still the same.
_STEM = 5

# Chinese, Japanese, Korean, Thai and their like have no spaces to go by: there, a character is a word.
_FIRST_UNSPACED = "\u0e00"
UNSPACED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"
_IS_UNSPACED = re.compile(rf"[{UNSPACED}]").match
_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
_ASCII_GAPS = {code: " " for code in range(128) if not (chr(code).isalnum() or code == ord("_"))}
#: Distinct characters between words, up to which taking them out one by one is the fastest.
_FEW_GAPS = 40
_FOREIGN = re.compile(r"[^\W\x00-\x7f]+")
# Blocks of Unicode: where each begins, and a number for its script; 0 has none, 1 is Latin.
_BLOCKS = np.array(
    [
        *[(0x0, 1), (0x370, 2), (0x400, 3), (0x530, 4), (0x590, 5), (0x600, 6), (0x700, 0), (0x900, 7), (0x980, 8)],
        *[(0xA00, 9), (0xB80, 10), (0xC00, 11), (0xD80, 12), (0xE00, 13), (0xE80, 14), (0xF00, 0), (0x1000, 15)],
        *[(0x10A0, 16), (0x1100, 17), (0x1200, 18), (0x1400, 0), (0x1780, 19), (0x1800, 0), (0x1E00, 1), (0x1F00, 2)],
        *[(0x2000, 0), (0x3040, 20), (0x3100, 0), (0x3130, 17), (0x3190, 0), (0x3400, 21), (0xA000, 0), (0xAC00, 17)],
        *[(0xD7B0, 0), (0xF900, 21), (0xFB00, 0)],
    ]
)

_LATIN = np.eye(1, 22, 1)[0]
_LAST_LATIN = "\u036f"

Numbers = npt.NDArray[np.uint64]


class Words:
    """The words of a text, in lower case.

    Args:
        text: The text.
        listed: Its words, where they are known.
    """

    def __init__(self, text: str, listed: list[str] | None = None) -> None:
        self._text = text.lower()
        #: All of them.
        self.listed = _listed(self._text) if listed is None else listed

    @cached_property
    def distinct(self) -> frozenset[str]:
        """Each once."""
        return frozenset(self.listed)

    @property
    def sequences(self) -> int:
        """How many times there are ten words in a row."""
        return max(len(self.listed) - NGRAM + 1, 0)

    def up_to(self, text: str, end: int) -> "Words":
        """Those of ``text[:end]``, of the same text, where no word is divided."""
        dropped = len(_listed(text[end:].lower()))
        return Words(text[:end], self.listed[: len(self.listed) - dropped])

    def end_of(self, count: int) -> int:
        """The index in the text after so many words, one at least; only where lower case is as long."""
        spaced = _spaced(self._text)
        if spaced is None:
            return next(islice(_WORD.finditer(self._text), count - 1, None)).end()
        return len(spaced.rsplit(None, len(self.listed) - count)[0])

    @cached_property
    def ngrams(self) -> Numbers:
        """uint64 (words - 9,): a number for every ten words in a row, the same for the same words."""
        return self.runs(NGRAM)

    def runs(self, length: int) -> Numbers:
        """uint64 (words - length + 1,): such a number for every ``length`` words in a row, in this process."""
        if len(self.listed) < length:
            return np.empty(0, np.uint64)
        return np.convolve(self._numbers, _factors(length), "valid")

    @cached_property
    def _numbers(self) -> Numbers:
        return np.fromiter(map(hash, self.listed), np.int64, len(self.listed)).view(np.uint64)

    @cached_property
    def is_unspaced(self) -> bool:
        """Whether most of its words are characters of scripts that have no spaces."""
        if self._text.isascii() or max(self._text) < _FIRST_UNSPACED:
            return False
        return 2 * sum(_IS_UNSPACED(word) is not None for word in self.listed) > len(self.listed)

    @cached_property
    def sorted_ngrams(self) -> Numbers:
        """The same, rising."""
        return np.sort(self.ngrams)

    @cached_property
    def stems(self) -> set[str]:
        """Beginnings of its words of four letters and more, numbers too: what it is about."""
        return {word[:_STEM] for word in self.distinct if len(word) > 3}

    @cached_property
    def short(self) -> set[str]:
        """Words of up to three letters, most of which belong to a language and not to a subject."""
        return {word for word in self.distinct if len(word) < 4 and word.isalpha()}

    @cached_property
    def scripts(self) -> npt.NDArray[np.float64]:
        """float64 (22,): share of the letters that are of each script, as numbered above."""
        if self._text.isascii() or not any(each > _LAST_LATIN and each.isalnum() for each in set(self._text)):
            return _LATIN
        foreign = "".join(_FOREIGN.findall(self._text))
        codes = np.frombuffer(foreign.encode("utf-32-le", "surrogatepass"), np.uint32)
        scripts = _BLOCKS[np.searchsorted(_BLOCKS[:, 0], codes, "right") - 1, 1]
        counts = np.bincount(scripts, minlength=22).astype(float)
        counts[0] = 0
        counts[1] += sum(map(len, self.listed)) - counts.sum()
        return np.maximum(counts, 0) / max(counts.sum(), 1.0)


@lru_cache
def _factors(length: int) -> Numbers:
    """Odd, one for each word of a run."""
    return np.array([pow(0x9E3779B97F4A7C15, power, 1 << 64) for power in range(length)], np.uint64)


def _listed(text: str) -> list[str]:
    spaced = _spaced(text)
    return _WORD.findall(text) if spaced is None else spaced.split()


def _spaced(text: str) -> str | None:
    """A text with a space for each character between words, as long; None where words are no runs of letters."""
    if not text.isascii():
        characters = set(text)
        gaps = {each for each in characters if not (each.isalnum() or each == "_")}
        if len(gaps) > _FEW_GAPS or any(each >= _FIRST_UNSPACED for each in characters - gaps):
            return None
        # Where only punctuation is not ASCII, the rest is as fast as below.
        for gap in sorted(gaps, reverse=True):
            if text.isascii():
                break
            text = text.replace(gap, " ")
    return text.translate(_ASCII_GAPS) if text.isascii() else text


def repeats_more(words: Words, than: float) -> bool:
    """Whether a text has more ten-word sequences than that which it had before."""
    listed = words.listed
    # What came before came before in each of its parts, and three words are known much faster.
    if len(listed) - 2 - len(set(zip(listed, listed[1:], listed[2:], strict=False))) <= than:
        return False
    ngrams = words.sorted_ngrams
    return np.count_nonzero(ngrams[1:] == ngrams[:-1]) > than


def shares_more(some: Words, others: Words, than: float) -> bool:
    """Whether a text has more ten-word sequences than that which another one has, too."""
    known = bytes(map(others.distinct.__contains__, some.listed))
    if _sequences(known) <= than or len(others.listed) < NGRAM:
        return False
    sought, found = some.ngrams, others.sorted_ngrams
    places = found.searchsorted(sought)
    places[places == len(found)] = 0
    return np.count_nonzero(found[places] == sought) > than


def _sequences(known: bytes | bytearray) -> int:
    """How many ten words in a row are known, each by itself: mostly none, without a look at any sequence."""
    if _ALL_KNOWN not in known:
        return 0
    return sum(len(run) - NGRAM + 1 for run in known.split(b"\0") if len(run) >= NGRAM)


def tail_seen_before(words: Words, dropped: int = 0) -> int:
    """How many words at the end of a text stand so before, all of them at one distance: a loop, or a second copy.

    0 where they are fewer than ten. ``dropped``: so many last words are left out.
    """
    ngrams = words.ngrams[: len(words.ngrams) - dropped]
    longest = 0
    for place in np.flatnonzero(ngrams[:-1] == ngrams[-1])[::-1][:64] if len(ngrams) else ():
        distance = len(ngrams) - 1 - int(place)
        differs = np.flatnonzero(ngrams[distance:] != ngrams[:-distance])
        same = int(place) - int(differs[-1]) if len(differs) else int(place) + 1
        longest = max(longest, same + NGRAM - 1)
        if longest > len(ngrams) // 2:
            break
    return longest
