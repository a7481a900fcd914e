"""Sealing: which units a window's synthetic sequences are made of.

A pure function of the state after the window before and of what the store holds. Done once a window; everyone else
reads the manifest, so a sealed window replays bit for bit whatever has been generated since.
"""

import math
from itertools import product
from typing import NamedTuple

import numpy as np

from streamdocs._base.arrays import Ints
from streamdocs.generations.encoding import short_checksums
from streamdocs.ledger.manifest import Manifest, State
from streamdocs.schedule.choosing import Chooser, Shelf
from streamdocs.schedule.mixture import WhenBehind
from streamdocs.schedule.packing import Units
from streamdocs.schedule.rounds import GenerationOrder
from streamdocs.streams import SyntheticStream

#: With "reuse", a run starts once it would read no unit more often than this in its first window.
#: (At the mixtures that work best in arXiv 2603.18534 each generation is read about 16 times in all.)
MOST_READS_IN_FIRST_WINDOW = 16

#: Fewest and most documents that are looked at together.
_LOOK = (64, 65_536)
_MARGIN = 1.02


class NotYet(NamedTuple):
    """A window that cannot be sealed yet, what it lacks, and whether nothing was ever read of its stream."""

    missing: str
    begins: bool = False


class _Look(NamedTuple):
    """Units found among some documents of a sweep.

    units: They. places: int64 (units,), the place in the sweep after each.
    looked: Documents looked at. missing: The (round, document) item that the next unit in order lacks, where that is
        not to be skipped.
    """

    units: Units
    places: Ints
    looked: int
    missing: tuple[int, int] | None


