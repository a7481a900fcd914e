"""The generation loop: blocks of all streams in the order in which training will read them, and nothing twice."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

from streamdocs.errors import EngineError, StoreError
from streamdocs.generations.heartbeat import beat, register_generator, register_scope, stop_beating
from streamdocs.generations.progress import Tally, sample_tally
from streamdocs.generations.rejected import rejections
from streamdocs.recipes.programs.tasks import DEFAULT_WRITER
from streamdocs.schedule.rounds import BLOCK
from streamdocs.store import Change, Changes, Store
from streamdocs.streams import GenerationScope
from streamdocs_server.work.desk import Desk
from streamdocs_server.work.lanes.blocks import Blocks
from streamdocs_server.work.lanes.lane import Lane
from streamdocs_server.work.lanes.leases import Leases
from streamdocs_server.work.outcome import small_model_warning
from streamdocs_server.work.statistics import Budget, Statistics

log = logging.getLogger(__name__)

_BEAT_SECONDS = 5.0
_IDLE_SECONDS = 0.2


class GenerationLoop:
    """Resolves the blocks of a run until none are left: of all streams, what training comes to first.

    Args:
        lanes: Of the run.
        store: Where generations go.
        server: Name of this server.
        statistics: Where its resolvers count.
        desk: Those who write.
        budget: What may be spent; default any amount.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        store: Store,
        server: str,
        statistics: Statistics,
        *,
        desk: Desk,
        budget: Budget | None = None,
    ) -> None:
        self.lanes = lanes
        self.statistics = statistics
        self.store = store
        self._server = server
        self.desk = desk
        self._budget = budget or Budget()
        self._blocks = Blocks(desk, statistics)
        #: When what is being asked for has to be there (monotonic seconds); None for as long as it takes.
        self._deadline: float | None = None
        self._beating = threading.Lock()
        self._stopped = self._useless = False
        self._spent = ""

    @property
    def finished(self) -> bool:
        """Whether every item of every round is resolved."""
        return all(lane.finished for lane in self.lanes)

    @property
    def state(self) -> str:
        """What it is about."""
        if self.finished:
            return "all rounds are done, and nothing is of use" if self._useless else "all rounds are done"
        if self._spent:
            return self._spent
        return "waits for the trainer" if self.waits_for_trainer else "generating"

    @property
    def waits_for_trainer(self) -> bool:
        """Whether no stream may go further until training does."""
        return not self.finished and all(lane.finished or lane.waits_for_trainer for lane in self.lanes)

    @property
    def watermark(self) -> int:
        """Items resolved without a gap, of all streams."""
        return sum(lane.watermark for lane in self.lanes)

    @property
    def total_items(self) -> int | None:
        """Items in all, None for endless rounds."""
        totals = [lane.total_items for lane in self.lanes]
        known = [total for total in totals if total is not None]
        return sum(known) if len(known) == len(totals) else None

    @property
    def rounds_done(self) -> int:
        """Rounds that are complete in every stream."""
        return min(lane.rounds_done for lane in self.lanes if lane.scope.is_read)

    @property
    def lead(self) -> int | None:
        """The smallest lead of a stream that is not finished, in items; None without any trainer."""
        leads = [lane.lead for lane in self.lanes if not lane.finished] or [lane.lead for lane in self.lanes]
        return min((lead for lead in leads if lead is not None), default=None)

    @property
    def in_flight(self) -> int:
        """Documents that are being asked for, or requests where each of them waits for its turn."""
        return self.desk.in_flight

    @property
    def queued(self) -> int:
        """Those that wait to be asked for."""
        return self.desk.queued

    def drain(self, seconds: float) -> None:
        """Begin no further document; ``run`` returns once those being asked for are stored, or after ``seconds``."""
        self._deadline = time.monotonic() + seconds
        self.desk.closed = True

    async def run(self) -> None:
        """Generate until all rounds are done, the budget is spent, or drained.

        Raises:
            EngineError: The engine cannot be used any more, or nothing that it writes can; what was committed stays.
            StoreError: The store cannot be written.
        """
        if warning := small_model_warning(self.lanes[0].scope.generator):
            log.warning("%s", warning)
        for lane in self.lanes:
            register_scope(self.store, lane.scope)
            for name in {DEFAULT_WRITER, *lane.scope.writer_names}:
                register_generator(self.store, lane.scope.writers[name])
        helpers = [
            asyncio.create_task(self._beat()),
            *(asyncio.create_task(self._keep_up(each)) for each in self.lanes),
        ]
        blocks: set[asyncio.Task[None]] = set()
        try:
            while True:
                await asyncio.to_thread(self._look)
                self._announce()
                while self._may_begin:
                    if (found := await asyncio.to_thread(self._next_block)) is None:
                        break
                    lane, number = found
                    blocks.add(self._blocks.begin(lane, number))
                if self.finished:
                    return await asyncio.to_thread(self._check_outcome)
                if self._drained or (self._spent and not blocks):
                    return None
                done, _ = await asyncio.wait(
                    {*blocks, *helpers}, timeout=_IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    task.result()
                blocks -= done
        finally:
            for lane in self.lanes:
                lane.stop()
            await _cancel({*blocks, *helpers})
            for lane in self.lanes:
                await lane.resolver.committer.flush()
            await asyncio.to_thread(self._leave)
            self._tell_outcome()

    @property
    def _may_begin(self) -> bool:
        """Whether another block may be begun: what has been begun is written to the end."""
        if not self._spent and (spent := self._budget.spent(self.statistics)):
            self._spent = spent
            log.warning("%s: what is being asked for is still stored. Training goes on with what there is", spent)
        if self._deadline is not None or self._spent:
            return False
        return not self._budget.spent(self.statistics, sum(lane.unfinished for lane in self.lanes))

    def _has_room(self, lane: Lane) -> bool:
        """Whether another block of a lane may be begun."""
        names = lane.scope.writer_names
        beside = (each.unfinished - each.waiting for each in self.lanes if each.scope.writer_names == names)
        # Some always wait for a slot, so that none is ever empty: a block may hang on its slowest document.
        return sum(beside) < self.desk.most_begun(names) + 2 * BLOCK

    @property
    def _drained(self) -> bool:
        asking = self._blocks.asking + self.desk.asking
        return self._deadline is not None and (not asking or time.monotonic() >= self._deadline)

    def _check_outcome(self) -> None:
        """Raise EngineError where all rounds are done and nothing came of them."""
        samples = [sample_tally(self.store, lane.scope) for lane in self.lanes]
        stored, few = sum((each for each, _ in samples), Tally()), all(whole for _, whole in samples)
        if fault := self.statistics.outcome.fault(stored.generations):
            self._useless = True
            raise EngineError(fault)
        if few and not stored.generations:
            self._useless = True
            causes = ", ".join(f"{cause} {count:,}" for cause, count in stored.rejected.most_common())
            raise EngineError(
                f"all rounds are done, and no generation was accepted ({causes}): mend the cause, and ask again with "
                "--again CAUSE"
            )

    def _tell_outcome(self) -> None:
        told, odd = self.statistics.outcome.account()
        log.log(logging.WARNING if odd else logging.INFO, "%s", told)

    def _leave(self) -> None:
        """Leave what was begun to others."""
        with self._beating:  # a beat may still be under way in its thread
            self._stopped = True
            try:
                self.store.update_all(self._signs(stop_beating, Leases.leave))
            except StoreError as error:
                log.warning("others take over when the leases of this server run out: %s", error)

    def _look(self) -> None:
        for lane in self.lanes:
            lane.look()

    def _announce(self) -> None:
        for lane in self.lanes:
            lane.announce()

    def _next_block(self) -> tuple[Lane, int] | None:
        """Lease the block that training comes to first, of all streams; None where there is none to do now."""
        while True:
            lanes = [lane for lane in self.lanes if self._has_room(lane)]
            coming = [(lane, number) for lane in lanes if (number := lane.next_block()) is not None]
            if not coming:
                return None
            lane, number = min(coming, key=lambda each: self.urgency(*each))
            if lane.take(number):
                return lane, number

    def urgency(self, lane: Lane, number: int) -> float:
        """What comes first: the block of a lane with the lowest."""
        return lane.urgency(number)

    async def _beat(self) -> None:
        while True:
            await asyncio.to_thread(self._beat_once)
            await asyncio.sleep(_BEAT_SECONDS)

    def _beat_once(self) -> None:
        with self._beating:
            if not self._stopped:
                self.store.update_all(self._signs(beat, Leases.renewal))

    def _signs(self, sign: Callable[[GenerationScope, str], Changes], leases: Callable[[Leases], Changes]) -> Changes:
        """What to say of every lane, at once: a sign of life or of leaving, leases, samples of what was rejected."""
        changes: dict[bytes, Change] = {}
        for lane in self.lanes:
            samples = self.statistics.outcome.take_samples(lane.name)
            changes |= {**sign(lane.scope, self._server), **leases(lane.leases), **rejections(lane.scope, samples)}
        return changes

    async def _keep_up(self, lane: Lane) -> None:
        while True:
            await asyncio.to_thread(lane.keep_up)
            await asyncio.sleep(min(lane.pause, _BEAT_SECONDS))


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
