"""What checks find: a line each."""

from typing import Literal, NamedTuple

Level = Literal["ok", "warning", "fault"]


class Finding(NamedTuple):
    """What one check found.

    what: It looked at. level: How bad it is. said: In a line: what, where, and what helps. detail: More, for programs.
    """

    what: str
    level: Level
    said: str
    detail: str = ""


def fault(what: str, error: object) -> Finding:
    """What keeps a run from going; an error that it would end with, in one line."""
    return Finding(what, "fault", " ".join(str(error).split()))


def size(number: float) -> str:
    """Bytes, in the unit in which they are most easily read."""
    for unit, most in (("kB", 1e6), ("MB", 1e9), ("GB", 1e12)):
        if number < most:
            return f"{number / most * 1e3:,.1f} {unit}"
    return f"{number / 1e12:,.1f} TB"


def worst(findings: list[Finding]) -> Level:
    """The level of all of them together."""
    levels = [each.level for each in findings]
    return "fault" if "fault" in levels else "warning" if "warning" in levels else "ok"
