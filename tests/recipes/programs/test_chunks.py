import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.strategies import wild_texts
from streamdocs.recipes.programs.chunks import chunks, tail

FAMILY, FLAG, ACCENTED = "👩‍👩‍👧", "🇩🇪", "e\u0301"
pieces = st.sampled_from(
    [
        "\n",
        "\n\n",
        " ",
        "a",
        "word ",
        "end. ",
        "。",
        "漢字",
        FAMILY,
        FLAG,
        ACCENTED,
        "\ud83d",
        "\ude00",
        "\r\n",
        "J. ",
        "\t",
    ]
)
any_text = st.one_of(wild_texts, st.text(st.characters(), max_size=300), st.lists(pieces, max_size=150).map("".join))
SENTENCE = "The river rises in the north and runs past old towns. "


@given(any_text, st.integers(1, 80))
def test_chunks_put_together_are_the_text(text: str, cap: int):
    found = chunks(text, cap)
    assert "".join(found) == text
    assert all(len(each) <= cap for each in found)
    assert len(found) == 1 or min(map(len, found)) >= max(cap // 4, 1)


@given(any_text, st.integers(1, 80))
def test_a_tail_is_the_end_of_the_text(text: str, length: int):
    found = tail(text, length)
    assert text.strip().endswith(found)
    assert len(found) <= length
    assert found or not text.strip() or text.strip()[-1:] != found[-1:]


def test_a_text_that_fits_is_left_alone():
    assert chunks("", 5) == [""]
    assert chunks("a\n\nb", 4) == ["a\n\nb"]


@pytest.mark.parametrize(
    ("text", "cap", "expected"),
    [
        ("a b. c\nd e\n\nf g h. i", 15, ["a b. c\nd e\n\n", "f g h. i"]),
        ("a b. c d\n  e f. g h", 12, ["a b. c d\n", "  e f. g h"]),
        ("Said J. Holm. But not now", 16, ["Said J. Holm. ", "But not now"]),
        ("one two three four", 12, ["one two ", "three four"]),
        ("北方的河流。流向大海吗？", 8, ["北方的河流。", "流向大海吗？"]),
        ("abcdefghij", 6, ["abcde", "fghij"]),
        ("a\r\n\r\nb c d", 7, ["a\r\n\r\n", "b c d"]),
    ],
)
def test_a_cut_is_after_the_largest_part_that_ends_there(text: str, cap: int, expected: list[str]):
    assert chunks(text, cap) == expected


def test_sizes_are_much_the_same():
    sizes = [len(each) for each in chunks(SENTENCE * 100, 1000)]
    assert len(sizes) == -(-len(SENTENCE) * 100 // 1000)
    assert max(sizes) - min(sizes) < 2 * len(SENTENCE)
    assert [len(each) for each in chunks("x" * 1001, 1000)] == [500, 501]


@pytest.mark.parametrize("character", [FAMILY, FLAG, ACCENTED, "\ud83d\ude00", "👍🏽", "नि"])
def test_no_character_is_cut_in_two(character: str):
    for cap in range(3 * len(character), 40):
        for text in ("a" + character + "b" * 30, ("a" + character) * 30):
            assert all(not each.startswith(character[1:]) for each in chunks(text, cap))
            assert not tail(text, cap).startswith(character[1:])


def test_where_all_is_one_character_it_is_cut_all_the_same():
    assert list(map(len, chunks("e" + "\u0301" * 99, 60))) == [50, 50]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  short  ", "short"),
        ("One is here. Two is there. Three is far.", "Two is there. Three is far."),
        ("some words without any end that is told of", "any end that is told of"),
        ("a heading\nand its text which is long", "and its text which is long"),
        ("北方的河流流向大海。它经过古老的石头城镇。它们都在山谷里。", "它经过古老的石头城镇。它们都在山谷里。"),
        ("x" * 100, "x" * 30),
    ],
)
def test_a_tail_begins_with_a_sentence_or_else_a_word(text: str, expected: str):
    assert tail(text, 30 if text.isascii() else 22) == expected


def test_a_tail_of_a_text_is_that_of_what_it_begins_with():
    texts = [SENTENCE * count for count in range(8, 20)]
    assert all(tail(one) == tail(other) for one, other in pairwise(texts) if len(one) > 600)
    assert 400 < len(tail(texts[-1])) <= 500


@pytest.mark.parametrize("unit", ["a", " ", "\n", "a\n\n", "x. ", "\u0301", "。", " \n", FLAG, "1. "])
def test_long_texts_take_time_by_their_length(unit: str):
    text = unit * (2**18 // len(unit))
    start = time.process_time()
    for cap in (200, 10_000, 2**17):
        assert "".join(chunks(text, cap)) == text
        tail(text, cap)
    assert time.process_time() - start < 6
