import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.strategies import wild_texts
from streamdocs._base.hashing import permutation
from streamdocs.recipes.programs.concepts import MOST_CHARS, MOST_CONCEPTS, MOST_TOPICS, Concepts
from streamdocs.recipes.programs.parsing import Parsed, parse
from streamdocs.recipes.programs.program import Step

STEP = Step(name="concepts", prompt="{document}", parser="concepts", kind="free", once=True)
ANSWER = """Here you are:
<level>High school</level>
<subject>Biology</subject>
<topic>
Photosynthesis
- chlorophyll
- light reactions
</topic>
< Topic 2 > 1. **Respiration**:
   1) ATP.
   2) ATP
   * atp
   "Krebs cycle";
</topic>"""
PLAIN = """level: High school
subject: Biology

topic: Photosynthesis
- chlorophyll
- light reactions

topic: Respiration
- ATP
- Krebs cycle"""


def read(text: str) -> Concepts | None:
    parsed = parse(STEP, text)
    if parsed.fault:
        assert parsed == Parsed(fault="not as asked")
        return None
    [output] = parsed.outputs
    found = Concepts.read(output["concepts"])
    assert found is not None and str(found) == output["concepts"]
    return found


def test_what_is_kept_of_an_answer_is_one_plain_form():
    assert parse(STEP, ANSWER).outputs == ({"concepts": PLAIN},)
    topics = (("Photosynthesis", ("chlorophyll", "light reactions")), ("Respiration", ("ATP", "Krebs cycle")))
    assert Concepts.read(PLAIN) == Concepts("High school", "Biology", topics)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("- C++", "C++"),
        ("C#", "C#"),
        ("• item", "item"),
        ("•item", "item"),
        ("(12) Bayes' theorem.", "Bayes' theorem"),
        ("1. 2) - nested", "nested"),
        ("**bold**,", "bold"),
        ("“quoted”:", "quoted"),
        ("-ing form", "-ing form"),
        ("2.5 GHz band", "2.5 GHz band"),
        ("3D printing", "3D printing"),
        ("a\tb\x00c \ud800d", "a b c d"),
        ("half\u2028way", "way"),
        ("光合作用", "光合作用"),
        ("x" * MOST_CHARS, "x" * MOST_CHARS),
        ("x" * (MOST_CHARS + 1), None),
        ("---", None),
        ("*", None),
        ("7.", "7"),
    ],
)
def test_a_name_is_what_is_one_in_its_line(line: str, name: str | None):
    found = read(f"<topic>t\n{line}</topic>")
    if line.startswith("half"):  # which ends a line
        assert found.topics == (("t", ("half", "way")),)
        return
    assert found == (Concepts("", "", (("t", (name,)),)) if name else None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Photosynthesis",
        "<topic>only a name</topic>",
        "<topic>cut off\n- a",
        "<topic>\n\n</topic>",
        "<level>x</level>",
    ],
)
def test_without_a_topic_with_a_key_concept_it_is_not_as_asked(text: str):
    assert read(text) is None


def test_no_more_is_kept_than_may_be():
    concepts = "\n".join(f"- c{number}" for number in range(30))
    found = read("".join(f"<topic>t{number}\n{concepts}</topic>" for number in range(9)))
    assert [name for name, _ in found.topics] == [f"t{number}" for number in range(MOST_TOPICS)]
    assert all(len(each) == MOST_CONCEPTS for _, each in found.topics) and len(found.names) == MOST_CONCEPTS


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda name: "\n" not in name)
topics = st.lists(st.tuples(names, st.lists(names, max_size=4).map(tuple)), max_size=4).map(tuple)


@given(names, names, topics)
def test_a_plain_form_is_read_back(level, subject, topics):
    concepts = Concepts(level, subject, topics)
    assert Concepts.read(str(concepts)) == concepts


@given(wild_texts)
def test_any_text_is_read_or_is_none(text: str):
    for each in (text, f"level: {text}", f"level: a\nsubject: b\n\ntopic: {text}", PLAIN + text):
        found = Concepts.read(each)
        assert found is None or str(found) == each


@settings(deadline=None)
@given(st.integers(1, 120), st.binary(max_size=24), st.integers(0, 10**6))
def test_every_key_concept_is_chosen_as_often_as_every_other(size: int, seed: bytes, first: int):
    concepts = Concepts("", "", (("t", tuple(f"c{number}" for number in range(size))),))
    first -= first % (2 * size)  # where all have been chosen equally often, if they have
    counts, choices = Counter(dict.fromkeys(concepts.names, 0)), []
    for number in range(first, first + 4 * min(size, 9) + 3):
        choices.append(concepts.choice(number, seed))
        assert len({*choices[-1]}) == len(choices[-1]) == min(size, 2 + number % 2)
        counts.update(choices[-1])
        assert max(counts.values()) - min(counts.values()) <= 1
    assert choices == [concepts.choice(number, seed) for number in range(first, first + len(choices))]


@settings(deadline=None)
@given(st.integers(3, 40), st.binary(min_size=1, max_size=24))
def test_choices_are_read_off_orders_one_after_another(size: int, seed: bytes):
    names = [f"c{number}" for number in range(size)]
    concepts = Concepts("", "", (("t", tuple(names[: size // 2])), ("u", tuple(names[size // 2 - 1 :]))))
    order, orders = list[str](), 0
    for number in range(min(3 * size, 30)):
        chosen = list[str]()
        while len(chosen) < 2 + number % 2:
            if not order:
                order = [names[place] for place in permutation(size, "concepts", seed.hex(), orders)]
                orders += 1
            chosen.append(next(name for name in order if name not in chosen))
            order.remove(chosen[-1])
        assert concepts.choice(number, seed) == chosen


@pytest.mark.parametrize(
    "unit", ["<topic>", "<topic>a\n- b</topic>", "- ", "1. ", "*", "\x00", "a\n\n", "topic: a\n- b\n\n"]
)
def test_long_answers_take_time_by_their_length(unit: str):
    text = unit * (2**19 // len(unit))
    start = time.process_time()
    for each in (text, f"<topic>{text}</topic>"):
        parse(STEP, each)
        Concepts.read(each)
    assert time.process_time() - start < 4
