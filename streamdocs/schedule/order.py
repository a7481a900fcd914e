"""In which order sources come: for each stream and sweep another."""

from collections.abc import Callable
from typing import Any

import numpy as np
from streaming.base.shuffle import algos, get_shuffle

from streamdocs._base.arrays import Int32s, Ints
from streamdocs._base.caching import remember
from streamdocs._base.hashing import seeded_numbers
from streamdocs.errors import ConfigError

#: Returns what ``make`` does, the ``number``-th array of a series: kept from before, or made now.
Keep = Callable[[str, int, Callable[[], Int32s]], Int32s]


def anew(series: str, number: int, make: Callable[[], Int32s]) -> Int32s:
    """Keeps nothing."""
    return make()


class Shuffle:
    """How the sources of a run are shuffled, whatever the stream.

    Args:
        seed: Seed of the run.
        shuffle: False keeps the order of the corpus in every sweep.
        algorithm, canonical_nodes, block_size: As in StreamingDataset (``shuffle_algo`` and so on).
    """

    def __init__(
        self,
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
        self.seed = seed
        self.shuffle = shuffle
        self.algorithm = algorithm
        self.canonical_nodes = canonical_nodes
        self.block_size = block_size

    @property
    def fields(self) -> dict[str, object]:
        """The same as ``identity`` by the names of a run file."""
        names = ("shuffle_seed", "shuffle_algo", "num_canonical_nodes", "shuffle_block_size")
        return {"shuffle": self.shuffle, **dict(zip(names, self.identity, strict=False))}

    @property
    def identity(self) -> list[object]:
        """All that an order depends on apart from the stream and its sources."""
        return [self.seed, self.algorithm, self.canonical_nodes, self.block_size] if self.shuffle else []


class SourceOrder:
    """In which order the sources of a stream come: streaming's own shuffle, for each sweep a new one.

    Args:
        shard_sizes: Sources in each shard, in order.
        shuffle: How they are shuffled.
        stream: Name of the stream, which makes its orders differ from those of others.
        chosen: int32 (sources,), sorted: which documents they are, of ``documents``; None for all.
        documents: Documents of the corpus.
    """

    def __init__(
        self,
        shard_sizes: Ints,
        shuffle: Shuffle,
        stream: str,
        chosen: Int32s | None = None,
        documents: int | None = None,
    ) -> None:
        self._shard_sizes = np.asarray(shard_sizes, np.int64)
        #: How many there are.
        self.sources = int(self._shard_sizes.sum())
        self._documents = documents or self.sources
        self._chosen = chosen
        if not 1 <= shuffle.canonical_nodes <= self.sources:
            raise ConfigError(f"num_canonical_nodes={shuffle.canonical_nodes}: from 1 to the {self.sources} documents")
        self.shuffle = shuffle
        self._stream = stream
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

    def _order(self, sweep: int) -> Int32s:
        """int32 (sources,): the documents in the order in which this sweep of the stream reads them."""
        return self._keep(self._stream, sweep, lambda: self._new_order(sweep))

    def _rank(self, sweep: int) -> Int32s:
        """int32 (documents,): place of each source in a sweep; of documents that are none of them, any number."""
        return self._keep(f"{self._stream} rank", sweep, lambda: self._new_rank(sweep))

    def _new_order(self, sweep: int) -> Int32s:
        how = self.shuffle
        if how.shuffle:
            number = int(seeded_numbers(np.array([sweep]), how.seed, self._stream)[0] >> np.uint64(33))
            nodes, size = how.canonical_nodes, how.block_size
            found = get_shuffle(how.algorithm, self._shard_sizes, nodes, number, 0, size).astype(np.int32)
        else:
            found = np.arange(self.sources, dtype=np.int32)
        return found if self._chosen is None else self._chosen[found]

    def _new_rank(self, sweep: int) -> Int32s:
        rank = np.zeros(self._documents, np.int32)
        rank[self.order(sweep)] = np.arange(self.sources, dtype=np.int32)
        return rank
