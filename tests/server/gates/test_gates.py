import time

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdocs.recipes import Request
from streamdocs_server.gates.gates import Accepted, Gates, Rejected

DOCUMENT = (
    "Plants make sugars from light by photosynthesis, in chloroplasts. First water is split by the light reactions, "
    "then "
    "carbon dioxide is fixed by the Calvin cycle, whose product is glucose. So light becomes chemical energy."
)
ARTICLE = (
    "Photosynthesis is the process by which plants turn light into chemical energy. It takes place in chloroplasts.\n\n"
    "## Stages\n\nThe light reactions split water, and the Calvin cycle fixes carbon dioxide into sugars: glucose."
)
MARKS = ["\n", " ", "<think>", "</think>", "Sure, here is the article: ", "I'm sorry, I can't ", "**", ":", ". ", "。"]
hostile = st.lists(st.sampled_from(MARKS) | st.text(max_size=20), max_size=12).map("".join)
surrogates = st.text(st.characters(categories=["Cs", "Lu"]), min_size=1)


def request(document: str = DOCUMENT, kind="rephrase", max_tokens: int = 1024) -> Request:
    fields = {"document": document} if kind == "rephrase" else {"before": document, "after": document}
    return Request(kind=kind, template="", fields=fields, n=1, max_tokens=max_tokens)


def check(text: str, finish_reason: str = "stop", *, of: Request | None = None, **limits):
    return Gates(**limits).check(text, finish_reason, of or request())


@pytest.mark.parametrize(
    "text",
    [
        ARTICLE,
        "Here is a lighthouse: it was built in 1888, and ships still steer by it.",
        "Certainly, several versions of the story exist: one has the king survive the battle.",
        "Here is the article http://example.org/tower wrote on the old lighthouse and its keepers.",
        "Here is the lighthouse article\nNote: it was written in 1888 by a keeper and has been lost since.",
        "I have one article left: a lamp from the lighthouse, wrote the keeper to his sister.",
        "As an AI lab, DeepMind has published widely on games and on protein structure.",
        "I cannot help laughing, wrote Boswell, and then he went on to describe the dinner.",
        "def add(a, b):\n    if a:\n        return a + b\n    return b\n\n\ndef sub(a, b):\n    return a - b",
        "- one apple\n- two pears\n- three plums\n\n| a | b |\n|---|---|\n| 1 | 2 |",
        "光合作用是植物将光能转化为化学能的过程。它发生在叶绿体中,并释放氧气。",
        "Text with \0 NUL, <|endoftext|>, </think> and {document} is text, nothing more.",
    ],
)
def test_a_good_text_comes_back_byte_for_byte(text: str):
    assert check(text, of=request(text), max_copied=1) == Accepted(text)
    assert check(f" \n{text}\n\n", of=request(text), max_copied=1) == Accepted(text)


@pytest.mark.parametrize(
    "preamble",
    [
        "Sure, here is the rewritten article:\n\n",
        "Here's an encyclopedia-style article on the subject: ",
        "**Here is the encyclopedia-style version:**\n",
        "Certainly! Below is a rephrased text:\n",
        "Here’s the rewrite:\n\n",
        "Okay. I've rewritten the document as asked:\n",
    ],
)
def test_a_preamble_is_dropped_when_a_body_follows(preamble: str):
    assert check(preamble + ARTICLE) == Accepted(ARTICLE)
    # Markup of the body stays.
    assert check(f"{preamble}**{ARTICLE}**") == Accepted(f"**{ARTICLE}**")


def test_a_preamble_with_nothing_behind_it_is_no_article():
    assert isinstance(check("Sure, here is the rewritten article:", of=request(DOCUMENT * 9)), Rejected)


@pytest.mark.parametrize("kind", ["rephrase", "thought"])
def test_a_reasoning_models_own_block_is_dropped(kind):
    of = request(kind=kind)
    assert check(f"<think>\nThe user wants…\n</think>\n\n{ARTICLE}", of=of) == Accepted(ARTICLE)
    assert check("<think>The user wants", of=of) == Rejected("only reasoning")
    assert check("<think>The user wants. And", "length", of=of) == Rejected("only reasoning")
    assert Gates().check("", "stop", of, reasoned=True) == Rejected("only reasoning")


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I cannot rewrite this document.",
        "I cannot assist with this request.",
        "I can't fulfill your request as it contains personal data.",
        "I am unable to provide a rewrite of this text.",
        "I apologize, but I'm not able to continue.",
        "Unfortunately, I won't be able to produce this article.",
        "As an AI language model, I do not hold opinions.",
        "As an AI, I have no access to the document.",
        "Sure, here is the article: I cannot provide it.",
    ],
)
def test_a_refusal_is_rejected(text: str):
    assert check(text + " " + ARTICLE) == Rejected("refusal")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("One is whole. Two is not", "One is whole."),
        ('He said "Stop!" and then', 'He said "Stop!"'),
        ("It cost 3.50 dollars. It weighed 2.5", "It cost 3.50 dollars."),
        ("这是第一句。这是第二", "这是第一句。"),
        ("これは「文です。」次の", "これは「文です。」"),
        ("Whole. And whole at the end.", "Whole. And whole at the end."),
        ("Steps follow.\n1. Boil it.\n2. Dr", "Steps follow.\n1. Boil it."),
        ("It was built by the firm of J. Smith", None),
        ("no end at all", None),
        ("", None),
    ],
)
def test_a_cut_off_text_is_trimmed_to_its_last_whole_sentence_or_rejected(text: str, kept: str | None):
    of = request("A short document.")
    assert check(text, "length", of=of) == (Accepted(kept) if kept else Rejected("cut off"))
    assert check(text, "length", of=of, cut_off="reject") == Rejected("cut off")
    assert check(text, "length", of=of, cut_off="keep") == check(text, "stop", of=of)


