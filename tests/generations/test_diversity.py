"""How different generations are: counted by hand, of the newest thousand alone, and in any script."""

import json
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdocs.generations.diversity import (
    COPIED,
    FEWEST,
    LIMITS,
    NEWEST,
    SEQUENCES,
    Diversity,
    Group,
    Newest,
    Source,
    diversity_rows,
)

WORDS = [f"word{number}" for number in range(5000)]
ANY = Source("Nothing of this is anywhere else.")


def prose(seed: int, words: int = 60) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def measured(texts, source=ANY) -> Diversity:
    newest = Newest()
    for text in texts:
        newest.add(text, source)
    found = newest.measure()
    assert found and newest.added == len(texts)
    return found


def test_nothing_is_said_of_nothing():
    assert Newest().measure() is None


def test_figures_are_those_of_the_definitions():
    texts = [prose(n, 40 + n % 30) for n in range(300)] + [prose(n) for n in range(3)] + [prose(0)]
    texts += ["The  SAME\nsix words again, then " + prose(n) for n in range(40)]
    found = measured(texts)
    lengths = [len(text) for text in texts]
    assert found.texts == 344 and found.repeated == (len(texts) - len(set(texts))) / 344 > 0
    assert (found.opening, found.alike) == ("the same six words again, then", 40 / 344)
    assert found.length_mean == pytest.approx(statistics.fmean(lengths))
    assert found.length_spread == pytest.approx(statistics.pstdev(lengths))
    assert found.length_p10 <= found.length_p50 == statistics.median(lengths) <= found.length_p90
    words = [text.lower().split() for text in texts]
    sequences = [tuple(each[at : at + 3]) for each in words for at in range(len(each) - 2)]
    assert found.distinct == len(set(sequences[-SEQUENCES:])) / SEQUENCES
    assert found.copied == 0


def test_only_the_newest_thousand_count():
    old = ["Always the very same text of some words and no more."] * 700
    new = [prose(n) for n in range(NEWEST)]
    assert measured(old).repeated == 699 / 700
    assert measured(old + new) == measured(new)
    assert measured(old + new[1:]).repeated == 0 and measured(old + new[2:]).repeated == 1 / NEWEST


def test_distinct_is_of_as_many_words_whatever_the_texts():
    words = [random.Random(n).choice(WORDS) for n in range(60_000)]
    by_length = {}
    for length in (30, 100, 400):
        texts = [" ".join(words[at : at + length]) for at in range(0, 12_000, length)]
        by_length[length] = measured(texts).distinct
    assert max(by_length.values()) - min(by_length.values()) < 0.01
    assert measured([prose(n, 100) for n in range(100)]).distinct is None  # 9,800 sequences
    loops = ["one two three four five " * 20] * 200
    assert measured(loops).distinct == 5 / SEQUENCES


DOCUMENT = prose(1, 400)


@pytest.mark.parametrize(
    ("share", "copied"), [(0.0, False), (0.5, False), (0.66, False), (0.75, True), (0.9, True), (1.0, True)]
)
def test_a_near_copy_is_most_of_a_text(share, copied):
    words = DOCUMENT.split()
    kept = int(share * 200)
    text = " ".join([*words[50 : 50 + kept], *prose(2, 200 - kept).split()])
    for source in (DOCUMENT, f"Before. {DOCUMENT.upper()}\n\nAfter."):
        assert measured([text], Source(source)).copied == copied


def test_words_of_the_document_in_another_order_are_no_copy():
    words = DOCUMENT.split()
    random.Random(3).shuffle(words)
    assert measured([" ".join(words)], Source(DOCUMENT)).copied == 0
    assert measured([" ".join(words[: COPIED - 1])], Source(" ".join(words))).copied == 0  # too short to tell
    assert measured([" ".join(words[:COPIED])], Source(" ".join(words))).copied == 1


def test_scripts_without_spaces_are_read_by_characters():
    rng = random.Random(4)
    text = "".join(chr(rng.randrange(0x4E00, 0x9000)) for _ in range(400))
    others = ["".join(rng.sample(text, 300)) for _ in range(60)]
    found = measured([text[50:250], *others], Source(text))
    assert found.copied == pytest.approx(1 / 61) and len(found.opening) == 23 and found.distinct > 0.9


def test_what_has_collapsed_is_said_from_the_limits_on():
    sound = [prose(n) for n in range(1000)]
    assert measured(sound).collapses() == {}
    alike = int(LIMITS["openings"] * 1000)
    for count, causes in ((alike - 1, set()), (alike, {"openings"})):
        texts = [f"It is well known that all {text}" for text in sound[:count]] + sound[count:]
        assert set(measured(texts).collapses()) == causes
    found = measured(["\x1b[31mThe same." * 20] * FEWEST, Source("The same." * 20))
    assert set(found.collapses()) == {"repeated", "openings"}
    assert "\\x1b" in found.collapses()["openings"] and "\x1b" not in found.collapses()["openings"]
    assert measured(["The same."] * (FEWEST - 1)).collapses() == {}
    assert set(measured([DOCUMENT] * FEWEST, Source(DOCUMENT)).collapses()) == {*LIMITS}


def test_what_rules_write_is_alike_by_design():
    found = measured([DOCUMENT] * FEWEST, Source(DOCUMENT))
    rule, model = Group("a", "template-cloze", "template"), Group("a", "easy", "small")
    assert rule.collapses(found) == {} and set(model.collapses(found)) == {*LIMITS}
    assert str(model) == "style easy by small (a)"
    rows = diversity_rows({rule: found, model: found})
    assert [row["collapsed"] for row in rows] == [[], [*LIMITS]] and rows[0]["writer"] == "template"
    assert rows[1]["alike"] == 1 and json.dumps(rows)


@given(st.lists(st.text(max_size=60), min_size=1, max_size=30), st.text(max_size=200))
def test_anything_is_measured(texts, document):
    found = measured(texts, Source(document))
    assert found == measured(texts, Source(document))
    assert 0 <= found.repeated < 1 and 0 <= found.copied <= 1 and 0 < found.alike <= 1
    assert found.length_p10 <= found.length_p50 <= found.length_p90
