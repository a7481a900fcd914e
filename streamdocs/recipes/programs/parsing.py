"""How an answer to a step is read: whatever a model wrote gives outputs, or a fault."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from streamdocs.recipes.programs.concepts import LEVEL, SUBJECT, TOPIC, Concepts
from streamdocs.recipes.programs.program import Step

#: The tags of a verdict, whatever its step is called.
VERDICT, REMARK = "verdict", "remark"

# A mark ends before the next one can begin, so that each character is looked at once. Behind a tag's name there may be
# a number or attributes: <question 1>, <question-1>, <question id="1">. The word "questions" is another name.
_MARK = re.compile(r"<([^<>]*+)>")
_NUMBERED = re.compile(r"[\s/]|[-_.:#]?+\d|\Z")
_WORD = re.compile(r"(?<!\w)(accept|reject|revise)(?:e?d)?(?!\w)", re.IGNORECASE)


@dataclass(frozen=True)
class Parsed:
    """What an answer gives.

    Args:
        outputs: Texts by the names of the step's outputs, each a row of its own; of a verdict its remark.
        verdict: What a verdict says, None of other steps.
        fault: Why there is nothing, or "".
    """

    outputs: tuple[dict[str, str], ...] = ()
    verdict: Literal["accept", "reject", "revise"] | None = None
    fault: Literal["", "not as asked"] = ""


_NOTHING = Parsed(fault="not as asked")


def parse(step: Step, text: str) -> Parsed:
    """Read an answer as the step's parser says. Never raises, and takes time linear in the text.

    An element begins at one of the step's tags, in either case, and ends at the next of them, closing or not: so it
    never holds any, where a model forgot to close one or put one into another. What no tag follows may have been cut
    off, and is left out, as is what is empty. All else, other tags and what stands between elements, is plain text.
    """
    if step.parser == "text":
        whole = text.strip()
        return Parsed(({step.name: whole},)) if whole else _NOTHING
    if step.parser == "verdict":
        return _verdict(step, text)
    if step.parser == "concepts":
        return _concepts(step, text)
    elements = _elements(text, step.tags)
    if step.parser == "list":
        listed = tuple({step.name: inside} for _, inside in islice(elements, step.most))
        return Parsed(listed) if listed else _NOTHING
    record: dict[str, str] = {}
    for tag, inside in elements:
        record.setdefault(tag, inside)
    return Parsed(({tag: record[tag] for tag in step.tags},)) if len(record) == len(step.tags) else _NOTHING


def _verdict(step: Step, text: str) -> Parsed:
    """One verdict and its remark; who says more than one, as by repeating the choice, has not decided."""
    words, remark = set[str](), ""
    for tag, inside in _elements(text, (VERDICT, REMARK)):
        if tag == REMARK:
            remark = remark or inside
        else:
            words |= {word[1].lower() for word in _WORD.finditer(inside)}
    if len(words) != 1:
        return _NOTHING
    (said,) = words
    return Parsed(({step.name: remark},), said)  # type: ignore[arg-type]


def _concepts(step: Step, text: str) -> Parsed:
    """Level, subject and topics in their plain form; of a topic the first line is its name, each other a concept."""
    said, topics = {LEVEL: "", SUBJECT: ""}, []
    for tag, inside in _elements(text, (LEVEL, SUBJECT, TOPIC)):
        first, *others = inside.splitlines()
        if tag == TOPIC:
            topics.append((first, others))
        else:
            said[tag] = said[tag] or first
    found = Concepts.of(said[LEVEL], said[SUBJECT], topics)
    return Parsed(({step.name: str(found)},)) if found.topics else _NOTHING


def _elements(text: str, tags: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Tag and inside of each element, in order."""
    opened, start = "", 0
    for mark in _MARK.finditer(text):
        inside = mark[1].strip()
        closes = inside.startswith("/") or inside.endswith("/")
        inside = inside.removeprefix("/").lstrip()
        tag = next((tag for tag in tags if _names(inside, tag)), "")
        if not tag:
            continue
        if opened and (found := text[start : mark.start()].strip()):
            yield opened, found
        opened, start = "" if closes else tag, mark.end()


def _names(inside: str, tag: str) -> bool:
    """Whether a mark is one of a tag."""
    return inside[: len(tag)].lower() == tag and _NUMBERED.match(inside, len(tag)) is not None
