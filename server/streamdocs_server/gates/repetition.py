"""What a text says again and again."""

from streamdocs_server._base.sentences import last_sentence_end
from streamdocs_server.gates.words import NGRAM, Words, tail_seen_before

#: Ten-word sequences, and characters of lines, that may come again in a text of any length: a clause, a refrain.
_CLAUSE, _LINES = 20, 100


def repeats(words: Words, limit: float) -> bool:
    """Whether more than a share of the ten-word sequences was seen before, and more than a clause of them."""
    again = len(words.ngrams) - len(words.distinct_ngrams)
    return again > max(limit * len(words.ngrams), _CLAUSE)


def repeats_lines(text: str, limit: float) -> bool:
    """Whether more than a share of the characters is in lines seen before, and more than a few lines of them."""
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    total = sum(map(len, lines))
    return total - sum(map(len, set(lines))) > max(limit * total, _LINES)


def without_loop(text: str, words: Words) -> str:
    """A text that ends with what it said before, up to the last sentence before it does; any other as it is."""
    # The last word may be cut off.
    again, dropped = max((tail_seen_before(words, dropped), dropped) for dropped in (0, 1))
    if again < _CLAUSE + NGRAM or len(text) != len(text.lower()):
        return text
    end = words.ends()[-again - dropped - 1]
    return text[: last_sentence_end(text[: end + 2])] or text
