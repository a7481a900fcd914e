"""The table of faults: what was tried, what was lost, what was wrong, and how long until it worked again."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from streamdocs.errors import StreamdocsError


@dataclass
class Outcome:
    """What came of some tries of one fault.

    Args:
        tried: How many.
        lost: Generations, blocks, windows and states that were committed, and are gone without an error that says so.
        wrong: Sequences that were delivered and differ from the reference.
        seconds: The longest time from a fault until the next piece of work was done.
        note: What else is worth to be said.
    """

    tried: int = 0
    lost: int = 0
    wrong: int = 0
    seconds: float = 0.0
    note: str = ""

    def took(self, seconds: float) -> None:
        self.seconds = max(self.seconds, seconds)


#: Does it to a run in an empty folder, so many times.
Function = Callable[[Path, int, random.Random], Outcome]


@dataclass(frozen=True)
class Fault:
    """A fault, how often `make faults` tries it, and how often `make test` does: not at all what takes long."""

    name: str
    tries: int
    few: int
    function: Function


MODULES = (
    "kills",
    "stops",
    "corruption",
    "files",
    "disks",
    "sharing",
    "retiring",
    "clocks",
    "processes",
    "endpoints",
    "objects",
)
FAULTS: list[Fault] = []


def fault(name: str, tries: int, few: int) -> Callable[[Function], Function]:
    """Put a function into the table."""

    def register(function: Function) -> Function:
        FAULTS.append(Fault(name, tries, few, function))
        return function

    return register


def all_faults() -> list[Fault]:
    """The whole table."""
    for module in MODULES:
        import_module(f"faults.{module}")
    return FAULTS


def is_clear(error: Exception) -> bool:
    """Whether an error is one of ours that says what, where and what to do."""
    return isinstance(error, StreamdocsError) and len(str(error)) > 40
