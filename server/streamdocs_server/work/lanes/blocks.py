"""Blocks at work: the texts of their items, compared where the recipe says so, then tokens and the block's record."""

import asyncio
import contextlib
from collections.abc import Sequence

from streamdocs.generations.progress import Tally, block_key
from streamdocs.generations.rejected import RejectedText
from streamdocs_server.gates.questions import Decided, decide
from streamdocs_server.work.desk import Desk
from streamdocs_server.work.lanes.lane import Lane
from streamdocs_server.work.programs import Written, without
from streamdocs_server.work.resolve import Resolved
from streamdocs_server.work.statistics import Statistics


class Blocks:
    """Resolves blocks.

    Args:
        desk: Those who write; once it is closed, no further document is begun.
        statistics: Where what was written is counted.
    """

    def __init__(self, desk: Desk, statistics: Statistics) -> None:
        self._desk = desk
        self._statistics = statistics
        #: Documents that are being written, where it is documents that wait for their turn.
        self.asking = 0

    def begin(self, lane: Lane, number: int) -> asyncio.Task[None]:
        """Begin a block that is leased."""
        sources = lane.order.sources_of(lane.order.block(number)).tolist()
        lane.unfinished += len(sources)
        return asyncio.create_task(self._resolve(lane, number, sources))

    async def _resolve(self, lane: Lane, number: int, sources: Sequence[int]) -> None:
        round = lane.order.block(number).round
        notes: dict[bytes, bytes] = {}
        if lane.scope.recipe.compared:
            resolved, notes = await self._compared(lane, number, round, sources)
        else:
            resolved = await asyncio.gather(*(self._item(lane, source, round) for source in sources))
        whole = sum((each.tally for each in resolved), Tally())
        # Nobody reads tokens before their block is resolved, and those of a whole block lie together in the store.
        tokens = {key: record for each in resolved for key, record in each.tokens.items()}
        texts = {key: text for each in resolved for key, text in each.texts.items()}
        done = {block_key(lane.scope, number): whole.pack()}
        await lane.resolver.committer.add({"tokens": tokens, "blocks": done, "notes": notes}, texts)
        lane.leases.release(number)

    async def _item(self, lane: Lane, source: int, round: int) -> Resolved:
        async with self._desk.lock(lane.scope.key(source, round)):
            whole = lane.scope.recipe.is_plain  # otherwise each step waits for the turn of its own writer
            async with self._desk.default.slots if whole else contextlib.nullcontext():
                if self._desk.closed:
                    await asyncio.Event().wait()  # until whoever began this cancels it
                self.asking += whole
                written = await lane.resolver.write(source, round)
                self._statistics.outcome.check()
            resolved = await lane.resolver.resolve(source, round, written)
            self.asking -= whole
        self._count(lane, resolved)
        return resolved

    async def _compared(
        self, lane: Lane, number: int, round: int, sources: Sequence[int]
    ) -> tuple[list[Resolved], dict[bytes, bytes]]:
        """The items of a block, of which those are left out that say what was said before, and notes for later blocks.

        What steps gave is stored as soon as it is there, so where this ends half-way nothing is asked for again.
        """

        async def write(source: int) -> Written:
            written = await lane.resolver.write(source, round)
            lane.waiting += 1
            return written

        items = await asyncio.gather(*map(write, sources))
        await lane.turn(number)
        found = await asyncio.to_thread(_decide, lane, number, items)
        kept = []
        for source, written, asked in zip(sources, items, found.asked, strict=True):
            for slot in (slot for slot, before in enumerate(asked) if before):
                text = RejectedText(source, round, "asked before", written.texts.texts[slot] or "")
                self._statistics.outcome.reject(text, lane.name)
            left = without(written, asked)
            if left.new:
                self._statistics.outcome.add(left.texts)
            kept.append(left)
        self._statistics.outcome.check()
        pairs = zip(sources, kept, strict=True)
        resolved = await asyncio.gather(*(lane.resolver.resolve(source, round, each) for source, each in pairs))
        for each in resolved:
            lane.waiting -= 1
            self._count(lane, each)
        return resolved, found.entries

    def _count(self, lane: Lane, resolved: Resolved) -> None:
        lane.unfinished -= 1
        if resolved.asked:
            self._statistics.written += resolved.tally
            self._statistics.asked += 1
        else:
            self._statistics.found += 1


def _decide(lane: Lane, number: int, items: Sequence[Written]) -> Decided:
    first, outputs = lane.order.first_item(number), [written.compared for written in items]
    with lane.store.read() as snapshot:
        return decide(snapshot, lane.scope.id, first, outputs)
