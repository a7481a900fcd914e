"""What models say besides the text that was asked for: all of it is caught, and nothing of a document's own is."""

import dataclasses
import json
import re
from itertools import chain, product
from pathlib import Path

import pytest
import zstandard

from probes import AFTER, ARTICLE, BEFORE, DOCUMENT, INSTEAD, KEPT, PAIRS, PROMPT, REASONING, SOUND, THOUGHT
from streamdocs.recipes import Request
from streamdocs_server.gates.gates import Accepted, Gates, Rejected

REQUEST = Request(kind="rephrase", template=PROMPT, fields={"document": DOCUMENT}, n=1, max_tokens=1024)
EXPERT = (
    "A tower on such a reef has to stand waves from every side, so weight matters more than height. That is why "
    "granite "
    "was taken, and why the men had to live on the rock."
)
HALVES = {"before": DOCUMENT[:200], "after": DOCUMENT[200:]}
OF_CUT = dataclasses.replace(REQUEST, kind="thought", template="Think about {before} and {after}", fields=HALVES)


def check(text: str, finish_reason: str = "stop", of: Request = REQUEST):
    return Gates().check(text, finish_reason, of)


@pytest.mark.parametrize("before", BEFORE)
def test_what_stands_before_a_text_is_taken_off(before):
    assert check(before + ARTICLE) == Accepted(ARTICLE)


@pytest.mark.parametrize("after", AFTER)
def test_what_stands_behind_a_text_is_taken_off(after):
    assert check(ARTICLE + after) == Accepted(ARTICLE)


def test_both_are():
    for before, after in product(BEFORE, AFTER):
        assert check(before + ARTICLE + after) == Accepted(ARTICLE), (before, after)


@pytest.mark.parametrize("before", REASONING)
def test_reasoning_before_a_thought_is_taken_off(before):
    assert check(before + EXPERT, of=OF_CUT) == Accepted(EXPERT)


@pytest.mark.parametrize(("text", "cause"), INSTEAD)
def test_what_comes_in_place_of_a_text_is_rejected(text, cause):
    assert check(text) == Rejected(cause)


@pytest.mark.parametrize("before", REASONING)
def test_what_is_cut_off_while_it_reasons_is_rejected(before):
    cut = before[: before.index(THOUGHT) + len(THOUGHT) - 40] if THOUGHT in before else before[:30]
    assert isinstance(check(cut, "length"), Rejected)


@pytest.mark.parametrize(("document", "text"), KEPT)
@pytest.mark.parametrize("thought", [False, True])
def test_what_a_document_says_itself_is_kept(document, text, thought):
    fields = {"before": document[:60], "after": document} if thought else {"document": document}
    kind = "thought" if thought else "rephrase"
    assert check(text, of=dataclasses.replace(REQUEST, kind=kind, fields=fields)) == Accepted(text)


@pytest.mark.parametrize("text", SOUND)
def test_a_sound_text_is_kept(text):
    assert check(text) == Accepted(text)


def test_a_text_that_ends_in_a_loop_is_kept_up_to_it():
    loop = " The keepers counted the ships that passed the reef on every day of the winter."
    for tail in (loop * 20, loop * 20 + " The keepers cou", f"\n\n{ARTICLE}", f"\n\n{ARTICLE}\n\n{ARTICLE[:150]}"):
        for finish_reason in ("stop", "length"):
            verdict = check(ARTICLE + tail, finish_reason)
            assert isinstance(verdict, Accepted) and verdict.text in (ARTICLE, ARTICLE + loop), verdict


def test_the_language_is_that_of_the_document():
    spanish, cause = next(each for each in INSTEAD if each[1] == "another language")
    of = dataclasses.replace(REQUEST, fields={"document": spanish.replace("En el norte", "Al norte")})
    assert check(ARTICLE, of=of) == Rejected(cause)
    assert Gates(same_language=False, min_shared=0).check(ARTICLE, "stop", of) == Accepted(ARTICLE)


@pytest.mark.parametrize(("document", "text"), PAIRS)
def test_a_rewriting_of_any_kind_and_language_is_kept(document, text):
    of = dataclasses.replace(REQUEST, fields={"document": document})
    assert check(text, of=of) == Accepted(text)
    assert check(document, of=of) == Rejected("copy")


def of_small_model():
    """Texts of SmolLM2-135M-Instruct (Apache-2.0) about free documents, all that a reader found sound."""
    template = "Rewrite this text in your own words. Keep every fact, name and number.\n\n{document}\n"
    lines = zstandard.decompress(Path(__file__).with_name("smollm2.jsonl.zst").read_bytes()).splitlines()
    for entry in map(json.loads, lines):
        fields = {"document": entry["document"]}
        of = dataclasses.replace(REQUEST, template=template, fields=fields, max_tokens=230)
        yield from ((answer["text"], answer["finish_reason"], of) for answer in entry["answers"])


def of_large_model():
    """Rewritings in many styles and some languages; where they come from is said in the file."""
    text = Path(__file__).with_name("large_model.txt").read_text(encoding="utf-8")
    for entry in re.split(r"^=== .*\n", text, flags=re.MULTILINE)[1:]:
        document, *texts = map(str.strip, re.split(r"^--- .*\n", entry, flags=re.MULTILINE))
        of = dataclasses.replace(REQUEST, fields={"document": document})
        yield from ((text, "stop", of) for text in texts)


def test_what_models_wrote_well_is_kept():
    read = 0
    for text, finish_reason, of in chain(of_small_model(), of_large_model()):
        verdict = check(text, finish_reason, of)
        assert isinstance(verdict, Accepted), (verdict, text)
        assert of.max_tokens == 230 or verdict.text == text
        read += 1
    assert read >= 200
