"""Rows: what the steps of a program have given so far, and what an answer makes of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from streamdocs._base.hashing import canonical, text_digest
from streamdocs.generations.encoding import TextRecord
from streamdocs.recipes import Request
from streamdocs.recipes.programs.chunks import chunks
from streamdocs.recipes.programs.concepts import Concepts
from streamdocs.recipes.programs.program import CHOSEN, Program, Step


@dataclass(frozen=True)
class Row:
    """What a slot has so far: the fields of its source, and what steps gave.

    Args:
        slot: Which of the round.
        values: By name.
        ordinal: Tells it apart from rows that ask the same.
        steps: Digests of the keys of the steps behind it.
        sent: Names of the verdicts that sent it back.
        cause: Why it ended; "" for one that goes on.
    """

    slot: int
    values: Mapping[str, str]
    ordinal: int
    steps: tuple[bytes, ...] = ()
    sent: tuple[str, ...] = ()
    cause: str = ""


#: In place of a cause: the row is sent back.
REVISE = "revise"


def step_request(step: Step, fields: Mapping[str, str], n: int) -> Request:
    """What a step asks for."""
    return Request(kind=step.kind, template=step.prompt, fields=fields, n=n, max_tokens=step.max_tokens, step=step)


def parts_of(program: Program, source: Mapping[str, str]) -> list[Mapping[str, str]]:
    """What the steps read at once of a source: all of it, or chunk by chunk."""
    if program.chunk is None:
        return [source]
    return [{**source, "document": chunk} for chunk in chunks(source["document"], program.chunk)]


def rows_of(step: Step, given: Sequence[str]) -> list[dict[str, str]]:
    """What was given, by the names under which it fills prompts."""
    if step.parser == "list":
        return [{step.name: text} for text in given[: step.most]]
    if step.parser == "verdict":
        return [{step.name: given[1]}]
    return [dict(zip(step.outputs, given, strict=True))]


def after_answer(row: Row, step: Step, record: TextRecord, ordinal: int) -> list[Row]:
    """The rows that an answer makes of one."""
    if cause := next(filter(None, record.causes), None):
        return [replace(row, cause=cause)]
    given = tuple(text or "" for text in record.texts)
    if step.deal:
        dealt = rows_of(step, given)[ordinal % step.most :]
        return [replace(row, values={**row.values, **dealt[0]}) if dealt else replace(row, cause="too few")]
    cause = ""
    if step.parser == "verdict" and given[0] != "accept":
        back = given[0] == "revise" and step.back is not None and step.name not in row.sent
        cause = REVISE if back else "judged unfit"
    each = step.most if step.parser == "list" else 1
    return [
        replace(row, values={**row.values, **values}, ordinal=ordinal * each + number, cause=cause)
        for number, values in enumerate(rows_of(step, given))
    ]


def with_choice(program: Program, step: Step, row: Row) -> Row:
    """A row with the key concepts that the program chooses for it of what a step gave; the seed is what that read."""
    concepts = Concepts.read(row.values[step.name])
    if concepts is None:
        return replace(row, cause="not as asked")
    seed = text_digest(canonical({name: row.values[name] for name in step.inputs}))
    chosen = concepts.choice(program.choice_of(row.ordinal), seed)
    return replace(row, values={**row.values, CHOSEN: "\n".join(chosen)})
