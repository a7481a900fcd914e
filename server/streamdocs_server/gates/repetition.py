"""What a text says again and again."""

from streamdocs._base.sentences import last_sentence_end
from streamdocs_server.gates.words import NGRAM, Words, repeats_more, tail_seen_before

#: Ten-word sequences, and characters of lines, that may come again in a text of any length: a clause, a refrain.
_CLAUSE, _LINES = 20, 100


def repeats(words: Words, limit: float) -> bool:
    """Whether more than a share of the ten-word sequences was seen before, and more than a clause of them."""
    return repeats_more(words, max(limit * words.sequences, _CLAUSE))


def repeats_lines(text: str, limit: float) -> bool:
    """Whether more than a share of the characters is in lines seen before, and more than a few lines of them."""
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    total = sum(map(len, lines))
    return total - sum(map(len, set(lines))) > max(limit * total, _LINES)


def end_before_loop(text: str, words: Words) -> int:
    """Where the last sentence ends before a text says again, up to its end, what it said; else where it ends."""
    again, dropped = tail_seen_before(words), 0
    if again < _CLAUSE + NGRAM:
        # The last word may be cut off.
        again, dropped = tail_seen_before(words, 1), 1
    if again < _CLAUSE + NGRAM or len(text) != len(text.lower()):
        return len(text)
    end = words.end_of(len(words.listed) - again - dropped)
    return last_sentence_end(text[: end + 2]) or len(text)
