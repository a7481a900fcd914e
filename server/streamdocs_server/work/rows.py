"""Rows and slots: what the steps of a program have given so far, and the text that comes of it."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

from streamdocs._base.hashing import canonical, digest128, text_digest
from streamdocs.generations.encoding import TextRecord
from streamdocs.recipes import Request
from streamdocs.recipes.programs.chunks import chunks
from streamdocs.recipes.programs.concepts import Concepts
from streamdocs.recipes.programs.program import CHOSEN, Program, Step
from streamdocs_server.gates.gates import Cause
from streamdocs_server.gates.steps import rows_of

#: Causes of slots, whatever their steps gave.
_OF_SLOTS = frozenset[Cause](("too few", "judged unfit", "too short", "duplicate", "asked before"))


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


@dataclass
class Slot:
    """The text of a slot as far as it is, chunk by chunk."""

    texts: list[str] = field(default_factory=list)
    steps: list[bytes] = field(default_factory=list)
    cause: str = ""
    #: As of its rows, when they begin.
    sent: tuple[str, ...] = ()
    is_done: bool = False
    #: The output by which a stream's texts are compared.
    compared: str | None = None

    @classmethod
    def of(cls, known: TextRecord | None, number: int, again: Set[str]) -> "Slot":
        """A slot to be written, or as it is known where that is not to be asked for again."""
        if known is None:
            return cls()
        text, cause = known.texts[number], known.causes[number] or ""
        if text is not None or cause not in again:
            steps = known.steps[number] if known.steps else []
            return cls([] if text is None else [text], steps, cause, is_done=True)
        # What its steps gave is accepted where the cause is the slot's: then all of it is written anew.
        return cls(sent=("again",) * known.attempts if cause in _OF_SLOTS else ())

    def add(self, program: Program, rows: list[Row]) -> list[Mapping[str, str]]:
        """Add what the rows of a chunk came to, and return it; without any, the slot is rejected."""
        self.steps += dict.fromkeys(digest for row in rows for digest in row.steps)
        if whole := [row.values for row in rows if not row.cause]:
            self.texts.append(program.text(whole))
        else:
            self.cause = rows[0].cause
        return whole


#: In place of a cause: the row is sent back.
REVISE = "revise"


def text_id(text: str) -> bytes:
    """What tells a text from others of its document."""
    return digest128(text.encode())


def step_request(step: Step, fields: Mapping[str, str], n: int) -> Request:
    """What a step asks for."""
    return Request(kind=step.kind, template=step.prompt, fields=fields, n=n, max_tokens=step.max_tokens, step=step)


def parts_of(program: Program, source: Mapping[str, str]) -> list[Mapping[str, str]]:
    """What the steps read at once of a source: all of it, or chunk by chunk."""
    if program.chunk is None:
        return [source]
    return [{**source, "document": chunk} for chunk in chunks(source["document"], program.chunk)]


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
