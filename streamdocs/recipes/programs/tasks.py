"""Which program and which writers each slot of a recipe has."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd
from typing import NamedTuple

from streamdocs._base.hashing import canonical
from streamdocs.errors import ConfigError
from streamdocs.recipes.programs.program import Program

#: The writer of what names none: the run's ``generator``, or the first of its ``writers``.
DEFAULT_WRITER = ""


class Team(NamedTuple):
    """Who writes what: slots that have the same one may share requests."""

    program: Program
    writers: tuple[str, ...]  # of each step

    def origins(self, fingerprint: Callable[[str], str]) -> set[bytes]:
        """Of each step that is not done once, what is asked of whom, in it and in those whose outputs it reads.

        ``fingerprint`` is that of a writer, by name.
        """
        found: dict[str, bytes] = {}
        for step, name in zip(self.program.steps, self.writers, strict=True):
            read = [found[each] for each in step.inputs if each in found]
            own = canonical([step.request_part, fingerprint(name), read])
            found |= dict.fromkeys(step.outputs, own)
        once = {name for step in self.program.steps if step.once for name in step.outputs}
        return {found[name] for name in found if name not in once}


@dataclass(frozen=True)
class Task:
    """How the text of one slot comes to be.

    Args:
        style: The name of its program.
        team: Program, and writer of each step.
        ordinal: Its number among the slots of the same team.
        slots: How many these are.
    """

    style: str
    team: Team
    ordinal: int
    slots: int

    def of_cycle(self, cycle: int) -> "Task":
        """The same slot filled anew: its rows are others."""
        return replace(self, ordinal=self.ordinal + cycle * self.slots)


def deal(weights: Mapping[str, int], slots: int, what: str) -> list[str]:
    """The name that each of ``slots`` has, each exactly as often as its weight says.

    Each goes to the name that is furthest behind its share, the first in the alphabet of those that are as far.

    Raises:
        ConfigError: A weight is no whole number from 1 on, or the slots cannot be dealt exactly; ``what`` deals.
    """
    if wrong := [name for name, weight in weights.items() if weight < 1]:
        raise ConfigError(f"{what}: {wrong[0]}: {weights[wrong[0]]}; a weight is a whole number from 1 on")
    if not weights:
        raise ConfigError(f"{what}: none is named")
    total = sum(weights.values())
    least = total // gcd(*weights.values())
    if slots % least:
        raise ConfigError(
            f"{what}: {slots} slots cannot be dealt exactly by weights {', '.join(map(str, weights.values()))}: make "
            f"generations a multiple of {least}, or change the weights"
        )
    shares = {name: Fraction(weights[name], total) for name in sorted(weights)}
    given, dealt = Counter[str](), list[str]()
    for number in range(1, slots + 1):
        dealt.append(max(shares, key=lambda name: shares[name] * number - given[name]))
        given[dealt[-1]] += 1
    return dealt


def make_tasks(styles: Sequence[tuple[str, Program]], writers: Mapping[str, int | str]) -> tuple[Task, ...]:
    """The task of each slot.

    Args:
        styles: Name and program of each slot.
        writers: Weights of those who write slots, and the writer of each step that is named.

    Raises:
        ConfigError: Weights that cannot be dealt, or a step that no program has.
    """
    weights = {name: weight for name, weight in writers.items() if isinstance(weight, int)}
    of_step = {name: writer for name, writer in writers.items() if isinstance(writer, str)}
    steps = sorted({step.name for _, program in styles for step in program.steps})
    if unknown := sorted({*of_step} - {*steps}):
        raise ConfigError(
            f"writers: {unknown[0]}: {of_step[unknown[0]]!r} names the writer of a step, and the steps are "
            f"{', '.join(steps)}; a writer of slots has a whole number"
        )
    # By style, so that each of them has every writer about as often as the others.
    first = {name: number for number, (name, _) in reversed([*enumerate(styles)])}
    by_style = sorted(range(len(styles)), key=lambda slot: (first[styles[slot][0]], slot))
    names = deal(weights, len(styles), "writers") if weights else [DEFAULT_WRITER] * len(styles)
    writer_of = dict(zip(by_style, names, strict=True))

    def team_of(program: Program, slot: str) -> Team:
        # What slots share is no slot's own: with a writer of each it would be asked for as often as there are writers.
        dealt = {step.name: DEFAULT_WRITER if step.once else slot for step in program.steps}
        return Team(program, tuple(of_step.get(step.name) or step.writer or dealt[step.name] for step in program.steps))

    teams = [team_of(program, writer_of[slot]) for slot, (_, program) in enumerate(styles)]
    sizes, seen, tasks = Counter(teams), Counter[Team](), list[Task]()
    for (name, _), team in zip(styles, teams, strict=True):
        tasks.append(Task(name, team, seen[team], sizes[team]))
        seen[team] += 1
    return tuple(tasks)
