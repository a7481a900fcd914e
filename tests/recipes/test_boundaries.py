"""Cuts go between words, or else between characters: worked out for many at once as it would be one by one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdocs.recipes.boundaries import REACH, TokenBoundaries

TEXTS = [
    "a", "b ", " c", " ", "\n\n", "\xa0d", "中", "é", "\u0301", "\u200d", "👩\u200d", "👩", "🏽", "\ufe0f", "e\u0301",
    *(bytes([byte]) for byte in "中\xa0".encode()), "中".encode()[1:] + b"x", b"y" + "中".encode()[:2], b"",
]  # fmt: skip
BYTES = [text.encode() if isinstance(text, str) else text for text in TEXTS]
TABLE = TokenBoundaries.of(dict(enumerate(BYTES)))
BELONGS = ("\u0301", "\u200d", "🏽", "\ufe0f")


def nearest(tokens: list[int], cut: int) -> int:
    """In plain words: of the places where a document may be cut, the nearest, whitespace first."""
    characters, words = [0, len(tokens)], []
    for at in range(1, len(tokens)):
        before, after = (BYTES[token] for token in tokens[at - 1 : at + 1])
        first, last = after.decode(errors="ignore")[:1], before.decode(errors="ignore")[-1:]
        if (after and 0x80 <= after[0] < 0xC0) or (first and first in BELONGS) or last == "\u200d":
            continue
        characters.append(at)
        if first.isspace() or last.isspace():
            words.append(at)
    near = [at for at in words if abs(at - cut) <= REACH] or characters
    return min(near, key=lambda at: (abs(at - cut), at))


documents = st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=80)


@settings(deadline=None)
@given(st.lists(st.tuples(documents, st.lists(st.floats(0, 1), max_size=5)), min_size=1, max_size=6))
def test_cuts_of_many_documents_are_those_of_each(drawn):
    drawn = [(tokens, sorted(int(share * len(tokens)) for share in shares)) for tokens, shares in drawn]
    moved = TABLE.nearest(
        np.concatenate([np.array(tokens, np.uint16) for tokens, _ in drawn]),
        np.array([len(tokens) for tokens, _ in drawn]),
        np.array([cut for _, cuts in drawn for cut in cuts], np.int64),
        np.array([len(cuts) for _, cuts in drawn]),
    )
    assert moved.tolist() == [nearest(tokens, cut) for tokens, cuts in drawn for cut in cuts]
    counts = np.cumsum([len(cuts) for _, cuts in drawn])
    assert all((np.diff(each) >= 0).all() for each in np.split(moved, counts))


def cut(words: list[str], cuts: list[int]) -> list[int]:
    table = TokenBoundaries.of(dict(enumerate(word.encode() for word in words)))
    tokens = np.arange(len(words), dtype=np.uint16)
    return table.nearest(tokens, np.array([len(words)]), np.array(cuts), np.array([len(cuts)])).tolist()


def test_a_cut_that_is_between_words_stays():
    words = [f" w{n}" for n in range(12)]
    assert cut(words, [3, 6, 9]) == [3, 6, 9]


def test_a_cut_goes_to_the_nearer_end_of_a_word():
    assert cut(["in", "ter", "na", "tion", " al", "pha", "bet", "\n", "end"], [1, 2, 3, 5, 6, 8]) == [4, 4, 4, 4, 7, 8]


def test_a_text_without_spaces_is_cut_between_characters():
    assert cut(["中"] * 60, [15, 30, 45]) == [15, 30, 45]
    assert cut([" "] + ["中"] * 60, [10, 30]) == [1, 30]
    assert cut(["中", "e", "\u0301", "👩", "\u200d", "🚀", "中"], [2, 4, 5]) == [1, 3, 6]
