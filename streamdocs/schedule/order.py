"""Schedule: pure arithmetic that trainer and server share.

Which position of the run is web or synthetic, in which order documents come, and in which order their generations are
written. Nothing here reads a store or a clock.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, Literal, NamedTuple

import numpy as np
from streaming.base.shuffle import algos, get_shuffle

from streamdocs._base.arrays import Bools, Int32s, Ints
from streamdocs._base.caching import remember
from streamdocs._base.hashing import permutation, seeded_numbers
from streamdocs.errors import ConfigError
from streamdocs.recipes import Recipe

Stream = Literal["web", "synthetic", "filler"]

#: Generations are leased, committed and declared done in blocks of this many documents.
BLOCK = 16

#: Longest sequence and largest window: what is worked out for one of either has to fit in memory.
MOST_TOKENS, MOST_SEQUENCES = 1 << 24, 1 << 22


def exact_fraction(number: float | str) -> Fraction:
    """The share that a number says: 0.75 as 3/4, and "1/3" as it is.

    Raises:
        ConfigError: It is not a number from 0 to 1, or one of more than six decimals.
    """
    text = str(number)
    try:
        # An exponent of ten digits would make a number of ten billion.
        if len(text) > 64 or not re.fullmatch(r"[^eE]*([eE][-+]?[0-9]{1,3})?", text):
            raise ValueError(text[:64])
        fraction = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"synthetic_fraction={text[:64]!r} is not a number") from error
    if not 0 <= fraction <= 1 or fraction.denominator > 10**6:
        raise ConfigError(
            f"synthetic_fraction={number}: from 0 to 1 with at most six decimals, or a fraction like '1/3'"
        )
    return fraction


class WindowPlan(NamedTuple):
    """What each position of a window holds.

    synthetic: bool (window,), which positions are synthetic.
    row: int64 (window,), which of the window's web (or synthetic) sequences stands there.
    """

    synthetic: Bools
    row: Ints


@dataclass(frozen=True)
class Mixture:
    """Layout of the run: sequences p = 0, 1, 2, …, of which an exact share is synthetic, in windows.

    Args:
        fraction: Share of synthetic sequences, 0 to 1.
        max_seq_len: Tokens a sequence.
        window: Sequences a window.
        seed: Of the shuffle inside windows.
    """

    fraction: Fraction
    max_seq_len: int
    window: int
    seed: int

    def __post_init__(self) -> None:
        if self.max_seq_len < 1 or self.window < 1:
            raise ConfigError(f"max_seq_len={self.max_seq_len}, window={self.window}: both are at least 1")
        if self.max_seq_len > MOST_TOKENS or self.window > MOST_SEQUENCES:
            raise ConfigError(
                f"max_seq_len={self.max_seq_len}, window={self.window}: at most {MOST_TOKENS:,} and {MOST_SEQUENCES:,}"
            )

    def synthetic_before(self, position: int) -> int:
        """Synthetic sequences among the first ``position``: floor(position * fraction)."""
        return position * self.fraction.numerator // self.fraction.denominator

    def web_before(self, position: int) -> int:
        """Web sequences among the first ``position``."""
        return position - self.synthetic_before(position)

    def rows(self, window: int) -> tuple[range, range]:
        """Web and synthetic sequences of a window, as numbers of their streams."""
        first, last = window * self.window, (window + 1) * self.window
        web = range(self.web_before(first), self.web_before(last))
        return web, range(self.synthetic_before(first), self.synthetic_before(last))

    def plan(self, window: int) -> WindowPlan:
        """Which sequence of which stream stands where in a window: position p is synthetic where floor(pf) rises."""
        # floor(pf) less floor(p0 f), p0 the window's first position: small numbers, however far the run is.
        rest = window * self.window * self.fraction.numerator % self.fraction.denominator
        before = (rest + np.arange(self.window + 1) * self.fraction.numerator) // self.fraction.denominator
        synthetic = before[1:] > before[:-1]
        row = np.empty(self.window, np.int64)
        for kind, here in (("web", ~synthetic), ("synthetic", synthetic)):
            row[here] = permutation(int(here.sum()), self.seed, kind, window)
        return WindowPlan(synthetic, row)

    def epoch_sequences(self, web_tokens: int) -> int:
        """Sequences of one pass over ``web_tokens`` packed web tokens; where all is synthetic, of as many tokens."""
        web_share = 1 - self.fraction or Fraction(1)
        return ceil(Fraction(web_tokens, self.max_seq_len) / web_share)


def anew(series: str, number: int, make: Callable[[], Int32s]) -> Int32s:
    """Keeps nothing: see ``keep`` of DocumentOrder."""
    return make()


class DocumentOrder:
    """In which order documents come: streaming's own shuffle, for each stream and sweep a new one.

    Args:
        shard_sizes: Documents in each shard, in order.
        seed: Seed of the run.
        shuffle: False keeps the order of the corpus in every sweep.
        algorithm, canonical_nodes, block_size: As in StreamingDataset (``shuffle_algo`` and so on).
        keep: Returns what ``make`` does, the ``number``-th array of a series: kept from before, or made now.
    """

    def __init__(
        self,
        shard_sizes: Ints,
        seed: int,
        *,
        shuffle: bool = True,
        algorithm: str = "py1e",
        canonical_nodes: int = 1,
        block_size: int = 1 << 18,
        keep: Callable[[str, int, Callable[[], Int32s]], Int32s] = anew,
    ) -> None:
        if not 0 <= seed < 1 << 63:
            raise ConfigError(f"shuffle_seed={seed}: a number from 0 to 2**63 - 1")
        if algorithm not in algos:
            raise ConfigError(f"shuffle_algo={algorithm!r}; it is one of {', '.join(algos)}")
        self.documents = int(shard_sizes.sum())
        if not 1 <= canonical_nodes <= self.documents:
            raise ConfigError(f"num_canonical_nodes={canonical_nodes}: from 1 to the {self.documents} documents")
        self.seed = seed
        self._arguments = (algorithm, np.asarray(shard_sizes, np.int64), canonical_nodes)
        self._block_size = block_size
        self._shuffle = shuffle
        self._keep = keep
        self._cache()

    def _cache(self) -> None:
        self.order = remember(self._order, 4)
        self.rank = remember(self._rank, 2)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("order", "rank")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._cache()

    @property
    def identity(self) -> list[object]:
        """All that the order depends on apart from the corpus."""
        algorithm, _, canonical_nodes = self._arguments
        return [self.seed, algorithm, canonical_nodes, self._block_size] if self._shuffle else []

    def _order(self, stream: Stream, sweep: int) -> Int32s:
        """int32 (documents,): the documents in the order in which this sweep of the stream reads them."""
        return self._keep(stream, sweep, lambda: self._new_order(stream, sweep))

    def _rank(self, sweep: int) -> Int32s:
        """int32 (documents,): place of each document in a sweep of the synthetic stream."""
        return self._keep("rank", sweep, lambda: self._new_rank(sweep))

    def _new_order(self, stream: Stream, sweep: int) -> Int32s:
        if not self._shuffle:
            return np.arange(self.documents, dtype=np.int32)
        number = int(seeded_numbers(np.array([sweep]), self.seed, stream)[0] >> np.uint64(33))
        return get_shuffle(*self._arguments, number, 0, self._block_size).astype(np.int32)

    def _new_rank(self, sweep: int) -> Int32s:
        rank = np.empty(self.documents, np.int32)
        rank[self.order("synthetic", sweep)] = np.arange(self.documents, dtype=np.int32)
        return rank


class Block(NamedTuple):
    """A run of documents in one round of generation."""

    round: int
    place: int


class GenerationOrder:
    """In which order generations are written: round after round, each in the order of the sweep that wants it first.

    So "what exists" is one number, the watermark: all (round, document) items before it are resolved.
    """

    def __init__(self, recipe: Recipe, order: DocumentOrder) -> None:
        self._recipe = recipe
        self._order = order
        self.documents = order.documents
        self.blocks_per_round = -(-self.documents // BLOCK)

    @property
    def total_items(self) -> int | None:
        """(round, document) items in all, None for endless rounds."""
        rounds = self._recipe.total_rounds
        return None if rounds is None else rounds * self.documents

    def block(self, number: int) -> Block:
        """Round and place of the ``number``-th block."""
        return Block(*divmod(number, self.blocks_per_round))

    def first_item(self, number: int) -> int:
        """Number of items before a block."""
        round, place = self.block(number)
        return round * self.documents + min(place * BLOCK, self.documents)

    def block_of_item(self, item: int) -> int:
        """The block that holds an item."""
        round, place = divmod(item, self.documents)
        return round * self.blocks_per_round + place // BLOCK

    def documents_of(self, block: Block) -> Ints:
        """The documents of a block, in the order in which they are wanted."""
        order = self._order.order("synthetic", self._recipe.order_of_round(block.round))
        return order[block.place * BLOCK : (block.place + 1) * BLOCK].astype(np.int64)

    def newest_round(self, documents: Ints, watermark: int) -> Ints:
        """Newest round that exists of each document, -1 for none."""
        full, partial = divmod(watermark, self.documents)
        newest = np.full(len(documents), full - 1, np.int64)
        if partial:
            newest += self._order.rank(self._recipe.order_of_round(full))[documents] < partial
        return newest

    def generations_per_document(self, watermark: int) -> float:
        """Mean number of generations that a unit can draw on."""
        rounds = min(watermark / self.documents, self._recipe.cycle)
        return rounds * self._recipe.round_size

    def wanted_items(self, sweep: int, cursor: int) -> int:
        """Items that a trainer wants until this place in its sweeps."""
        round = self._recipe.last_round_wanted(sweep)
        read_before = self._recipe.order_of_round(round) < sweep  # by a sweep that wanted all of the round
        wanted = round * self.documents + (self.documents if read_before else cursor)
        return wanted if self.total_items is None else min(wanted, self.total_items)
