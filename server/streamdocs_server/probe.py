"""The command ``probe``: whether those who write answer, what becomes of it, and how fast they are. Keeps nothing."""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction

from streamdocs.checks.lengths import lengths_of
from streamdocs.checks.probed import START_SECONDS, Asked, Measured, Probe
from streamdocs.config import RunFile
from streamdocs.errors import ConfigError, EngineError
from streamdocs.recipes.keys import Writers
from streamdocs.recipes.synthllm import SynthLLM
from streamdocs.run import Run
from streamdocs.store import LmdbStore, Store
from streamdocs.store.base import TABLES
from streamdocs.writers import GeneratorSection
from streamdocs_server.engines import Answer
from streamdocs_server.engines.sglang import check_can_start
from streamdocs_server.gates.gates import Gates
from streamdocs_server.work import programs
from streamdocs_server.work.desk import Desk, make_desk
from streamdocs_server.work.lanes import make_lanes
from streamdocs_server.work.lanes.lane import Lane
from streamdocs_server.work.lanes.leases import server_name
from streamdocs_server.work.loop import GenerationLoop
from streamdocs_server.work.outcome import Outcome
from streamdocs_server.work.resolve import Resolver
from streamdocs_server.work.statistics import Statistics

#: Of the time in which speed is measured, the first part is not counted: servers are not busy yet.
_WARM_UP = 0.25
_TICK_SECONDS = 0.1
#: Documents whose concepts make the graph of a probe.
_FIRST_GRAPH = 256
#: No run has as many documents.
_MOST_LEAD = 1 << 40
#: Completion tokens of the answers for the item that a task writes.
_ANSWERED: ContextVar[list[int]] = ContextVar("answered")
_SKIPPED = "its SGLang server is started by streamdocs-server; --speed starts it, too"


async def probe_run(file: RunFile, gates: Gates, seconds: float, deadline: float) -> Probe:
    """Ask each writer of a run for something, and for ``seconds`` measure how fast they are together.

    Args:
        file: The run.
        gates: What is accepted.
        seconds: How long; 0 asks for one item of each stream alone.
        deadline: Seconds that a writer has to be there, and to answer.

    Raises:
        ConfigError: Of a writer not enough is said, or too much.
        CorpusError: The corpus cannot be read.
    """
    found = Probe()
    started = [name for name, section in file.sections_of_writers.items() if _is_started(section)]
    for name in started:
        try:
            check_can_start(file.sections_of_writers[name])
        except ConfigError as error:
            found.faults[name] = str(error)
    if found.faults:
        return found
    if started and not seconds:
        return replace(found, skipped=dict.fromkeys(started, _SKIPPED))
    desk = make_desk(file)
    try:
        for writer in desk.writers:
            limit = max(deadline, START_SECONDS) if writer.name in started else deadline
            try:
                async with asyncio.timeout(limit):
                    found.models[writer.name] = " ".join(filter(None, await writer.begin()))
            except TimeoutError:
                found.faults[writer.name] = f"no answer in {limit:.0f} s: {_waits_for(desk)}"
            except EngineError as error:
                found.faults[writer.name] = str(error)
        if found.faults:
            return found
        served = None if file.writers else await desk.default.begin()
        with tempfile.TemporaryDirectory(prefix="streamdocs-probe-") as folder:
            run, store = _early(file, file.who_writes(served)), LmdbStore(folder)
            counts, most = Statistics(), file.server.attempts
            lanes = make_lanes(run, store, desk, gates, server_name(), counts, attempts=most, max_lead=_MOST_LEAD)
            for lane in lanes:
                given = {each.name: getattr(lane.resolver, each.name) for each in fields(Resolver) if each.init}
                counted = _Counts(outcome=Outcome(file.server.failure_budget))
                lane.resolver = _Counting(**{**given, "statistics": counted})
            found = await _ask_each(found, lanes, desk, deadline)
            if found.faults or not seconds:
                return found
            speed = await _measure(_InTurns(lanes, store, server_name(), counts, desk=desk), seconds)
            return replace(found, written=_written(lanes, store), tokens_per_second=speed)
    finally:
        await desk.close()


def _is_started(section: GeneratorSection) -> bool:
    return section.engine == "sglang" and section.model_path is not None and not section.endpoint


def _waits_for(desk: Desk) -> str:
    """What keeps those who write, and what helps."""
    waits = [*filter(None, (pool.waits_for for pool in desk.pools))]
    return "; ".join([*waits, "check that it runs and that its endpoint is right, or give it longer with --deadline"])


@dataclass
class _Counts(Statistics):
    """Counts that also say how many items were written, and how many completion tokens these took."""

    items: int = 0
    item_tokens: int = 0

    def add_answer(self, answer: Answer) -> None:
        """Count an answer's tokens, also for the item that is being written."""
        super().add_answer(answer)
        _ANSWERED.get().append(sum(each.completion_tokens for each in answer.completions))


@dataclass
class _Heard(Statistics):
    """Counts that also keep what was answered."""

    texts: list[str] = field(default_factory=list)

    def add_answer(self, answer: Answer) -> None:
        """Count an answer's tokens, and keep its texts."""
        super().add_answer(answer)
        self.texts += [each.text for each in answer.completions]


