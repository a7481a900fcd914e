"""In which order generations are written, and how far that has come: one number, the watermark."""

from typing import NamedTuple

import numpy as np

from streamdocs._base.arrays import Ints
from streamdocs.recipes import Recipe
from streamdocs.schedule.order import SourceOrder

#: Generations are leased, committed and declared done in blocks of this many sources.
BLOCK = 16


class Block(NamedTuple):
    """A run of sources in one round of generation."""

    round: int
    place: int


class GenerationOrder:
    """In which order generations are written: round after round, each in the order of the sweep that wants it first.

    So "what exists" is one number, the watermark: all (round, source) items before it are resolved.
    """

    def __init__(self, recipe: Recipe, order: SourceOrder) -> None:
        self._recipe = recipe
        self._order = order
        self.sources = order.sources
        self.blocks_per_round = -(-self.sources // BLOCK)

    @property
    def total_items(self) -> int | None:
        """(round, source) items in all, None for endless rounds."""
        rounds = self._recipe.total_rounds
        return None if rounds is None else rounds * self.sources

    def block(self, number: int) -> Block:
        """Round and place of the ``number``-th block."""
        return Block(*divmod(number, self.blocks_per_round))

    def first_item(self, number: int) -> int:
        """Number of items before a block."""
        round, place = self.block(number)
        return round * self.sources + min(place * BLOCK, self.sources)

    def block_of_item(self, item: int) -> int:
        """The block that holds an item."""
        round, place = divmod(item, self.sources)
        return round * self.blocks_per_round + place // BLOCK

    def sources_of(self, block: Block) -> Ints:
        """The sources of a block, in the order in which they are wanted."""
        order = self._order.order(self._recipe.order_of_round(block.round))
        return order[block.place * BLOCK : (block.place + 1) * BLOCK].astype(np.int64)

    def newest_round(self, sources: Ints, watermark: int) -> Ints:
        """Newest round that exists of each source, -1 for none."""
        full, partial = divmod(watermark, self.sources)
        newest = np.full(len(sources), full - 1, np.int64)
        if partial:
            newest += self._order.rank(self._recipe.order_of_round(full))[sources] < partial
        return newest

    def generations_per_source(self, watermark: int) -> float:
        """Mean number of generations that a unit can draw on."""
        rounds = min(watermark / self.sources, self._recipe.cycle)
        return rounds * self._recipe.round_size

    def sources_until(self, item: int, sweep: int, cursor: int) -> int:
        """Sources that a trainer reads from a place in its sweeps until it first wants an item; negative: it did."""
        round, place = divmod(item, self.sources)
        return (self._recipe.order_of_round(round) - sweep) * self.sources + place - cursor

    def wanted_items(self, sweep: int, cursor: int) -> int:
        """Items that a trainer wants until this place in its sweeps."""
        round = self._recipe.last_round_wanted(sweep)
        read_before = self._recipe.order_of_round(round) < sweep  # by a sweep that wanted all of the round
        wanted = round * self.sources + (self.sources if read_before else cursor)
        return wanted if self.total_items is None else min(wanted, self.total_items)