@pytest.mark.parametrize("text", ["", " \n ", "...", "—"])
def test_a_text_without_a_letter_or_digit_is_empty(text: str):
    assert check(text) == Rejected("empty")


def test_lengths_are_compared_with_the_document():
    document = "x" * 1000
    assert check("a" * 199, of=request(document)) == Rejected("too short")
    assert check("a" * 200, of=request(document)) == Accepted("a" * 200)
    assert check("a" * 3300, of=request(document)) == Accepted("a" * 3300)
    assert check("a" * 3301, of=request(document)) == Rejected("too long")
    assert check("a", of=request(document), min_ratio=None) == Accepted("a")
    assert check("a" * 9999, of=request(document), max_ratio=None) == Accepted("a" * 9999)


def test_a_short_document_may_become_a_paragraph():
    assert check(ARTICLE, of=request("Photosynthesis in brief.")) == Accepted(ARTICLE)
    assert check(ARTICLE, of=request("")) == Accepted(ARTICLE)


def test_no_more_is_asked_of_a_long_document_than_max_tokens_can_hold():
    assert check("a" * 600, of=request("x" * 10**6)) == Rejected("too short")
    assert check("a" * 615, of=request("x" * 10**6)) == Accepted("a" * 615)


def test_a_thought_only_has_a_least_length():
    of = request("x" * 10**6, kind="thought")
    assert check("a" * 19, of=of) == Rejected("too short")
    assert check("a" * 20, of=of) == Accepted("a" * 20)
    assert check("a" * 10**5, of=of) == Accepted("a" * 10**5)


@pytest.mark.parametrize(
    "text",
    [
        "the " * 300,
        "一直在重复的句子。" * 30,
        "A line of text\n" * 9,
        "lo, and behold! " * 20,
    ],
)
def test_a_loop_is_repetition(text: str):
    of = request("x" * len(text))
    assert check(text, of=of) == Rejected("repetition")
    assert check(text, of=of, max_repeated_lines=1, max_repeated_ngrams=1) == Accepted(text.strip())


def test_a_few_repeated_lines_are_not_repetition():
    lines = [f"Line {i} says something that no other line of this text says." for i in range(10)]
    limits = {"max_repeated_ngrams": 1, "min_shared": 0}
    assert isinstance(check("\n".join([*lines, *lines[:2]]), **limits), Accepted)
    assert check("\n".join([*lines, *lines[:3]]), **limits) == Rejected("repetition")


@given(surrogates.filter(lambda text: any("\ud800" <= c <= "\udfff" for c in text)))
def test_a_lone_surrogate_is_invalid(text: str):
    assert check(f"{ARTICLE} {text}") == Rejected("invalid text")


@given(hostile, st.sampled_from(["stop", "length"]), st.sampled_from(["rephrase", "thought"]))
def test_whatever_is_accepted_is_a_stripped_part_of_what_came(text: str, finish_reason: str, kind):
    verdict = check(text, finish_reason, of=request("", kind=kind), min_thought=0)
    if isinstance(verdict, Accepted):
        assert verdict.text in text
        assert verdict.text == verdict.text.strip() != ""


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        " ",
        "\n",
        ".",
        ". ",
        ".)",
        "。",
        "!",
        "字",
        "a b ",
        "<think>",
        "I'm sorry, ",
        "Here is ",
        "sure, ",
        ":",
        "\n1.",
    ],
)
@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_a_hostile_megabyte_takes_less_than_a_second(unit: str, finish_reason: str):
    text = "Sure, here is x" + unit * (2**20 // len(unit))
    start = time.process_time()
    check(text, finish_reason, of=request(kind="thought"))
    check(text, finish_reason, of=request(text))
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    "limits",
    [{"min_ratio": -1}, {"min_ratio": 2, "max_ratio": 1}, {"max_copied": 2}, {"cut_off": "ignore"}, {"typo": 1}],
)
def test_a_limit_that_cannot_be_is_refused(limits):
    with pytest.raises(pydantic.ValidationError):
        Gates(**limits)
