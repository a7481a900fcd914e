"""Plans of rounds: which edition a round's walks are drawn from, sealed before its first block is begun."""

from typing import NamedTuple

import msgpack
import numpy as np
from pydantic import TypeAdapter

from streamdocs._base.arrays import Count, Ints
from streamdocs._base.hashing import TEXT_DIGEST_BYTES, canonical, digest128
from streamdocs._base.untrusted import unpack
from streamdocs.documents import Documents
from streamdocs.errors import StoreError
from streamdocs.store import Store

_DIGEST_BYTES = 16
_PACKED = TypeAdapter(tuple[bytes, Count])


class Plan(NamedTuple):
    """Which walks a round has.

    edition: Digest of the edition, 16 bytes. first: Which of its walks the round begins with.
    """

    edition: bytes
    first: int


class Plans:
    """The plans of a stream's rounds, and with them the walks of its items.

    Args:
        series: Whose they are: the id of its scope.
        sources: The stream's.
        walks: Walks of an item, one after another.
    """

    def __init__(self, series: bytes, sources: Documents, walks: int) -> None:
        self._series = series
        self._numbers = sources.numbers
        self._identity = canonical(sources.identity)
        self.walks = walks
        self._store: Store | None = None
        self._known: dict[int, Plan] = {}

    def attach(self, store: Store) -> None:
        """From now on, look into a store."""
        self._store = store

    def find(self, round: int) -> Plan | None:
        """The plan of a round; None where it has none yet.

        Raises:
            StoreError: It is damaged.
        """
        if round not in self._known:
            with self._the_store.read() as snapshot:
                found = snapshot.get("windows", self._key(round))
            if found is None:
                return None
            self._known[round] = self._unpacked(round, found)
        return self._known[round]

    def of_round(self, round: int) -> Plan:
        """The plan of a round.

        Raises:
            StoreError: It has none, or it is damaged.
        """
        if (plan := self.find(round)) is None:
            raise StoreError(
                f"round {round} has no plan in store {self._the_store.location}, so nothing was written of it: restore "
                "the store"
            )
        return plan

    def seal(self, round: int, edition: bytes) -> Plan:
        """Plan a round with an edition, unless somebody else was faster: its plan.

        The walks go on where the round before ended that has the same edition.
        """
        before = self.find(round - 1) if round else None
        first = before.first + len(self._numbers) * self.walks if before and before.edition == edition else 0
        self._the_store.add("windows", {self._key(round): msgpack.packb(Plan(edition, first))})
        return self.of_round(round)

    def digests(self, sources: Ints, rounds: Ints) -> list[bytes]:
        """Of each item, a digest of all that prompts can say about it: edition and documents, and its first walk."""
        firsts = self._firsts(sources, rounds).astype(">u8").tobytes()
        editions = {round: digest128(self.of_round(round).edition + self._identity) for round in set(rounds.tolist())}
        size = TEXT_DIGEST_BYTES - _DIGEST_BYTES
        return [editions[round] + firsts[size * at : size * (at + 1)] for at, round in enumerate(rounds.tolist())]

    def walks_of(self, source: int, round: int) -> range:
        """The walks of an item, by their numbers in the edition of its round."""
        (first,) = self._firsts(np.array([source]), np.array([round])).tolist()
        return range(first, first + self.walks)

    def _firsts(self, sources: Ints, rounds: Ints) -> Ints:
        """int64 (items,): the first walk of each."""
        of_round = {round: self.of_round(round).first for round in set(rounds.tolist())}
        begin = np.array([of_round[round] for round in rounds.tolist()], np.int64)
        return begin + np.searchsorted(self._numbers, sources) * self.walks

    @property
    def _the_store(self) -> Store:
        if self._store is None:
            raise StoreError("the plans of rounds are in a store, and none was attached")
        return self._store

    def _key(self, round: int) -> bytes:
        return b"plan/" + self._series + round.to_bytes(4, "big")

    def _unpacked(self, round: int, packed: bytes | memoryview) -> Plan:
        try:
            plan = Plan(*_PACKED.validate_python(unpack(packed)))
            if len(plan.edition) != _DIGEST_BYTES:
                raise ValueError("no digest of an edition")
        except ValueError as error:
            raise StoreError(
                f"the plan of round {round} in store {self._the_store.location} cannot be read ({error}): restore the "
                "store"
            ) from error
        return plan
