"""Repeats: hard documents that a round asks for more than once, and the documents whose places that takes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Int32s, Ints
from streamdocs._base.hashing import seeded_numbers

#: Excess is compared in so many steps, so that it can be dealt by in whole numbers.
_STEPS = 1 << 20


def deal_repeats(excess: npt.NDArray[np.floating[Any]], total: int, most: int) -> Ints:
    """How often each document is repeated: in proportion to its excess, within one, and never more than ``most`` times.

    Args:
        excess: (documents,), by how much the loss on each is too high; what is not above 0, or no number, gets none.
        total: Repeats to deal. All are, where ``most`` of each document with an excess are as many.
        most: Of a document.

    Returns:
        int64 (documents,).
    """
    found = np.zeros(len(excess), np.int64)
    hard = np.flatnonzero(np.isfinite(excess) & (excess > 0))
    if total < 1 or not len(hard):
        return found
    if total >= most * len(hard):
        found[hard] = most
        return found
    above = excess[hard].astype(np.float64)
    order = np.argsort(-above, kind="stable")
    hard = hard[order]
    weights = 1 + np.floor(above[order] / above.max() * _STEPS).astype(np.int64)
    # The first documents have ``most``: as many as would get no less by their part of what is then left to deal.
    after = np.cumsum(weights[::-1])[::-1]
    left = total - most * np.arange(len(hard))
    full = int(np.argmax(weights * left < most * after))
    found[hard[:full]] = most
    rest, whole = int(left[full]), int(after[full])
    parts, remainders = np.divmod(weights[full:] * rest, whole)
    parts[np.argsort(-remainders, kind="stable")[: rest - int(parts.sum())]] += 1
    found[hard[full:]] = parts
    return found


class Repeats:
    """What a round's items are about, where some are about hard documents in the place of others.

    A place goes to each repeat at random, by a hash, and never that of a hard document: so each of these has its own
    item, too, and so has every other document but those whose places are given away.

    Args:
        sources: int64 (sources,), sorted: the documents of a stream.
        hard, counts: int32 (hard documents,), sorted, and how often each is repeated; together at most as often as
            there are others.
        seed: Of the places.
    """

    def __init__(self, sources: Ints, hard: Int32s, counts: Int32s, *seed: int | str) -> None:
        self._hard = hard
        self._ends = np.concatenate([[0], np.cumsum(counts)])
        others = np.setdiff1d(sources, hard, assume_unique=True)
        chosen = np.argsort(seeded_numbers(others, *seed, "repeats"), kind="stable")[: self._ends[-1]]
        # The places of each hard document, one after another; and the same in the order of the places.
        self._places = others[chosen].astype(np.int32)
        order = np.argsort(self._places)
        self._sorted = self._places[order]
        of = np.repeat(np.arange(len(hard)), counts)
        self._about = hard[of[order]]
        self._numbers = (np.arange(len(of)) - self._ends[of] + 1)[order].astype(np.int32)

    def about(self, places: Ints) -> tuple[Ints, Ints]:
        """The document that the item in each place is about, and its number: 0 for its own, then 1, 2, …

        Returns:
            int64 (places,), int64 (places,).
        """
        if not len(self._sorted):
            return places, np.zeros(len(places), np.int64)
        sought = places.astype(np.int32)  # of the type of what is searched, which would be converted otherwise
        at = np.minimum(np.searchsorted(self._sorted, sought), len(self._sorted) - 1)
        given = self._sorted[at] == places
        about, numbers = np.where(given, self._about[at], places), np.where(given, self._numbers[at], 0)
        return about.astype(np.int64), numbers.astype(np.int64)

    def places(self, document: int) -> list[int]:
        """All places whose items are about a document that has its own, in the order of their numbers."""
        at = int(np.searchsorted(self._hard, np.int32(document)))
        if at == len(self._hard) or self._hard[at] != document:
            return [document]
        return [document, *self._places[self._ends[at] : self._ends[at + 1]].tolist()]
