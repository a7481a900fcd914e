"""What checks find: a line each."""

from typing import Literal, NamedTuple

Level = Literal["ok", "warning", "fault"]


class Finding(NamedTuple):
    """What one check found. what: It looked at. level: How bad it is. said: In a line: what, where, and what helps."""

    what: str
    level: Level
    said: str


def fault(what: str, error: object) -> Finding:
    """What keeps a run from going; an error that it would end with, in one line."""
    return Finding(what, "fault", " ".join(str(error).split()))


def worst(findings: list[Finding]) -> Level:
    """The level of all of them together."""
    levels = [each.level for each in findings]
    return "fault" if "fault" in levels else "warning" if "warning" in levels else "ok"
