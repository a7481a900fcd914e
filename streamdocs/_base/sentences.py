"""Where sentences end, in any language that has punctuation."""

import re
from collections.abc import Iterator

# Punctuation comes first, so that all else in a text is passed over fast.
# The number of a list item ("2.") and an initial ("J.") end no sentence.
_SENTENCE_END = re.compile(
    r"""[.!?…。！？．।؟۔](?:
    (?<=[.!?…])(?<!\n\d.)(?<!\n\d\d.)(?<![\s.][A-Z].)[)\]"'”’*]*(?!\S)
    |(?<=[。！？．।؟۔])[)\]"'”’」』）]*
    )""",
    re.VERBOSE,
)


#: Mostly, and then nearly always, a sentence ends within so many characters of any place.
_TAILS = (150, 1000)


def sentence_ends(text: str, start: int = 0) -> Iterator[int]:
    """Index after each sentence of ``text`` that ends behind ``start``, rising. Takes time linear in the text."""
    return (match.end() for match in _SENTENCE_END.finditer(text, start))


def last_sentence_end(text: str) -> int:
    """Index after the last whole sentence of ``text``, 0 where it has none."""
    for start in (*(len(text) - tail for tail in _TAILS if tail < len(text)), 0):
        if end := max(sentence_ends(text, start), default=0):
            return end
    return 0
