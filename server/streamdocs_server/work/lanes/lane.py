"""A lane: what a server writes for one scope, how far that is, and which block of it comes next."""

import asyncio
from abc import ABC, abstractmethod
from itertools import chain, takewhile

from streamdocs.generations.progress import block_key, read_watermark
from streamdocs.store import Store
from streamdocs_server.work.lanes.leases import Leases
from streamdocs_server.work.resolve import Resolver


class Lane(ABC):
    """The blocks of one scope, in the order of their generation.

    Args:
        store: Where generations go.
        resolver: Who resolves an item of it.
        server: Name of this server.
    """

    #: Most seconds between two times of ``keep_up``.
    pause = 5.0

    def __init__(self, store: Store, resolver: Resolver, server: str) -> None:
        self.scope = resolver.scope
        self.name = self.scope.stream
        self.order = self.scope.generation_order
        self.resolver = resolver
        self.leases = Leases(store, self.scope, server)
        self.store = store
        self.watermark = 0
        #: Whether no more can be written of it, whatever is missing.
        self.ended = False
        #: Sources in blocks that were begun, and of those the ones that are not resolved.
        self.unfinished = 0
        self.waits_for_trainer = False
        #: Of those, the ones that wait for the blocks before theirs.
        self.waiting = 0
        self._announced = asyncio.Event()
        # Blocks that other servers had at the last look.
        self._elsewhere: set[int] = set()

    @property
    def total_items(self) -> int | None:
        """Items in all; None for endless rounds."""
        return self.order.total_items

    @property
    def finished(self) -> bool:
        """Whether every item of every round is resolved, or no more can be."""
        return self.ended or self.watermark == self.total_items

    @property
    def rounds_done(self) -> int:
        """Rounds that are complete."""
        return self.watermark // self.order.sources

    @property
    def lead(self) -> int | None:
        """Items by which generation is ahead of what training wants; negative where it is behind, None without any."""
        return None

    def look(self) -> None:
        """See how far everyone is."""
        self._elsewhere = self.leases.taken()
        with self.store.read() as snapshot:
            self.watermark = read_watermark(snapshot, self.scope, self.watermark)

    def announce(self) -> None:
        """Tell those who wait for their turn what was seen."""
        announced, self._announced = self._announced, asyncio.Event()
        announced.set()

    async def turn(self, number: int) -> None:
        """Wait until all blocks before one are resolved."""
        while self.watermark < self.order.first_item(number):
            await self._announced.wait()

    def next_block(self) -> int | None:
        """The first block that is neither resolved nor somebody's; None where there is none to do now."""
        limit = self._limit()
        number = self.order.block_of_item(self.watermark)
        while (first := self.order.first_item(number)) < limit:
            if self._is_free(number):
                return number if self._is_planned(self.order.block(number).round) else None
            number += 1
        self.waits_for_trainer = self.total_items is None or first < self.total_items
        return None

    def take(self, number: int) -> bool:
        """Lease a block; whether no other server has it."""
        limit = self._limit()
        coming = takewhile(
            lambda each: self.order.first_item(each) < limit, range(number + 1, number + self.leases.many)
        )
        if self.leases.acquire(chain([number], filter(self._is_free, coming))):
            self.waits_for_trainer = False
            return True
        self._elsewhere |= {number, *self.leases.taken()}
        return False

    @abstractmethod
    def urgency(self, number: int) -> float:
        """Sequences of the run that training reads until it comes to what a block is for; negative: it was there."""

    @abstractmethod
    def keep_up(self) -> None:
        """Do what has to be done beside writing, from time to time. Returns soon where there is nothing to do."""

    @abstractmethod
    def stop(self) -> None:
        """Have ``keep_up`` return soon: what is left is for the next server."""

    def _is_free(self, number: int) -> bool:
        """Whether a block is neither resolved nor somebody's."""
        with self.store.read() as snapshot:
            resolved = snapshot.get("blocks", block_key(self.scope, number)) is not None
        return not resolved and number not in self.leases.held and number not in self._elsewhere

    def _is_planned(self, round: int) -> bool:
        """Whether it is settled what a round is about."""
        return True

    @abstractmethod
    def _limit(self) -> int:
        """Items before which work may begin."""
