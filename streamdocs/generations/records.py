"""What a store holds of the generations that a run reads."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Ints
from streamdocs.generations.encoding import Checksums, TokenTable, known_table, read_table, short_checksums
from streamdocs.generations.progress import read_watermark
from streamdocs.generations.record_cache import Found, RecordCache, found_dtype
from streamdocs.schedule.packing import Unit, Units
from streamdocs.store import Snapshot, Values
from streamdocs.streams import GenerationScope

#: What can be wrong with a generation, by its number in what was found of a record.
FAULTS = ("", "missing", "damaged", "another text")
_MISSING, _DAMAGED, _OTHER = 1, 2, 3


def token_key(scope: GenerationScope, key_digest: bytes) -> bytes:
    """Where the tokens of a generation are: the same text has others for another tokenizer."""
    return bytes.fromhex(scope.corpus.tokenizer_digest[:16]) + key_digest


def token_keys(scope: GenerationScope, key_digests: Sequence[bytes]) -> list[bytes]:
    """The same of many."""
    prefix = token_key(scope, b"")
    return [prefix + digest for digest in key_digests]


class Records:
    """The records of a scope in a snapshot of a store.

    Args:
        snapshot, scope: Where, and of what.
        deep: Look at them down to the last token.
        cache: What was found of them in earlier snapshots, and what will be in this one; default nothing. It hides
            whatever was lost since, so a deep look should not be given one.
    """

    def __init__(
        self, snapshot: Snapshot, scope: GenerationScope, *, deep: bool = True, cache: RecordCache | None = None
    ) -> None:
        self._deep = deep
        self._snapshot = snapshot
        self._scope = scope
        recipe = scope.recipe
        self._cache = cache or RecordCache(len(scope.corpus.documents), recipe.cycle, recipe.round_size)
        self._lost: set[int] = set()

    def all_lengths(self, documents: Ints, rounds: Ints) -> npt.NDArray[np.uint32]:
        """uint32 (items, generations of a round): tokens of each generation; 0 for a rejected, damaged or lost one."""
        found, rows = self._find(documents, rounds)
        return found["lengths"][rows]

    def all_checksums(self, units: Units) -> Checksums:
        """uint64 (generations,): of the tokens of each generation of some units; 0 where its record is lost."""
        found, rows = self._find(units.owners, units.rounds)
        return found["checksums"][rows, units.numbers]

    def table(self, documents: Ints, rounds: Ints) -> TokenTable:
        """The records of (document, round) items; of those that are known only their size is looked at."""
        values = self._values(documents, rounds)
        found, rows = self._find(documents, rounds, values)
        lengths, checksums = found["lengths"][rows].astype(np.int64), found["checksums"][rows]
        return known_table(lengths, checksums, values, self._scope.corpus.dtype.itemsize)

    def faults(self, units: Units, checksums: Ints | None = None) -> list[str]:
        """What is wrong with each generation of some units: one of ``FAULTS``.

        ``checksums`` are short ones, int64 (generations,), where they are known.
        """
        found, rows = self._find(units.owners, units.rounds)
        faults = found["faults"][rows, units.numbers]
        other = found["lengths"][rows, units.numbers] != units.tokens
        if checksums is not None and len(checksums):
            other |= short_checksums(found["checksums"][rows, units.numbers]) != checksums
        faults[(faults == 0) & other] = _OTHER
        return [FAULTS[fault] for fault in faults.tolist()]

    def lacks(self, unit: Unit) -> bool:
        """Whether some generation of a unit is not there as it was."""
        return any(self.faults(Units.of([unit])))

    def forget(self) -> None:
        """Look at all records again: some may have been lost, and written anew."""
        self._cache.forget()

    def lost(self) -> list[int]:
        """Documents of which some record that was looked at is missing or damaged."""
        return sorted(self._lost)

    def _values(self, documents: Ints, rounds: Ints) -> Values:
        digests = self._scope.key_digests(documents, rounds)
        return self._snapshot.get_many("tokens", token_keys(self._scope, digests))

    def _find(self, documents: Ints, rounds: Ints, values: Values | None = None) -> tuple[Found, Ints]:
        """What is known of (document, round) items, as in the cache; ``values`` are their records, if at hand."""

        def look(at: Ints) -> Found:
            items = documents[at], rounds[at]
            return self._look(*items, values.at(at) if values else self._values(*items))

        return self._cache.find(documents, rounds, look)

    def _look(self, documents: Ints, rounds: Ints, values: Values) -> Found:
        checks = self._scope.key_checks(documents, rounds)
        table = read_table(checks, values, self._scope.recipe.round_size)
        found = np.zeros(len(documents), found_dtype(table.lengths.shape[1]))
        faults = found["faults"]
        if self._deep:
            items, numbers = (each.ravel() for each in np.indices(faults.shape))
            faults[~table.whole(items, numbers).reshape(faults.shape)] = _DAMAGED
        faults[~table.intact] = _DAMAGED
        faults[[buffer is None for buffer in values.buffers]] = _MISSING
        found["lengths"] = np.where(faults, 0, table.lengths)
        found["checksums"] = table.checksums
        self._lost.update(documents[faults.any(axis=1)].tolist())
        return found


class StoreShelf(Records):
    """What a snapshot of the store holds for a scope: the Shelf that sealing reads.

    Args:
        snapshot, scope: Where, and of what.
        known_watermark: A number of items known to be resolved, to begin counting from.
        deep, cache: As for Records.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        scope: GenerationScope,
        known_watermark: int,
        *,
        deep: bool,
        cache: RecordCache | None = None,
    ) -> None:
        super().__init__(snapshot, scope, deep=deep, cache=cache)
        self.watermark = read_watermark(snapshot, scope, known_watermark)
