"""Those who write for a server: each an engine of its own, so that one that is down holds up nobody else's work."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from anyio import CapacityLimiter

from streamdocs.config import RunFile
from streamdocs.errors import ConfigError, EngineError
from streamdocs.recipes import Request
from streamdocs.recipes.keys import RULES, Key
from streamdocs.recipes.programs.tasks import DEFAULT_WRITER
from streamdocs_server.engines import Completion, Engine, RequestRefusedError
from streamdocs_server.engines.make import make_engine
from streamdocs_server.engines.pool import Pool
from streamdocs_server.engines.template import TemplateEngine
from streamdocs_server.engines.writer import Writer
from streamdocs_server.gates.gates import Rejected
from streamdocs_server.work.statistics import Statistics

log = logging.getLogger(__name__)

_T = TypeVar("_T")
#: What an answer to a request as it was sent comes to, or why it is rejected.
Judge = Callable[[Completion, Request], _T | Rejected]

#: Between the seeds of two attempts.
_NEXT_ATTEMPT = 0x9E3779B9
#: For a writer that failed: until it is begun anew, and how long after the last answer of another one it is given up.
_PAUSE_SECONDS, _PATIENCE_SECONDS = 15.0, 120.0
#: Documents that may be begun where several writers are needed.
_AHEAD = 1024


@dataclass(frozen=True)
class Asked(Generic[_T]):
    """What came of one request.

    Args:
        accepted: What the judge made of each answer that was accepted.
        causes: Why each of the others was rejected, in the end.
        attempts: How often it was asked.
        cut: Characters that were left out because the request was too long.
    """

    accepted: list[_T]
    causes: list[str]
    attempts: int
    cut: int = 0


class Desk(Mapping[str, Writer]):
    """The writers of a run by name, the default writer also as "".

    Args:
        writers: They, the default one first.
    """

    def __init__(self, writers: Sequence[Writer]) -> None:
        self.writers = list(writers)
        self._by_name = {DEFAULT_WRITER: self.writers[0], **{writer.name: writer for writer in writers}}
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        #: Requests that are being asked where each request waits for its turn.
        self.asking = 0
        #: Whether no further request is begun.
        self.closed = False

    @classmethod
    def of(cls, engine: Engine, slots: CapacityLimiter | None = None) -> "Desk":
        """One engine that writes all."""
        slots = slots or CapacityLimiter(256)
        return cls([Writer(DEFAULT_WRITER, lambda: engine, slots, _engine=engine, _known=True)])

    def __getitem__(self, name: str) -> Writer:
        """The writer of a name; that of rules is there where it is asked for."""
        if name == RULES and name not in self._by_name:
            self._by_name[name] = Writer(RULES, TemplateEngine, CapacityLimiter(self.default.slots.total_tokens))
            self.writers.append(self._by_name[name])
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        """Their names."""
        return iter(self._by_name)

    def __len__(self) -> int:
        """How many names there are."""
        return len(self._by_name)

    @property
    def default(self) -> Writer:
        """Who writes what names nobody."""
        return self.writers[0]

    @property
    def pools(self) -> list[Pool]:
        """The engines that are of servers."""
        return [writer.pool for writer in self.writers if writer.pool]

    @property
    def waits_for(self) -> str:
        """What nothing can be written without; "" where some writer can."""
        if any(writer.up for writer in self.writers):
            return ""
        return "; ".join(pool.waits_for for pool in self.pools)

    @property
    def in_flight(self) -> int:
        """Slots of all writers that are taken."""
        return sum(int(writer.slots.borrowed_tokens) for writer in self.writers)

    @property
    def queued(self) -> int:
        """Who waits for one of them."""
        return sum(writer.slots.statistics().tasks_waiting for writer in self.writers)

    def most_begun(self, names: Sequence[str]) -> float:
        """Documents that may be begun at once where these write: more than they take where they are several.

        So the others go on while one of them is down.
        """
        return self[names[0]].slots.total_tokens if len(names) == 1 else _AHEAD

    def lock(self, key: Key) -> asyncio.Lock:
        """One for all that want the same: the first asks for it, and the others find it."""
        return self._locks.setdefault(key.digest, asyncio.Lock())

    @asynccontextmanager
    async def turn(self, writer: Writer) -> AsyncIterator[None]:
        """One of the requests that a writer may have at once; never, once the desk is closed."""
        async with writer.slots:
            if self.closed:
                await asyncio.Event().wait()  # until whoever waits is cancelled
            self.asking += 1
            try:
                yield
            finally:
                self.asking -= 1

    async def _patiently(self, writer: Writer, ask: Callable[[], Awaitable[_T]]) -> _T:
        """What a writer answers. One that fails is begun anew now and then, as long as others write.

        Raises:
            RequestRefusedError: This request is never answered.
            EngineError: Nor is any, and nobody else writes either.
        """
        while True:
            try:
                return await ask()
            except RequestRefusedError:
                raise
            except EngineError as error:
                if not any(map(_is_at_work, (each for each in self.writers if each is not writer))):
                    if not writer.name:
                        raise
                    raise EngineError(f"writer {writer.name}: {error}") from error
                await self._begin_anew(writer, str(error))

    async def _begin_anew(self, writer: Writer, fault: str) -> None:
        """Make the engine of a writer anew after a pause, once for all who wait for it."""
        engine = writer.engine
        if not writer.fault:
            text = "writer %s is down, and tried again every %d s while others go on. It said: %s"
            log.warning(text, writer.name or "default", _PAUSE_SECONDS, fault)
        writer.fault = fault
        await asyncio.sleep(_PAUSE_SECONDS)
        if writer.engine is engine:
            await writer.close()

    async def ask(
        self,
        writer: Writer,
        request: Request,
        seed: int,
        judge: Judge[_T],
        *,
        attempts: int,
        statistics: Statistics,
    ) -> Asked[_T]:
        """Ask for a request's generations, and again for those that are rejected.

        Args:
            writer: Of whom.
            request, seed: What; it is cut where it is too long for the model.
            judge: What an answer to what was sent comes to, or why it is rejected.
            attempts: How often in all.
            statistics: Where answers are counted.

        Raises:
            EngineError: The writer cannot be used.
        """
        accepted: list[_T] = []
        causes: list[str] = []
        try:
            fitted = await self._patiently(writer, lambda: writer.fit(request))
        except RequestRefusedError as error:
            return Asked(accepted, _refused(error, request.n), 1)
        cut = _characters(request) - _characters(fitted)
        for attempt in range(attempts):
            missing = request.n - len(accepted)
            wanted = partial(writer.generate, replace(fitted, n=missing), another_seed(seed, attempt))
            try:
                with statistics.latency.time():
                    answer = await self._patiently(writer, wanted)
            except RequestRefusedError as error:
                return Asked(accepted, _refused(error, missing), attempt + 1, cut)
            statistics.add_answer(answer)
            verdicts = [judge(completion, fitted) for completion in answer.completions]
            accepted += [verdict for verdict in verdicts if not isinstance(verdict, Rejected)]
            causes = [verdict.cause for verdict in verdicts if isinstance(verdict, Rejected)]
            if not causes:
                break
        return Asked(accepted, causes, attempt + 1, cut)

    async def close(self) -> None:
        """Let go of every engine."""
        for writer in self.writers:
            await writer.close()


def _is_at_work(writer: Writer) -> bool:
    """Whether a writer goes on while another one is down."""
    return (writer.owes > 0 and not writer.fault) or time.monotonic() - writer.answered < _PATIENCE_SECONDS


def another_seed(seed: int, attempt: int) -> int:
    """The seed of an attempt; that of the first, 0, is the seed itself."""
    return (seed + attempt * _NEXT_ATTEMPT) % (1 << 32)


def _refused(error: RequestRefusedError, n: int) -> list[str]:
    """The causes of ``n`` generations that there will not be."""
    log.debug("a request was refused: %s", error)
    return [error.cause] * n


def _characters(request: Request) -> int:
    return sum(map(len, request.fields.values()))


def make_desk(file: RunFile) -> Desk:
    """The writers of a run file that some recipe of it asks.

    Raises:
        ConfigError: Of one of them not enough is said, or too much; or a recipe names one that there is not.
    """
    recipes = [section.recipe for section in file.streams_by_name.values() if section.recipe]
    recipes += [recipe.graph.concepts for recipe in recipes if recipe.graph]
    used = {name for recipe in recipes for name in recipe.writer_names}
    sections = file.sections_of_writers
    made, first = list[Writer](), next(iter(sections))
    for name, section in sections.items():
        if name in used or (name == first and DEFAULT_WRITER in used):
            slots = CapacityLimiter(file.server.max_in_flight)
            writer = Writer(
                name, partial(make_engine, section, slots, file.server.failure_budget), slots, section.model
            )
            made.append(writer)
    if not made:  # all is written by rules
        made.append(Writer(RULES, TemplateEngine, CapacityLimiter(file.server.max_in_flight)))
    if missing := sorted(used - {DEFAULT_WRITER, RULES, *sections}):
        raise ConfigError(f"writer {missing[0]!r}: the writers of this run are {', '.join(filter(None, sections))}")
    for writer in made:
        _ = writer.engine  # what cannot be made is known now
    return Desk(made)
