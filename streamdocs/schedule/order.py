"""In which order documents come: for each stream and sweep another."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from streaming.base.shuffle import algos, get_shuffle

from streamdocs._base.arrays import Int32s, Ints
from streamdocs._base.caching import remember
from streamdocs._base.hashing import seeded_numbers
from streamdocs.errors import ConfigError

Stream = Literal["web", "synthetic", "filler"]


#: Returns what ``make`` does, the ``number``-th array of a series: kept from before, or made now.
Keep = Callable[[str, int, Callable[[], Int32s]], Int32s]


def anew(series: str, number: int, make: Callable[[], Int32s]) -> Int32s:
    """Keeps nothing."""
    return make()


class DocumentOrder:
    """In which order documents come: streaming's own shuffle, for each stream and sweep a new one.

    Args:
        shard_sizes: Documents in each shard, in order.
        seed: Seed of the run.
        shuffle: False keeps the order of the corpus in every sweep.
        algorithm, canonical_nodes, block_size: As in StreamingDataset (``shuffle_algo`` and so on).
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
        self._keep: Keep = anew
        self._cache()

    def _cache(self) -> None:
        self.order = remember(self._order, 4)
        self.rank = remember(self._rank, 2)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("order", "rank")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._cache()

    def share(self, keep: Keep) -> None:
        """From now on, take what was worked out from where ``keep`` has it."""
        self._keep = keep

    @property
    def fields(self) -> dict[str, object]:
        """The same as ``identity`` by the names of a run file."""
        names = ("shuffle_seed", "shuffle_algo", "num_canonical_nodes", "shuffle_block_size")
        return {"shuffle": self._shuffle, **dict(zip(names, self.identity, strict=False))}

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
