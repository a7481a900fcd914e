import time

import pytest
from hypothesis import given

from fuzz.strategies import wild_texts
from streamdocs.recipes.programs.parsing import Parsed, parse
from streamdocs.recipes.programs.program import Step


def step(parser: str, *tags: str, most: int = 8) -> Step:
    name = "fit" if parser == "verdict" else "question"
    return Step(name=name, prompt="{document}", parser=parser, tags=tags, most=most)


LIST, VERDICT = step("list"), step("verdict")
STEPS = [step("text"), LIST, step("list", "q", most=2), step("record", "title", "body"), VERDICT]
NOTHING = Parsed(fault="not as asked")


def listed(text: str, most: int = 8) -> list[str]:
    parsed = parse(step("list", most=most), text)
    assert (parsed.fault == "") == bool(parsed.outputs)
    return [output["question"] for output in parsed.outputs]


def test_a_text_is_the_answer_without_the_space_around_it():
    assert parse(step("text"), "\n a <b>c</b> \n") == Parsed(({"question": "a <b>c</b>"},))
    assert parse(step("text"), " \n ") == NOTHING


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<question>Why?</question>\n\n<question>\nHow?\n</question>", ["Why?", "How?"]),
        ("Sure! Here they are:\n```xml\n<question>Why?</question>\n```\nGood luck!", ["Why?"]),
        ("<QUESTION>Why?</Question>", ["Why?"]),
        ("< Question >Why?< / question >", ["Why?"]),
        ("<\nquestion\n>Why?<\n/\nquestion>", ["Why?"]),
        (
            "<question 1>Why?</question 1><question_2>How?</question_2><question-3>Who?</question-3>",
            ["Why?", "How?", "Who?"],
        ),
        ("<question1>Why?</question1><question#2>How?</question>", ["Why?", "How?"]),
        ("<question id=\"1\" kind='open'>Why?</question>", ["Why?"]),
        ("<question>Why?<question/>  <question>How?</question>", ["Why?", "How?"]),
        # Never closed, or one within the other: each ends where the next mark is.
        ("<question>Why?\n<question>How?\n<question>Who?</question>", ["Why?", "How?", "Who?"]),
        ("<question>Why <question>How?</question> not?</question>", ["Why", "How?"]),
        # What nothing follows may be cut off.
        ("<question>Why?</question><question>How ma", ["Why?"]),
        ("<question></question><question> \n </question><question>Why?</question>", ["Why?"]),
        ("</question>none<question>Why?</question>", ["Why?"]),
        # Other tags and lone brackets are text.
        ("<question>Is a < b and c > d in <b>bold</b>?</question>", ["Is a < b and c > d in <b>bold</b>?"]),
        ("<questions><question>Why?</question></questions>", ["Why?"]),
        ("<question_text>Why?</question_text>", []),
        ("<<question>>Why?<</question>>", [">Why?<"]),
        ("Why? How?", []),
        ("", []),
    ],
)
def test_a_list_has_what_is_in_its_tags(text: str, expected: list[str]):
    assert listed(text) == expected


def test_of_a_list_no_more_than_asked_for_go_on():
    assert listed("<question>a</question>" * 5, most=3) == ["a"] * 3


def test_a_list_may_have_another_tag_than_its_name():
    assert parse(step("list", "q"), "<q>Why?</q><question>no</question>").outputs == ({"question": "Why?"},)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<title>A</title> and <body>B</body>", {"title": "A", "body": "B"}),
        ("<body>B</body><title>A</title>", {"title": "A", "body": "B"}),
        ("<title>A</title><title>C</title><body>B</body><body>D</body>", {"title": "A", "body": "B"}),
        ("<title></title><title>C</title><body>B</body>", {"title": "C", "body": "B"}),
        ("<title>A<body>B</body>", {"title": "A", "body": "B"}),
        ("<body><title>A</title>B</body>", None),
        ("<title>A</title>", None),
        ("<title>A</title><body>B", None),
        ("", None),
    ],
)
def test_a_record_has_the_first_of_each_of_its_tags(text: str, expected: dict[str, str] | None):
    assert parse(step("record", "title", "body"), text) == (Parsed((expected,)) if expected else NOTHING)


@pytest.mark.parametrize(
    ("text", "verdict", "remark"),
    [
        ("<verdict>accept</verdict>", "accept", ""),
        ("<remark>The year is wrong.</remark>\n<verdict>revise</verdict>", "revise", "The year is wrong."),
        ("< Verdict >**REJECTED**, for it is made up.</verdict><remark> x </remark>", "reject", "x"),
        ("I would accept it.\n<verdict>Revised, please</verdict>", "revise", ""),
        ("<verdict>none yet</verdict><verdict>accept</verdict><verdict>Accepted.</verdict>", "accept", ""),
        ("<verdict>accept</verdict><verdict>reject</verdict>", None, ""),
        ("<verdict>accept, revise or reject</verdict>", None, ""),
        ("<verdict>accept|revise|reject</verdict>\n<verdict>accept</verdict>", None, ""),
        ("<verdict>accept</verdict> rather than reject", "accept", ""),
        ("accept", None, ""),
        ("<verdict>unacceptable</verdict>", None, ""),
        ("<verdict></verdict>", None, ""),
        ("<verdict>accept", None, ""),
    ],
)
def test_a_verdict_is_one_of_its_words(text: str, verdict: str | None, remark: str):
    expected = Parsed(({"fit": remark},), verdict) if verdict else NOTHING  # type: ignore[arg-type]
    assert parse(VERDICT, text) == expected


@given(wild_texts)
def test_whatever_is_put_into_tags_comes_out(text: str):
    inside = text.replace("<", "").replace(">", "").strip()
    assert listed(f"x <question>{inside}</question> y") == ([inside] if inside else [])


@pytest.mark.parametrize(
    "unit", ["<", "< ", "<question", "<question>", "<question>a", "</", "<question ", " ", "<verdict>a"]
)
def test_long_answers_take_time_by_their_length(unit: str):
    text = unit * (2**19 // len(unit))
    start = time.process_time()
    for each in STEPS:
        parse(each, text)
    assert time.process_time() - start < 3
