"""How a text compares with its document: a copy, in another language, about something else."""

from streamdocs_server.gates.source import Source
from streamdocs_server.gates.words import Words, shares_more

#: Fewer words than this tell neither language nor subject.
_LEAST_WORDS = 25
#: Distinct short words that tell a language, and words of a text that are looked at for it.
_LEAST_SHORT, _LOOKED_AT = 6, 400
#: Who shares so much of the longer words, shares the language.
_SURELY_SAME = 0.4
#: Of the short words of a text, the least share that another text of the same language has as well.
_SAME_LANGUAGE = 0.3
#: Of the letters of a text, the most that may be of scripts which its document does not use.
_FOREIGN_LETTERS = 0.15


def is_copy(text: str, words: Words, source: Source, limit: float) -> bool:
    """Whether more than a share of the ten-word sequences is the document's, or the document is in a text as it is."""
    return limit < 1 and (source.is_within(text) or shares_more(words, source.words, limit * words.sequences))


def repeats_instructions(words: Words, source: Source) -> bool:
    """Whether the prompt's own words are in a text."""
    return shares_more(source.instructions, words, 0) and not source.repeats_instructions


def is_another_language(words: Words, source: Source) -> bool:
    """Whether a text is in another script than its document, or shares none of its little words."""
    theirs = source.words
    if min(len(words.listed), len(theirs.listed)) < _LEAST_WORDS:
        return False
    if words.scripts is not theirs.scripts and words.scripts[theirs.scripts < 0.01].sum() > _FOREIGN_LETTERS:
        return True
    if shared(words, source) > _SURELY_SAME or min(len(words.short), len(theirs.short)) < _LEAST_SHORT:
        return False
    looked_at, both = words.listed[:_LOOKED_AT], words.short & theirs.short
    return _count(looked_at, both) < _SAME_LANGUAGE * _count(looked_at, words.short)


def is_off_topic(words: Words, source: Source, least: float) -> bool:
    """Whether less than a share of what a text is about is in its document."""
    return min(len(words.listed), len(source.words.listed)) >= _LEAST_WORDS and shared(words, source) < least


def shared(words: Words, source: Source) -> float:
    """Share of what a text is about that its document has, too; 1 where it is about nothing."""
    return len(words.stems & source.words.stems) / len(words.stems) if words.stems else 1.0


def _count(listed: list[str], wanted: set[str]) -> int:
    return sum(map(wanted.__contains__, listed))
