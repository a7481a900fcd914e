"""Programs at work: an item's slots, step by step, each step kept under a key of its own as soon as it is there."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import NamedTuple, TypeVar

from streamdocs.generations.encoding import TextRecord, decode_text
from streamdocs.generations.rejected import RejectedText
from streamdocs.generations.steps.rows import REVISE, Row, after_answer, parts_of, step_request, with_choice
from streamdocs.recipes import Request
from streamdocs.recipes.keys import Key, step_key
from streamdocs.recipes.programs.chunks import tail
from streamdocs.recipes.programs.program import PREVIOUS, Step
from streamdocs.recipes.programs.tasks import Task, Team
from streamdocs.streams import GenerationScope
from streamdocs_server.engines import Completion
from streamdocs_server.engines.writer import Writer
from streamdocs_server.gates.gates import Gates, Rejected
from streamdocs_server.gates.steps import Given, gates_of, judge_step
from streamdocs_server.work.commit import Committer
from streamdocs_server.work.desk import Asked, Desk, Judge, another_seed
from streamdocs_server.work.slots import Slot, text_id
from streamdocs_server.work.statistics import Statistics

_T = TypeVar("_T")

Ask = Callable[[Writer, Request, int, Judge[Given]], Awaitable[Asked[Given]]]


class Written(NamedTuple):
    """The texts of an item, whether they are new (of the engine, and not of the store), and what they are compared by.

    compared: Of each slot, the output that the recipe names (``Recipe.compared``); None of one that has no text or was
        written before.
    """

    texts: TextRecord
    new: bool
    compared: Sequence[str | None] = ()


def without(written: Written, asked: Sequence[bool]) -> Written:
    """The texts without those whose output was ``asked`` for before."""
    texts, causes = [*written.texts.texts], [*written.texts.causes]
    for slot in (slot for slot, before in enumerate(asked) if before):
        texts[slot], causes[slot] = None, "asked before"
    return written._replace(texts=replace(written.texts, texts=texts, causes=causes))


@dataclass
class _Item:
    """One item at work: whose it is, the texts that it has, and what is counted of it."""

    document: int
    round: int
    seen: set[tuple[str, str]] = field(default_factory=set)
    attempts: int = 0
    cut: int = 0


@dataclass(frozen=True)
class _Work:
    """One step that is done for an item, and who is asked."""

    item: _Item
    step: Step
    writer: str
    #: Whether training reads the text, so that no other of the item may be the same.
    is_read: bool


@dataclass(frozen=True)
class Programs:
    """Writes items by the programs of their slots.

    Args:
        scope: Which generations.
        committer: Where steps are found and kept.
        desk: Those who write.
        ask: Asks one of them.
        gates, statistics, again: As of a Resolver.
    """

    scope: GenerationScope
    committer: Committer
    desk: Desk
    ask: Ask
    gates: Gates
    statistics: Statistics
    again: Set[str]

    async def write(
        self,
        document: int,
        round: int,
        sources: Sequence[Mapping[str, str]],
        earlier: Set[bytes],
        known: TextRecord | None = None,
    ) -> Written:
        """The texts of an item.

        Args:
            document, round: The item.
            sources: What the program of each slot reads.
            earlier: Digests (``text_id``) of texts that units have together with these.
            known: The item as it is stored; only slots that were rejected for a cause of ``again`` are written anew.

        Raises:
            EngineError: A writer cannot be used, and no other goes on.
        """
        item = _Item(document, round)
        tasks = self.scope.tasks(document, round)
        slots = {number: Slot.of(known, number, self.again) for number in range(len(tasks))}
        teams: dict[Team, dict[int, Slot]] = {}
        for number, task in enumerate(tasks):
            if not slots[number].is_done:
                teams.setdefault(task.team, {})[number] = slots[number]
        await _all(self._team(item, those, tasks, sources) for those in teams.values())
        texts, seen = list[str | None](), {*earlier}
        for number in range(len(tasks)):
            slot, program = slots[number], tasks[number].team.program
            text = program.join.join(slot.texts)
            if slot.is_done:
                texts.append(None if slot.cause else text)
                continue
            if not slot.cause and len(text) < min(program.least, sum(map(len, sources[number].values())) // 2):
                slot.cause = "too short"
            same = text_id(text)
            if not slot.cause and self.gates.distinct and same in seen:
                slot.cause = "duplicate"
            seen.add(same)
            texts.append(None if slot.cause else text)
        steps = [slots[number].steps for number in range(len(tasks))]
        causes = [slots[number].cause or None for number in range(len(tasks))]
        compared = [slots[number].compared if text else None for number, text in enumerate(texts)]
        return Written(TextRecord(texts, causes, item.attempts, item.cut, steps), True, compared)

    async def _team(
        self, item: _Item, slots: dict[int, Slot], tasks: Sequence[Task], sources: Sequence[Mapping[str, str]]
    ) -> None:
        """Write the slots of one team, by number: chunk by chunk, each step for all of them together."""
        team = tasks[next(iter(slots))].team
        parts = {number: parts_of(team.program, sources[number]) for number in slots}
        for at in range(max(map(len, parts.values()))):
            rows = []
            for number, slot in slots.items():
                if at < len(parts[number]) and not slot.cause:
                    before = tail(team.program.join.join(slot.texts))
                    values = {**parts[number][at], PREVIOUS: before}
                    rows.append(Row(number, values, tasks[number].ordinal, sent=slot.sent))
            for number, found in groupby(await self._steps(item, team, rows), key=lambda row: row.slot):
                whole = slots[number].add(team.program, list(found))
                if whole and self.scope.recipe.compared:
                    slots[number].compared = whole[0][self.scope.recipe.compared]
                self.statistics.outcome.correct(self.scope.stream, team.program, whole)

    async def _steps(
        self, item: _Item, team: Team, rows: list[Row], start: int = 0, stop: int | None = None
    ) -> list[Row]:
        """Rows after the steps from ``start`` to before ``stop``, in their order."""
        names = [step.name for step in team.program.steps]
        for number, step in [*enumerate(team.program.steps)][start:stop]:
            rows = await self._step(item, team, number, rows)
            if step.name == team.program.choose:
                rows = [row if row.cause else with_choice(team.program, step, row) for row in rows]
            if step.back is not None:
                again = partial(self._again, item, team, names.index(step.back), number + 1)
                rows = _flat(await _all(again(row) if row.cause == REVISE else _same(row) for row in rows))
        return rows

    async def _again(self, item: _Item, team: Team, back: int, stop: int, row: Row) -> list[Row]:
        """A row that a verdict sent back, after these steps were done once more."""
        sent = (*row.sent, team.program.steps[stop - 1].name)
        return await self._steps(item, team, [replace(row, cause="", sent=sent)], back, stop)

    async def _step(self, item: _Item, team: Team, number: int, rows: list[Row]) -> list[Row]:
        """Rows after one step, in their order. Those that fill its prompt alike are asked for together."""
        step = team.program.steps[number]
        is_read = step.parser == "text" and step.kind != "free" and step.name in team.program.read_names
        work = _Work(item, step, team.writers[number], is_read)
        alike: dict[tuple[str, ...], list[int]] = {}
        for at, row in enumerate(rows):
            if not row.cause:
                alike.setdefault(tuple(row.values.get(name, "") for name in step.inputs), []).append(at)
        after = [[row] for row in rows]
        found = await _all(
            self._alike(work, dict(zip(step.inputs, filled, strict=True)), [rows[at] for at in those])
            for filled, those in alike.items()
        )
        for those, made in zip(alike.values(), found, strict=True):
            for at, each in zip(those, made, strict=True):
                after[at] = each
        return _flat(after)

    async def _alike(self, work: _Work, fields: dict[str, str], rows: list[Row]) -> list[list[Row]]:
        """What becomes of each of some rows in a step whose prompt they all fill with ``fields``."""
        step = work.step
        key_of = partial(step_key, step, fields, self.scope.writers[work.writer])
        asked = [(row, row.ordinal * step.n + number) for row in rows for number in range(step.n)]
        keys = [key_of(step.answer(ordinal), 0 if step.once else len(row.sent)) for row, ordinal in asked]
        async with self.desk.lock(key_of(0, 0)):  # other programs and streams may want the same
            known = self._stored(wanted := dict.fromkeys(keys))
            records = {key: record for key, record in known.items() if self.again.isdisjoint(record.causes)}
            if missing := [key for key in wanted if key not in records]:
                records |= zip(missing, await self._asked(work, fields, missing, known), strict=True)
        after: list[list[Row]] = [[] for _ in rows]
        for at, (key, (row, ordinal)) in enumerate(zip(keys, asked, strict=True)):
            passed = replace(row, steps=(*row.steps, key.digest))
            after[at // step.n] += after_answer(passed, step, records[key], ordinal)
        return after

    def _stored(self, keys: Iterable[Key]) -> dict[Key, TextRecord]:
        """What the store has of some keys."""
        found = ((key, self.committer.find("texts", key, key.digest, decode_text)) for key in keys)
        return {key: record for key, record in found if record}

    async def _asked(
        self, work: _Work, fields: dict[str, str], keys: list[Key], known: Mapping[Key, TextRecord]
    ) -> list[TextRecord]:
        """What a step gives under some keys, once that is stored; what another server stored meanwhile comes first.

        ``known``: what there is of them, to be asked for again.
        """
        item, step, writer = work.item, work.step, self.desk[work.writer]
        old = [key for key in keys if key in known]
        before = max((known[key].attempts for key in old), default=0)
        request, judge = step_request(step, fields, len(keys)), partial(self._judge, work, gates_of(self.gates, step))
        async with self.desk.turn(writer):
            asked = await self.ask(writer, request, another_seed(keys[0].seed, before), judge)
            item.attempts, item.cut = max(item.attempts, asked.attempts), max(item.cut, asked.cut)
            made = [TextRecord([*given], [None] * len(given), asked.attempts, asked.cut) for given in asked.accepted]
            made += [TextRecord([None], [cause], before + asked.attempts, asked.cut) for cause in asked.causes]
            texts = dict(zip(keys, made, strict=True))
            if old:
                await self.committer.replace({}, {key: texts.pop(key) for key in old})
            stored = self.committer.give_texts(texts)
        await stored  # not in the writer's turn: that may take longer than an answer
        found = self._stored(keys)
        return [found.get(key, record) for key, record in zip(keys, made, strict=True)]

    def _judge(self, work: _Work, gates: Gates, completion: Completion, request: Request) -> Given | Rejected:
        """What an answer gives; a text to be read that the item has already is none."""
        item = work.item
        given = judge_step(gates, completion.text, completion.finish_reason, request, reasoned=completion.reasoned)
        if not isinstance(given, Rejected) and work.is_read and gates.distinct:
            same = (work.step.name, given[0])
            if same in item.seen:
                given = Rejected("duplicate")
            item.seen.add(same)
        if isinstance(given, Rejected):
            text = RejectedText(item.document, item.round, given.cause, completion.text)
            self.statistics.outcome.reject(text, self.scope.stream)
        return given


async def _same(row: Row) -> list[Row]:
    return [row]


def _flat(rows: Iterable[list[Row]]) -> list[Row]:
    return [row for each in rows for row in each]


async def _all(work: Iterable[Awaitable[_T]]) -> list[_T]:
    return await asyncio.gather(*work)
