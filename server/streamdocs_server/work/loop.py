"""The generation loop: blocks in the order in which training will read them, never too far ahead, nothing twice."""

import asyncio
import contextlib
import logging
import threading
import time
from math import ceil

from anyio import CapacityLimiter

from streamdocs.errors import EngineError, StoreError
from streamdocs.generations.heartbeat import beat, register_generator, register_scope, stop_beating
from streamdocs.generations.progress import Tally, block_key, read_watermark, sample_tally
from streamdocs.generations.rejected import keep_rejected
from streamdocs.ledger.sealing import State
from streamdocs.ledger.waiting import wanted_beyond
from streamdocs.ledger.windows import newest_windows
from streamdocs.run import Run
from streamdocs.schedule.mixture import WhenBehind
from streamdocs.schedule.rounds import BLOCK
from streamdocs.store import Store
from streamdocs_server.work.leases import Leases
from streamdocs_server.work.outcome import small_model_warning
from streamdocs_server.work.resolve import Resolved, Resolver
from streamdocs_server.work.retire import Retirer

log = logging.getLogger(__name__)

_BEAT_SECONDS = 5.0
_IDLE_SECONDS = 0.2


class GenerationLoop:
    """Resolves the blocks of a run until none are left.

    Args:
        run: The run; it has a generator.
        store: Where generations go.
        resolver: Who resolves an item.
        server: Name of this server.
        slots: Documents asked for at once; the engine may change how many, below what they are at first.
        max_lead: Documents by which generation may be ahead of the trainer; default the whole corpus once.
        when_behind: What the trainer does where generations are missing.
    """

    def __init__(
        self,
        run: Run,
        store: Store,
        resolver: Resolver,
        server: str,
        *,
        slots: CapacityLimiter,
        max_lead: int | None,
        when_behind: WhenBehind = "reuse",
    ) -> None:
        self._scope = resolver.scope
        self._order = self._scope.generation_order
        self._store = store
        self._resolver = resolver
        self._server = server
        self._max_lead = max_lead or self._order.documents
        # Rounds come in orders of their own, and it waits for all generations of its next document.
        self._whole_rounds = when_behind == "wait" and self._scope.recipe.cycle > 1
        self._window_tokens = ceil(run.mixture.window * run.mixture.fraction) * run.mixture.max_seq_len
        self._slots = slots
        self._committer = resolver.committer
        self.leases = Leases(store, self._scope, server)
        self._retirer = Retirer(store, self._scope)
        self.statistics = resolver.statistics
        self.watermark = 0
        self._states: dict[bytes, State] = {}
        # Items that training wants by now, and those that its next window needs.
        self.wanted = 0
        self._needed = 0
        # A sample of what is stored, and whether it is all of that.
        self._stored, self._few_stored = Tally(), True
        self.waits_for_trainer = False
        # Documents in open blocks, and of those the ones that were begun.
        self._unfinished = 0
        self._asking = 0
        #: When what is being asked for has to be there (monotonic seconds); None for as long as it takes.
        self._deadline: float | None = None
        self._beating = threading.Lock()
        self._stopped = self._useless = False

    @property
    def finished(self) -> bool:
        """Whether every item of every round is resolved."""
        return self.watermark == self._order.total_items

    @property
    def state(self) -> str:
        """What it is about."""
        if self.finished:
            return "all rounds are done, and nothing is of use" if self._useless else "all rounds are done"
        return "waits for the trainer" if self.waits_for_trainer else "generating"

    @property
    def rounds_done(self) -> int:
        """Rounds that are complete."""
        return self.watermark // self._order.documents

    @property
    def lead(self) -> int | None:
        """Items by which generation is ahead of what training wants; negative where it is behind, None without any."""
        return self.watermark - self.wanted if self._states else None

    @property
    def in_flight(self) -> int:
        """Documents that are being asked for."""
        return int(self._slots.borrowed_tokens)

    @property
    def queued(self) -> int:
        """Documents that wait to be asked for."""
        return self._slots.statistics().tasks_waiting

    def drain(self, seconds: float) -> None:
        """Begin no further document; ``run`` returns once those being asked for are stored, or after ``seconds``."""
        self._deadline = time.monotonic() + seconds

    async def run(self) -> None:
        """Generate until all rounds are done, or drained.

        Raises:
            EngineError: The engine cannot be used any more, or nothing that it writes can; what was committed stays.
            StoreError: The store cannot be written.
        """
        if warning := small_model_warning(self._scope.generator):
            log.warning("%s", warning)
        register_generator(self._store, self._scope.generator)
        register_scope(self._store, self._scope)
        helpers = [asyncio.create_task(self._beat()), asyncio.create_task(self._retire())]
        blocks: set[asyncio.Task[None]] = set()
        try:
            while True:
                await asyncio.to_thread(self._look)
                # Some always wait for a slot, so that none is ever empty: a block may hang on its slowest document.
                while self._deadline is None and self._unfinished < self._slots.total_tokens + 2 * BLOCK:
                    if (number := await asyncio.to_thread(self._next_block)) is None:
                        break
                    documents = self._order.documents_of(self._order.block(number)).tolist()
                    self._unfinished += len(documents)
                    blocks.add(asyncio.create_task(self._resolve_block(number, documents)))
                if self.finished:
                    return await asyncio.to_thread(self._check_outcome)
                if self._drained:
                    return None
                done, _ = await asyncio.wait(
                    {*blocks, *helpers}, timeout=_IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    task.result()
                blocks -= done
        finally:
            self._retirer.stop()
            await _cancel({*blocks, *helpers})
            await self._committer.flush()
            await asyncio.to_thread(self._leave)
            self._tell_outcome()

    @property
    def _drained(self) -> bool:
        return self._deadline is not None and (not self._asking or time.monotonic() >= self._deadline)

    def _check_outcome(self) -> None:
        """Raise EngineError where all rounds are done and nothing came of them."""
        stored, few = sample_tally(self._store, self._scope)
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
                for number in list(self.leases.held):
                    self.leases.release(number)
                stop_beating(self._store, self._scope, self._server)
                self._keep_samples()
            except StoreError as error:
                log.warning("others take over when the leases of this server run out: %s", error)

    def _look(self) -> None:
        """See how far everyone is."""
        with self._store.read() as snapshot:
            self.watermark = read_watermark(snapshot, self._scope, self.watermark)
        # The run that is furthest, of all that read what is written here: another name or window is another ledger.
        known, self._states = self._states, {}
        for key, manifest in newest_windows(self._store, self._scope):
            with contextlib.suppress(ValueError):  # damaged, which its readers tell
                self._states[key] = known[key] if key in known else manifest().after
        states = [*self._states.values()] or [State()]
        self.wanted = max(self._order.wanted_items(state.sweep, state.cursor) for state in states)
        self._needed = max(self._items_of_next_window(state.sweep, state.cursor) for state in states)
        if wanted_beyond(self._store, self._scope) >= self.watermark:  # that was estimated too low
            self._needed = max(self._needed, self.watermark + max(self._max_lead, BLOCK))

    def _items_of_next_window(self, sweep: int, cursor: int) -> int:
        """What is wanted until the end of the next window, rather too much: without it training would never go on."""
        if self._few_stored:
            self._stored, self._few_stored = sample_tally(self._store, self._scope)
        recipe, stored = self._scope.recipe, self._stored
        units = stored.items * (recipe.round_size if recipe.sweeps > 1 else 1)  # that have so many tokens together
        documents = cursor + 2 * self._window_tokens * units // max(stored.tokens, 1)
        sweeps, cursor = divmod(documents, self._order.documents)
        return self._order.wanted_items(sweep + sweeps, self._order.documents if self._whole_rounds else cursor)

    def _next_block(self) -> int | None:
        """Lease the first block that is neither resolved nor somebody's; None where there is none to do now."""
        limit = self._limit()
        number = self._order.block_of_item(self.watermark)
        while (first := self._order.first_item(number)) < limit:
            with self._store.read() as snapshot:
                resolved = snapshot.get("blocks", block_key(self._scope, number)) is not None
            if not resolved and number not in self.leases.held and self.leases.acquire(number):
                self.waits_for_trainer = False
                return number
            number += 1
        total = self._order.total_items
        self.waits_for_trainer = total is None or first < total
        return None

    def _limit(self) -> int:
        """Items before which work may begin: within the lead, and at most one round above those in use."""
        rounds_in_store = self._retirer.retired_rounds + self._scope.recipe.cycle + 1
        limit = max(self.wanted + self._max_lead, self._needed)
        limit = min(limit, rounds_in_store * self._order.documents)
        return limit if self._order.total_items is None else min(limit, self._order.total_items)

    async def _resolve_block(self, number: int, documents: list[int]) -> None:
        round = self._order.block(number).round
        resolved = await asyncio.gather(*(self._resolve(document, round) for document in documents))
        whole = sum((each.tally for each in resolved), Tally())
        # Nobody reads tokens before their block is resolved, and those of a whole block lie together in the store.
        tokens = {key: record for each in resolved for key, record in each.tokens.items()}
        await self._committer.add({"tokens": tokens, "blocks": {block_key(self._scope, number): whole.pack()}})
        await asyncio.to_thread(self.leases.release, number)

    async def _resolve(self, document: int, round: int) -> Resolved:
        async with self._slots:
            if self._deadline is not None:
                await asyncio.Event().wait()  # until run() returns, and cancels this
            self._asking += 1
            text, new = await self._resolver.write(document, round)
            self.statistics.outcome.check()
        resolved = await self._resolver.resolve(document, round, text, new)
        self._asking -= 1
        self._unfinished -= 1
        if resolved.asked:
            self.statistics.written += resolved.tally
            self.statistics.asked += 1
        else:
            self.statistics.found += 1
        return resolved

    async def _beat(self) -> None:
        while True:
            await asyncio.to_thread(self._beat_once)
            await asyncio.sleep(_BEAT_SECONDS)

    def _beat_once(self) -> None:
        with self._beating:
            if not self._stopped:
                beat(self._store, self._scope, self._server)
                self.leases.renew()
                self._keep_samples()

    def _keep_samples(self) -> None:
        keep_rejected(self._store, self._scope, self.statistics.outcome.take_samples())

    async def _retire(self) -> None:
        if self._order.total_items == self._scope.recipe.cycle * self._order.documents:
            await asyncio.Event().wait()  # every round stays in use
        while True:
            await asyncio.to_thread(self._retirer.retire)
            await asyncio.sleep(_BEAT_SECONDS)


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