@dataclass(frozen=True)
class _Counting(Resolver):
    """A resolver that counts what each item takes."""

    async def write(self, document: int, round: int) -> programs.Written:
        """Likewise."""
        answered: list[int] = []
        _ANSWERED.set(answered)  # each item is a task, with a context of its own
        written = await super().write(document, round)
        counts = self.statistics
        if isinstance(counts, _Counts):
            counts.items += 1
            counts.item_tokens += sum(answered)
        return written


class _InTurns(GenerationLoop):
    """Writes of every lane as much as of any other, so that something is known of each."""

    def urgency(self, lane: Lane, number: int) -> float:
        """As much as it had."""
        return lane.resolver.statistics.completion_tokens


def _early(file: RunFile, who: Writers | None) -> Run:
    """The run, with a first graph of so few documents that a probe comes to walks through it."""
    run = Run.of(file, who)
    few = str(Fraction(min(_FIRST_GRAPH, len(run.corpus.documents)), len(run.corpus.documents)))
    sections = {
        name: section.model_copy(update={"recipe": replace(section.recipe, editions=(few,))})
        for name, section in file.streams_by_name.items()
        if isinstance(section.recipe, SynthLLM) and section.recipe.graph
    }
    streams = {**file.streams_by_name, **sections}
    return Run.of(file.model_copy(update={"streams": streams, "recipe": None}), who) if sections else run


async def _ask_each(found: Probe, lanes: Sequence[Lane], desk: Desk, deadline: float) -> Probe:
    """What each lane makes of its first item; one that is about walks has none before there is a graph."""
    name = desk.default.name
    for lane in (lane for lane in lanes if lane.scope.plans is None):
        try:
            async with asyncio.timeout(deadline):
                found.asked.append(await _ask(lane))
        except TimeoutError:
            waits = f"no answer to a prompt of stream {lane.name} in {deadline:.0f} s: {_waits_for(desk)}"
            return replace(found, faults={name: waits})
        except EngineError as error:
            return replace(found, faults={name: str(error)})
    return found


def _written(lanes: Sequence[Lane], store: Store) -> dict[str, Measured]:
    """What was written of each lane, and what an item of it takes in a store.

    What steps gave, and notes, is dealt to those that have steps, by what they asked for.
    """
    with store.read() as snapshot:
        sizes = {table: sum(len(key) + len(value) for key, value in snapshot.scan(table, b"")) for table in TABLES}
    samples = {lane.name: lengths_of(store, lane.scope) for lane in lanes}
    counts = {lane.name: lane.resolver.statistics for lane in lanes if isinstance(lane.resolver.statistics, _Counts)}
    beside = float(sizes["texts"] + sizes["notes"] + sizes["blocks"])
    for lane in lanes:
        kept = samples[lane.name].items if lane.scope.recipe.compared else counts[lane.name].items
        beside -= kept * samples[lane.name].text_bytes
    stepped = {lane.name for lane in lanes if not lane.scope.recipe.is_plain} or {*counts}
    each = max(beside, 0) / max(sum(counts[name].completion_tokens for name in stepped), 1)
    overhead = store.size() / max(sum(sizes.values()), 1)
    found = {}
    for name, counted in counts.items():
        more = each * counted.item_tokens / counted.items if name in stepped and counted.items else 0.0
        size = (samples[name].bytes + more) * overhead
        found[name] = Measured(counted.items, counted.item_tokens, size, samples[name])
    return found


async def _ask(lane: Lane) -> Asked:
    """Have the first item of a lane written; it is not kept, and counts nowhere."""
    document = int(lane.order.sources_of(lane.order.block(0))[0])
    started = time.monotonic()
    heard = _Heard()
    written = await replace(lane.resolver, statistics=heard).write(document, 0)
    seconds = time.monotonic() - started
    causes = [cause for cause in written.texts.causes if cause]
    accepted = sum(text is not None for text in written.texts.texts)
    tokens = sum(map(len, lane.scope.corpus.tokenizer.encode_batch(heard.texts)))
    return Asked(lane.name, accepted, causes, seconds, heard.completion_tokens, tokens)


async def _measure(loop: GenerationLoop, seconds: float) -> float:
    """Completion tokens a second of a loop that runs for so long, or until all is written."""
    marks: list[tuple[float, int]] = []
    working = asyncio.create_task(loop.run())
    started = time.monotonic()
    try:
        while not working.done() and time.monotonic() - started < seconds:
            marks.append((time.monotonic() - started, _completions(loop)))
            await asyncio.wait({working}, timeout=_TICK_SECONDS)
        marks.append((time.monotonic() - started, _completions(loop)))
    finally:
        loop.drain(0)
        with suppress(EngineError):  # what is of no use was told already
            await working
    last, total = marks[-1]
    begun, before = next(mark for mark in marks if mark[0] >= _WARM_UP * last)
    return (total - before) / (last - begun) if last > begun else 0.0


def _completions(loop: GenerationLoop) -> int:
    return sum(lane.resolver.statistics.completion_tokens for lane in loop.lanes)