class _Taken(NamedTuple):
    """Units, the token at which each ends, the place in the sweeps after the last, and the item that the next lacks."""

    units: Units
    ends: Ints
    sweep: int
    cursor: int
    missing: tuple[int, int] | None

    @property
    def tokens(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0


class Sealer:
    """Seals windows of one stream. An example: docs/worked-example.md.

    Args:
        stream: Its arithmetic, and nothing else of it, is used.
        generation_order: Its scope's.
        when_behind: What to do where generations are missing.
    """

    def __init__(self, stream: SyntheticStream, generation_order: GenerationOrder, when_behind: WhenBehind) -> None:
        self._rows = stream.rows
        self._length = stream.mixture.max_seq_len
        self._recipe = stream.recipe
        self._order = stream.order
        self._unit_tokens = stream.unit_tokens
        self._generation_order = generation_order
        self._when_behind = when_behind
        self._chooser = Chooser(stream.recipe)
        self._tokens_of_one = 0.0  # that documents looked at lately gave

    def filled(self, state: State, shelf: Shelf) -> Manifest:
        """The manifest of a window that begins no new unit: what those begun before leave is filled with web text."""
        carried = Units.of(state.carry)
        taken = _Taken(carried, np.cumsum(self._unit_tokens(carried)), state.sweep, state.cursor, None)
        return self._manifest(state, taken, len(self._rows(state.window)), shelf)

    def seal(self, state: State, shelf: Shelf) -> Manifest | NotYet:
        """The manifest of window ``state.window``, or what is missing."""
        rows = len(self._rows(state.window))
        wanted = rows * self._length + state.skip
        if self._starts_too_early(state, wanted, shelf):
            return NotYet(self._too_little(shelf.watermark), begins=True)
        taken = self._take(state, shelf, wanted)
        if taken.tokens < wanted and self._when_behind != "web":
            return NotYet(self._lack(taken, shelf.watermark), begins=not state.synthetic_rows)
        return self._manifest(state, taken, rows, shelf)

    def within(
        self, found: Manifest, state: State, shelf: Shelf, reuse: float, most: float | None
    ) -> Manifest | NotYet:
        """A window as it was found, unless it reads what exists too often and there will be more.

        Args:
            found: What sealing gave for a state and a shelf.
            reuse: How often what exists would have been read on average.
            most: How often that may be; None for any number.
        """
        more_comes = found.watermark != self._generation_order.total_items
        if reuse <= (most or math.inf) or not more_comes or not found.units.counts.any():
            return found
        if self._when_behind == "web":
            return self.filled(state, shelf)
        return NotYet(f"what exists would have been read {reuse:.1f} times on average, max_reuse is {most:g}")

    def _take(self, state: State, shelf: Shelf, wanted: int) -> _Taken:
        """Units until ``wanted`` tokens are there, or as many as there are: with "reuse", round and round."""
        units = [Units.of(state.carry)]
        lengths = [self._unit_tokens(units[0])]
        tokens, place, after = int(lengths[0].sum()), (state.sweep, state.cursor), (state.sweep, state.cursor)
        missing = None
        size, barren = self._enough(wanted - tokens), 0  # documents to look at next; those in a row that gave nothing
        # Between the last that gives something in one pass and the first in the next there are almost two passes.
        while tokens < wanted and barren < 2 * self._order.sources * self._recipe.sweeps:
            look = self._look(*place, size, shelf)
            found = self._unit_tokens(look.units)
            used = min(int(np.searchsorted(np.cumsum(found), wanted - tokens)) + 1, len(found))
            if used:
                after = (place[0], int(look.places[used - 1]))
            units.append(look.units[:used])
            lengths.append(found[:used])
            tokens += int(found[:used].sum())
            if missing := look.missing:
                break
            place = self._advanced(*place, look.looked)
            barren = 0 if used else barren + look.looked
            if used:
                self._tokens_of_one = int(found.sum()) / look.looked
            size = self._enough(wanted - tokens) if used else min(2 * size, _LOOK[1])
        return _Taken(Units.joined(units), np.cumsum(np.concatenate(lengths)), *after, missing)

    def _enough(self, tokens: int) -> int:
        """Documents that will give so many tokens, as far as is known: a few more, as each look has its price."""
        expected = math.ceil(_MARGIN * tokens / self._tokens_of_one) if self._tokens_of_one else 0
        return min(max(expected, _LOOK[0]), _LOOK[1])

    def _advanced(self, sweep: int, cursor: int, looked: int) -> tuple[int, int]:
        cursor += looked
        return (sweep, cursor) if cursor < self._order.sources else (sweep + 1, 0)

    def _manifest(self, state: State, taken: _Taken, rows: int, shelf: Shelf) -> Manifest:
        unit_rows = min(rows, (taken.tokens - state.skip) // self._length)
        read = state.skip + unit_rows * self._length
        done = int(np.searchsorted(taken.ends, read, side="right"))  # units read to their end
        skip = read - (int(taken.ends[done - 1]) if done else 0)
        new_units = taken.units[len(state.carry) :]
        units = taken.units[: done + (skip > 0)]
        checksums = shelf.all_checksums(units)
        after = State(
            window=state.window + 1,
            sweep=taken.sweep,
            cursor=taken.cursor,
            carry=tuple(taken.units[done:].listed()),
            skip=skip,
            filler_rows=state.filler_rows + rows - unit_rows,
            generated_tokens=state.generated_tokens + int(new_units.tokens.sum()),
            synthetic_rows=state.synthetic_rows + unit_rows,
            history=units.extend(state.history, checksums),
        )
        return Manifest(state, after, units, short_checksums(checksums), unit_rows, shelf.watermark)

    def _look(self, sweep: int, cursor: int, size: int, shelf: Shelf) -> _Look:
        """The units of the next ``size`` documents of a sweep; unless with "reuse", up to the first that is missing."""
        documents = self._order.order(sweep)[cursor : cursor + size].astype(np.int64)
        units, at, missing = self._units(documents, sweep, shelf)
        return _Look(units, cursor + at + 1, len(documents), missing)

    def _units(self, documents: Ints, sweep: int, shelf: Shelf) -> tuple[Units, Ints, tuple[int, int] | None]:
        """Units of documents, the index of the document of each, and what is missing and not to be skipped."""
        slots = self._recipe.slots_of_sweep(sweep % self._recipe.sweeps, documents, self._order.shuffle.seed)
        newest = self._generation_order.newest_round(documents, shelf.watermark)
        needed = self._rounds_needed(slots, len(documents))
        there, missing = newest >= needed, None
        if self._when_behind != "reuse" and not there.all():
            first = int(np.argmin(there))
            there[first:] = False
            missing = int(needed[first]), int(documents[first])
        at = np.flatnonzero(there)
        units, given = self._chooser.units(documents[at], newest[at], None if slots is None else slots[at], shelf)
        return units, at[given], missing

    def _rounds_needed(self, slots: Ints | None, documents: int) -> Ints:
        """The newest round that this sweep reads of each document, or has to have of it."""
        if slots is None:
            return np.full(documents, self._recipe.cycle - 1 if self._when_behind == "wait" else 0)
        return np.maximum(slots, 0) // self._recipe.round_size

    def _starts_too_early(self, state: State, wanted: int, shelf: Shelf) -> bool:
        """With "reuse": whether too little exists yet to begin a run on. Quick, since it is asked again and again."""
        begins = state.sweep == state.cursor == 0 and not state.carry
        if self._when_behind != "reuse" or not begins or not wanted or shelf.watermark >= self._order.sources:
            return False
        order = self._order.order(self._recipe.order_of_round(0))
        tokens = 0
        for sweep, start in product(range(self._recipe.sweeps), range(0, shelf.watermark, _LOOK[0])):
            documents = order[start : min(start + _LOOK[0], shelf.watermark)].astype(np.int64)
            tokens += int(self._unit_tokens(self._units(documents, sweep, shelf)[0]).sum())
            if tokens * MOST_READS_IN_FIRST_WINDOW >= wanted:
                return False
        return True

    def _lack(self, taken: _Taken, watermark: int) -> str:
        if taken.missing is None:
            return self._too_little(watermark)
        round, document = taken.missing
        before = round * self._order.sources + self._order.rank(self._recipe.order_of_round(round))[document]
        return (
            f"round {round} of document {document} is wanted: {before + 1:,} documents x rounds, "
            f"of which {watermark:,} are resolved"
        )

    def _too_little(self, watermark: int) -> str:
        rounds, documents = divmod(watermark, self._order.sources)
        return (
            f"too little to start on: {rounds} rounds and {documents} of {self._order.sources} documents of the next "
            "are resolved"
        )
