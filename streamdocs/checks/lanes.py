"""What would be written of each scope, and what stands on its shelf then, of a run that nobody started yet."""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Ints
from streamdocs.checks.expected import Expected
from streamdocs.ledger.manifest import State
from streamdocs.schedule.packing import Units
from streamdocs.streams import SyntheticStream


class ExpectedShelf:
    """A shelf with generations of the lengths that are expected.

    Args:
        expected: Of the scope.
        watermark: Items that exist.
    """

    def __init__(self, expected: Expected, watermark: int) -> None:
        self.watermark = watermark
        self._expected = expected

    def all_lengths(self, documents: Ints, rounds: Ints) -> npt.NDArray[np.uint32]:
        """uint32 (items, generations of a round): tokens of each generation."""
        return self._expected.generation_tokens(documents).astype(np.uint32)

    def all_checksums(self, units: Units) -> npt.NDArray[np.uint64]:
        """uint64 (generations,): nothing, as nothing was written."""
        return np.zeros(len(units.tokens), np.uint64)


@dataclass
class Lane:
    """What is written of one scope.

    Args:
        expected: Of it.
        stream: That reads it; None for the concepts of a graph.
        lead: Items by which it may be ahead of training.
        items, begun: That were written, and that a server has begun.
    """

    expected: Expected
    stream: SyntheticStream | None
    lead: float
    items: float = 0.0
    begun: float = 0.0
    state: State = field(default_factory=State)
    #: Where items are about walks: what is written of the concepts, and how much of it has to be there first.
    concepts: "Lane | None" = None
    first: float = 0.0
    readers: "list[Lane]" = field(default_factory=list)

    @property
    def total(self) -> float:
        """Items in all."""
        return math.inf if self.expected.items is None else self.expected.items

    @property
    def writers(self) -> tuple[str, ...]:
        """Those who write it."""
        return tuple(self.expected.scope.writer_names)

    @property
    def watermark(self) -> int:
        """Items that are resolved: whole blocks."""
        order = self.expected.scope.generation_order
        if self.items >= self.total:
            return int(self.total)
        return order.first_item(order.block_of_item(int(self.items)))

    def room(self, *, waited_for: bool) -> float:
        """Items that may be begun."""
        if self.concepts and self.concepts.items < self.first:
            return 0.0
        wanted = self.expected.scope.generation_order.wanted_items(self.state.sweep, self.state.cursor)
        most = self.total if waited_for or self.stream is None else min(self.total, wanted + self.lead)
        return max(most - self.begun, 0.0)

    def urgency(self, item: int) -> float:
        """Sequences of the run that training reads until it comes to an item, as a server sees it."""
        if self.stream is None:
            return min(reader.urgency(item) for reader in self.readers)
        order, stream, recipe = self.expected.scope.generation_order, self.stream, self.stream.recipe
        if stream.when_behind == "wait" and recipe.cycle > 1:
            units = item - order.wanted_items(self.state.sweep, self.state.cursor)
        else:
            units = order.sources_until(item, self.state.sweep, self.state.cursor)
        # A server that has nothing of a stream yet takes its generations to be as long as they may be.
        each = self.expected.tokens / recipe.round_size if self.watermark else recipe.most_tokens
        if recipe.sweeps == 1:
            rounds = min(item // order.sources + 1, recipe.cycle)
            document = stream.filler.tokens / order.sources if recipe.reads_documents else 0
            each = document + rounds * recipe.round_size * each
        return units * each / float(stream.mixture.shares[stream.number].fraction * stream.mixture.max_seq_len)
