"""Which names are the same name."""

import unicodedata
from functools import lru_cache

#: So much of a name is looked at: normalising a run of marks takes the square of its length.
MOST_CHARACTERS = 256
#: A plural is made with ``es`` after these, and some singulars end in ``e`` after them.
_BEFORE_ES = ("se", "xe", "ze", "che", "she", "oe")


def normalised(name: str) -> str:
    """The form in which a name is compared with others; "" where there is nothing to compare.

    NFKC, case folding, apostrophes left out, runs of all but letters, marks, numbers and ``+#`` as one space. Then each
    word loses its final ``s``, but not one of ``ss``, ``us`` or ``is``; of what is left, a final ``ie`` becomes ``y``,
    and an ``e`` after s, x, z, ch, sh or o goes: so singular and plural of "theory", "movie", "class", "case" and
    "hero" meet. Words of up to three letters stay as they are, before and after. The form is not one to be read, nor
    to be normalised again.

    Takes any string, and time linear in it.
    """
    folded = unicodedata.normalize("NFKC", name[:MOST_CHARACTERS]).casefold()
    return " ".join(map(_singular, unicodedata.normalize("NFKC", folded).translate(_WORDS).split()))


@lru_cache(1 << 16)
def _singular(word: str) -> str:
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if len(word) > 3 and word.endswith("ie"):
        return word[:-2] + "y"
    return word[:-1] if len(word) > 3 and word.endswith(_BEFORE_ES) else word


class _Words(dict[int, str]):
    """What each character becomes, found when it is first seen."""

    def __missing__(self, point: int) -> str:
        character = chr(point)
        kept = character in "+#" or unicodedata.category(character)[0] in "LMN"
        return self.setdefault(point, character if kept else " ")


_WORDS = _Words({ord(apostrophe): "" for apostrophe in "'\u2019\u02bc"})
