"""Plans of hard documents: which documents a round asks for more than once, sealed before its first block is begun."""

from dataclasses import dataclass

import msgpack
import numpy as np
import zstandard
from pydantic import TypeAdapter

from streamdocs._base.arrays import Count, Int32s, Ints
from streamdocs._base.caching import remember
from streamdocs._base.hashing import text_digest
from streamdocs._base.untrusted import decompress, unpack
from streamdocs.documents import Documents
from streamdocs.plans.sealed import SealedPlans
from streamdocs.recipes.rules import ErrorRule
from streamdocs.schedule.repeats import Repeats

_DIGEST_BYTES = 16
_PACKED = TypeAdapter(tuple[Count, Count, bytes, bytes, bytes])
#: Items that are known by themselves, and not among others: those that a server is at work on.
_MOST_ITEMS = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class HardPlan:
    """Which documents a round repeats.

    Args:
        first, stop: The windows whose reports are behind it, ``stop`` not among them; none where the two are the same.
        reports: Digest of these reports, 16 bytes.
        hard: int32 (hard documents,), sorted.
        counts: int32 (hard documents,): items about each beside its own.
    """

    first: int
    stop: int
    reports: bytes
    hard: Int32s
    counts: Int32s

    def pack(self) -> bytes:
        """Compressed msgpack: documents as steps from one to the next, and a byte for each count."""
        steps = np.diff(self.hard, prepend=0).astype("<i4").tobytes()
        body = msgpack.packb([self.first, self.stop, self.reports, steps, self.counts.astype(np.uint8).tobytes()])
        return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(body)

    @classmethod
    def unpack(cls, packed: bytes | memoryview) -> "HardPlan":
        """The plan that ``pack`` wrote.

        Raises:
            ValueError: It did not, or what it says cannot be.
        """
        first, stop, reports, steps, counts = _PACKED.validate_python(unpack(decompress(packed)))
        hard = np.cumsum(np.frombuffer(steps, "<i4"), dtype=np.int64)
        often = np.frombuffer(counts, np.uint8)
        if first > stop or len(reports) != _DIGEST_BYTES or len(hard) != len(often):
            raise ValueError("its parts contradict each other")
        if (np.diff(hard) <= 0).any() or not often.all() or (hard < 0).any() or (hard >= 1 << 31).any():
            raise ValueError("its documents are not in order, or not repeated")
        return cls(first=first, stop=stop, reports=reports, hard=hard.astype(np.int32), counts=often.astype(np.int32))


class HardPlans(SealedPlans[HardPlan]):
    """The plans of a stream's rounds, and with them the documents that its items are about.

    The first round has none: each of its items is about its own document.

    Args:
        series: As of SealedPlans; it is in the places of the repeats, too.
        sources: The stream's.
        rule: How documents are repeated.
        cycle: Rounds that are looked into at once.
    """

    def __init__(self, series: bytes, sources: Documents, rule: ErrorRule, cycle: int) -> None:
        super().__init__(series, cycle + 2)
        self._sources = sources
        self.rule = rule
        self._repeats = remember(self._open, cycle + 2)
        #: Of one item: the document that it is about, and its number, as of ``about``.
        self.item = remember(self._item, _MOST_ITEMS)

    def seal(self, round: int, plan: HardPlan) -> HardPlan:
        """Seal the plan of a round, unless somebody else was faster: the one that is sealed."""
        return self._add(round, plan.pack())

    def about(self, documents: Ints, rounds: Ints) -> tuple[Ints, Ints]:
        """The document that each item is about, and the number of the item among those of its round about the same.

        Args:
            documents, rounds: int64 (items,), where each stands.

        Returns:
            int64 (items,), int64 (items,): 0 is a document's own item.

        Raises:
            StoreError: A round has no plan, or it cannot be read.
        """
        about, numbers = documents.astype(np.int64), np.zeros(len(documents), np.int64)
        for round in np.unique(rounds[rounds > 0]).tolist():
            here = rounds == round
            about[here], numbers[here] = self._repeats(round).about(documents[here])
        return about, numbers

    def _item(self, document: int, round: int) -> tuple[int, int]:
        about, numbers = self.about(np.array([document]), np.array([round]))
        return int(about[0]), int(numbers[0])

    def places(self, document: int, round: int) -> list[int]:
        """Where the items of a round stand that are about a document, if its own is among them."""
        return self._repeats(round).places(document) if round else [document]

    def digests(self, documents: Ints, rounds: Ints) -> list[bytes]:
        """Of each item, the digest of the document that it is about; of one beside the own with its number."""
        about, numbers = self.about(documents, rounds)
        found = self._sources.digests(about)
        for at in np.flatnonzero(numbers).tolist():
            found[at] = _digest(found[at], int(numbers[at]))
        return found

    def digest(self, document: int, round: int) -> bytes:
        """That of one item."""
        about, number = self.item(document, round)
        (found,) = self._sources.digests(np.array([about]))
        return _digest(found, number) if number else found

    def _unpack(self, packed: bytes | memoryview) -> HardPlan:
        plan, sources = HardPlan.unpack(packed), self._sources.numbers
        if not np.isin(plan.hard, sources, assume_unique=True).all():
            raise ValueError("its documents are not the stream's")
        if plan.counts.sum() > self.rule.repeats(len(sources)) or plan.counts.max(initial=0) >= self.rule.cap:
            raise ValueError("it repeats more than it may")
        return plan

    def _open(self, round: int) -> Repeats:
        plan = self.of_round(round)
        return Repeats(self._sources.numbers, plan.hard, plan.counts, self._series.hex(), round)


def _digest(document: bytes, number: int) -> bytes:
    return text_digest(document + number.to_bytes(2, "big"))
