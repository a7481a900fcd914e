"""Answers to the steps of programs by rule: lists, records, verdicts, and texts of sentences that are picked out."""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from streamdocs.recipes import Request
from streamdocs.recipes.programs.parsing import REMARK, VERDICT
from streamdocs.recipes.programs.program import CHOSEN, Step
from streamdocs_server.engines.template.plain import CHARS_PER_TOKEN, pieces_of, rephrases, terms, thoughts
from streamdocs_server.engines.template.questions import combining, concepts, questions, reply

_REMARKS = ("What is said of {term} is not clear.", "There is more to {term} than this.", "{term} should come first.")
#: Of a hundred verdicts, those that accept, and those that reject; the others send back where they can.
_ACCEPTED, _REJECTED = 80, 8

_BLANK_LINE = re.compile(r"\n[^\S\n]*+\n")
#: A number, or a name within a sentence.
_FACT = re.compile(r"\d|\w,? [^\W\d_a-z]")
#: Characters of a sentence that says something, and of the beginning of one.
_SHORTEST, _HEAD = 15, 160
_GAPS = ("_____", "( ? )", "[...]")
_KEYS = ("-> {term}", "({term})", "= {term}", "* {term}")
_BULLETS = ("-", "*", "+", "•")


def answers(request: Request, seed: int) -> list[str]:
    """``request.n`` answers that its step can read; they depend on the request, the seed and nothing else."""
    step = request.step
    assert step is not None
    document = request.fields.get("document") or "\n\n".join(request.fields.values())
    # Reading far past what could be written would only cost time.
    document = document[: 8 * CHARS_PER_TOKEN * request.max_tokens]
    plain = replace(request, fields={"document": document})
    if step.parser == "text" and step.kind == "thought":
        half = len(document) // 2
        return thoughts(replace(request, fields={"before": document[:half], "after": document[half:]}), seed, 4, 6)
    if step.parser == "text" and step.name == "answer" and "document" not in request.fields:
        return [reply(document, random.Random(f"{seed}/{index}")) for index in range(request.n)]
    if step.parser == "text" and step.name not in RULES:
        return rephrases(plain, seed)
    if step.parser == "list":
        named = request.fields.get(CHOSEN) or request.fields.get("walk")
        about = named.split("\n") if named else terms(document)
        return [_list(step, about, random.Random(f"{seed}/{index}")) for index in range(request.n)]
    if step.parser == "concepts":
        return [concepts(document)] * request.n
    return [_answer(replace(plain, n=1), step, document, seed, index) for index in range(request.n)]


def _answer(plain: Request, step: Step, document: str, seed: int, index: int) -> str:
    rng = random.Random(f"{seed}/{index}")
    if step.parser == "verdict":
        return _verdict(step, document, rng)
    if step.parser == "record":
        room = max(plain.max_tokens // len(step.tags) - 16, 1)
        inside = rephrases(replace(plain, n=len(step.tags), max_tokens=room), rng.getrandbits(32))
        room *= CHARS_PER_TOKEN
        return "\n".join(f"<{tag}>{text[:room]}</{tag}>" for tag, text in zip(step.tags, inside, strict=True))
    return RULES[step.name](document, rng, CHARS_PER_TOKEN * plain.max_tokens) or rephrases(plain, seed + index)[0]


def _list(step: Step, about: list[str], rng: random.Random) -> str:
    """From one to as many questions as go on, each with its tag; where they are dealt, all of them."""
    [tag] = step.tags
    asked = combining(about, rng, step.most) if step.deal else questions(about, rng, rng.randint(1, step.most))
    return "\n".join(f"<{tag}>{each}</{tag}>" for each in asked)


def _verdict(step: Step, document: str, rng: random.Random) -> str:
    number = rng.randrange(100)
    sends_back = "revise" if step.back is not None else "reject"
    word = "accept" if number < _ACCEPTED else "reject" if number >= 100 - _REJECTED else sends_back
    remark = "" if word == "accept" else rng.choice(_REMARKS).format(term=rng.choice(terms(document) or ["this"]))
    return f"<{REMARK}>{remark}</{REMARK}>\n<{VERDICT}>{word}</{VERDICT}>"


def _pairs(document: str, rng: random.Random, room: int) -> str:
    """Up to eight questions, each with a sentence for an answer."""
    some = _sentences(document, rng, room // 2, 0.8)
    asked = zip(questions(terms(document), rng, 8), some, strict=False)
    return "\n\n".join(f"Question: {question}\nAnswer: {sentence}" for question, sentence in asked)


def _cloze(document: str, rng: random.Random, room: int) -> str:
    """Sentences with a term left out, and the term."""
    gap, key = rng.choice(_GAPS), rng.choice(_KEYS)
    made, used = [], set[str]()
    for sentence in _sentences(document, rng, room, 0.7):
        if found := [term for term in terms(sentence) if term not in used]:
            term = rng.choice(found[:3])
            used.add(term)
            made.append(f"{sentence.replace(term, gap)}\n{key.format(term=term)}")
    return "\n\n".join(made)


def _facts(document: str, rng: random.Random, room: int) -> str:
    """Sentences with a number or a name, one a line."""
    bullet, some = rng.choice(_BULLETS), _sentences(document, rng, room, 0.8)
    return "\n".join(f"{bullet} {sentence}" for sentence in [each for each in some if _FACT.search(each)] or some)


def _outline(document: str, rng: random.Random, room: int) -> str:
    """A heading of terms for each part, and below it what sentences of the part begin with."""
    bullet, most = rng.choice(_BULLETS), rng.randint(1, 3)
    parts = [pieces for each in _BLANK_LINE.split(document[:room]) if (pieces := pieces_of(each))]
    if len(parts) == 1:
        parts = [parts[0][at : at + 4] for at in range(0, len(parts[0]), 4)]
    made = []
    for number, pieces in enumerate(parts, 1):
        about = rng.sample(found := terms(" ".join(pieces)), min(len(found), 3))
        some = sorted(rng.sample(range(len(pieces)), min(len(pieces), most)))
        points = [f"  {bullet} {_head(pieces[at])}" for at in some]
        made.append("\n".join([f"{number}. {', '.join(about)}".rstrip(), *points]))
    return "\n\n".join(made)


#: What the steps of these names give; "" for a document that has nothing of the kind.
RULES: Mapping[str, Callable[[str, random.Random, int], str]] = {
    "cloze": _cloze,
    "facts": _facts,
    "outline": _outline,
    "pairs": _pairs,
}


def _sentences(document: str, rng: random.Random, room: int, share: float) -> list[str]:
    """About a share of the sentences, each once, in order, as long as there is room."""
    whole = [each for each in dict.fromkeys(pieces_of(document)) if len(each) >= _SHORTEST]
    length = 0
    chosen = [each for each in whole if rng.random() < share and (length := length + len(each) + 40) <= room]
    return chosen or whole[:1]


def _head(sentence: str) -> str:
    """The beginning of a long sentence, in whole words."""
    return sentence if len(sentence) <= _HEAD else sentence[:_HEAD].rpartition(" ")[0] or sentence[:_HEAD]
