"""Plans of walks: which edition a round's walks are drawn from, sealed before its first block is begun."""

from typing import NamedTuple

import msgpack
import numpy as np
from pydantic import TypeAdapter

from streamdocs._base.arrays import Count, Ints
from streamdocs._base.hashing import TEXT_DIGEST_BYTES, canonical, digest128
from streamdocs._base.untrusted import unpack
from streamdocs.documents import Documents
from streamdocs.plans.sealed import SealedPlans

_DIGEST_BYTES = 16
_PACKED = TypeAdapter(tuple[bytes, Count])
#: They are small.
_MOST_KNOWN = 4096


class Plan(NamedTuple):
    """Which walks a round has.

    edition: Digest of the edition, 16 bytes. first: Which of its walks the round begins with.
    """

    edition: bytes
    first: int


class Plans(SealedPlans[Plan]):
    """The plans of a stream's rounds, and with them the walks of its items.

    Args:
        series: As of SealedPlans.
        sources: The stream's.
        walks: Walks of an item, one after another.
    """

    def __init__(self, series: bytes, sources: Documents, walks: int) -> None:
        super().__init__(series, _MOST_KNOWN)
        self._numbers = sources.numbers
        self._identity = canonical(sources.identity)
        self.walks = walks

    def seal(self, round: int, edition: bytes) -> Plan:
        """Plan a round with an edition, unless somebody else was faster: its plan.

        The walks go on where the round before ended that has the same edition.
        """
        before = self.find(round - 1) if round else None
        first = before.first + len(self._numbers) * self.walks if before and before.edition == edition else 0
        return self._add(round, msgpack.packb(Plan(edition, first)))

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

    def _unpack(self, packed: bytes | memoryview) -> Plan:
        plan = Plan(*_PACKED.validate_python(unpack(packed)))
        if len(plan.edition) != _DIGEST_BYTES:
            raise ValueError("no digest of an edition")
        return plan
