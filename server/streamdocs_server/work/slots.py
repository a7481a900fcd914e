"""Slots: the text of each as far as it is, chunk by chunk."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from streamdocs._base.hashing import digest128
from streamdocs.generations.encoding import TextRecord
from streamdocs.generations.steps.rows import Row
from streamdocs.recipes.programs.program import Program
from streamdocs_server.gates.gates import Cause

#: Causes of slots, whatever their steps gave.
_OF_SLOTS = frozenset[Cause](("too few", "judged unfit", "too short", "duplicate", "asked before"))


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


def text_id(text: str) -> bytes:
    """What tells a text from others of its document."""
    return digest128(text.encode())
