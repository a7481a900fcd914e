"""Sealing: which units a window's synthetic sequences are made of.

A pure function of the state after the window before and of what the store holds. Done once a window; everyone else
reads the manifest, so a sealed window replays bit for bit whatever has been generated since.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple, Protocol

import msgpack
import numpy as np
import zstandard

from streamdocs.arrays import Bools, Ints
from streamdocs.packing import Generation, Packer, Unit, Units
from streamdocs.recipes import WEB_UNIT, Recipe
from streamdocs.schedule import DocumentOrder, GenerationOrder, Mixture

WhenBehind = Literal["wait", "reuse", "web"]

#: With "reuse", a run starts once it would read no unit more often than this in its first window.
#: (At the mixtures that work best in arXiv 2603.18534 each generation is read about 16 times in all.)
MOST_READS_IN_FIRST_WINDOW = 16

_CHUNK = 64
_SCAN = 65_536
_NO_ROUND = 1 << 31


class Shelf(Protocol):
    """What a store holds at one moment."""

    @property
    def watermark(self) -> int:
        """(round, document) items resolved, in the order of generation."""

    def lengths(self, document: int, round: int) -> list[int]:
        """Tokens of each generation of a round of a document, 0 for a rejected one; empty where the record is lost."""


@dataclass(frozen=True)
class State:
    """Where the synthetic stream stands before a window.

    Args:
        window: The window to seal next.
        sweep, cursor: The next document to consider: the ``cursor``-th in the order of this sweep.
        carry: Units begun in the window before.
        skip: Tokens of the first of them that were read there.
        filler_rows: Sequences read from the filler stream so far.
        generated_tokens, synthetic_rows: Read so far: tokens of generations, sequences made of units.
    """

    window: int = 0
    sweep: int = 0
    cursor: int = 0
    carry: tuple[Unit, ...] = ()
    skip: int = 0
    filler_rows: int = 0
    generated_tokens: int = 0
    synthetic_rows: int = 0


@dataclass(frozen=True)
class Manifest:
    """A sealed window.

    Args:
        before, after: State before and after it.
        units: What its synthetic sequences are cut from, after the first ``before.skip`` tokens.
        unit_rows: Synthetic sequences made of units; the rest of them is filled with web text.
        watermark: What existed: items resolved when it was sealed.
    """

    before: State
    after: State
    units: Units
    unit_rows: int
    watermark: int

    @property
    def oldest_round(self) -> int:
        """The oldest round that this window, or what is left over for the next, refers to."""
        carried = [generation.round for unit in self.after.carry for generation in unit.generations]
        return min([*self.units.rounds.tolist(), *carried], default=_NO_ROUND)

    def pack(self) -> bytes:
        """Compressed msgpack."""
        arrays = {name: array.astype("<u4").tobytes() for name, array in vars(self.units).items()}
        fields = [vars(self.before), vars(self.after), arrays, self.unit_rows, self.watermark]
        return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(msgpack.packb(fields))

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> "Manifest":
        """The manifest that ``pack`` wrote."""
        before, after, arrays, unit_rows, watermark = msgpack.unpackb(zstandard.decompress(data))
        units = Units(**{name: np.frombuffer(array, "<u4").astype(np.int64) for name, array in arrays.items()})
        return cls(_state(before), _state(after), units, unit_rows, watermark)


class NotYet(NamedTuple):
    """A window that cannot be sealed yet, and what it lacks."""

    missing: str


class _Candidate(NamedTuple):
    unit: Unit
    sweep: int
    cursor: int


class _Taken(NamedTuple):
    """Units, the token at which each ends, and the place in the sweeps after the last."""

    units: list[Unit]
    ends: Ints
    sweep: int
    cursor: int

    @property
    def tokens(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0


class Sealer:
    """Seals windows of one run.

    Args:
        mixture, recipe, order, generation_order, packer: The run's arithmetic.
        document_tokens: int64 (documents,), tokens of each web document.
        when_behind: What to do where generations are missing.
    """

    def __init__(
        self,
        mixture: Mixture,
        recipe: Recipe,
        order: DocumentOrder,
        generation_order: GenerationOrder,
        packer: Packer,
        document_tokens: Ints,
        when_behind: WhenBehind,
    ) -> None:
        self._mixture = mixture
        self._recipe = recipe
        self._order = order
        self._generation_order = generation_order
        self._packer = packer
        self._document_tokens = document_tokens
        self._when_behind = when_behind

    def seal(self, state: State, shelf: Shelf) -> Manifest | NotYet:
        """The manifest of window ``state.window``, or what is missing."""
        rows = len(self._mixture.rows(state.window)[1])
        wanted = rows * self._mixture.max_seq_len + state.skip
        taken = self._take(state, shelf, wanted)
        lacking = taken.tokens < wanted and self._when_behind != "web"
        if lacking or self._starts_too_early(state, taken, wanted, shelf.watermark):
            return self._not_yet(taken, shelf.watermark)
        return self._manifest(state, taken, rows, shelf.watermark)

    def _take(self, state: State, shelf: Shelf, wanted: int) -> _Taken:
        """Units until ``wanted`` tokens are there, or as many as there are."""
        taken = _Taken(list(state.carry), np.cumsum(self._lengths(state.carry)), state.sweep, state.cursor)
        candidates = self._candidates(state, shelf)
        while taken.tokens < wanted and (chunk := list(islice(candidates, _CHUNK))):
            ends = taken.tokens + np.cumsum(self._lengths([candidate.unit for candidate in chunk]))
            used = min(int(np.searchsorted(ends, wanted)) + 1, len(chunk))
            units = taken.units + [candidate.unit for candidate in chunk[:used]]
            last = chunk[used - 1]
            taken = _Taken(units, np.concatenate([taken.ends, ends[:used]]), last.sweep, last.cursor)
        return taken

    def _manifest(self, state: State, taken: _Taken, rows: int, watermark: int) -> Manifest:
        unit_rows = min(rows, (taken.tokens - state.skip) // self._mixture.max_seq_len)
        read = state.skip + unit_rows * self._mixture.max_seq_len
        done = int(np.searchsorted(taken.ends, read, side="right"))  # units read to their end
        skip = read - (int(taken.ends[done - 1]) if done else 0)
        new_units = taken.units[len(state.carry) :]
        after = State(
            window=state.window + 1,
            sweep=taken.sweep,
            cursor=taken.cursor,
            carry=tuple(taken.units[done:]),
            skip=skip,
            filler_rows=state.filler_rows + rows - unit_rows,
            generated_tokens=state.generated_tokens + sum(g.tokens for unit in new_units for g in unit.generations),
            synthetic_rows=state.synthetic_rows + unit_rows,
        )
        return Manifest(state, after, Units.of(taken.units[: done + (skip > 0)]), unit_rows, watermark)

    def _lengths(self, units: Sequence[Unit]) -> Ints:
        arrays = Units.of(units)
        return self._packer.unit_tokens(arrays, self._document_tokens[arrays.documents])

    def _candidates(self, state: State, shelf: Shelf) -> Iterator[_Candidate]:
        """Units in reading order, up to the first that is missing; with "reuse", on and on over those that exist."""
        sweep, cursor = state.sweep, state.cursor
        barren = 0  # documents in a row that gave nothing
        while barren < self._order.documents * self._recipe.sweeps:
            order = self._order.order("synthetic", sweep)[cursor : cursor + _SCAN]
            slots = self._recipe.slots_of_sweep(sweep % self._recipe.sweeps, order, self._order.seed)
            newest = self._generation_order.newest_round(order, shelf.watermark)
            there = self._there(newest, slots)
            gap = self._when_behind != "reuse" and not there.all()
            if gap:
                there[int(np.argmin(there)) :] = False
            barren += len(order)
            for at in np.flatnonzero(there).tolist():
                unit = self._unit(int(order[at]), int(newest[at]), None if slots is None else int(slots[at]), shelf)
                if unit is not None:
                    barren = 0
                    yield _Candidate(unit, sweep, cursor + at + 1)
            if gap:
                return
            cursor += len(order)
            if cursor >= self._order.documents:
                sweep, cursor = sweep + 1, 0

    def _there(self, newest: Ints, slots: Ints | None) -> Bools:
        """Which documents have the generations that this sweep reads of them."""
        if slots is None:
            return newest >= (self._recipe.cycle - 1 if self._when_behind == "wait" else 0)
        return newest >= np.maximum(slots, 0) // self._recipe.round_size

    def _unit(self, document: int, newest: int, slot: int | None, shelf: Shelf) -> Unit | None:
        """The unit of a document from its newest rounds; None where every generation it needs was rejected or lost."""
        recipe = self._recipe
        if slot == WEB_UNIT:
            return Unit(document, ())
        if slot is None:
            rounds = range(max(0, newest - recipe.cycle + 1), newest + 1)
            found = [g for round in rounds for g in self._generations(document, round, shelf)]
            found.sort(key=lambda g: recipe.place_of_slot(g.round % recipe.cycle * recipe.round_size + g.number))
        else:
            phase, number = divmod(slot, recipe.round_size)
            found = self._generations(document, newest - (newest - phase) % recipe.cycle, shelf)[number : number + 1]
        generations = tuple(generation for generation in found if generation.tokens)
        return Unit(document, generations) if generations else None

    @staticmethod
    def _generations(document: int, round: int, shelf: Shelf) -> list[Generation]:
        return [Generation(round, number, tokens) for number, tokens in enumerate(shelf.lengths(document, round))]

    def _starts_too_early(self, state: State, taken: _Taken, wanted: int, watermark: int) -> bool:
        """With "reuse": whether too little exists yet to begin a run on."""
        begins = state.sweep == state.cursor == 0 and not state.carry
        if self._when_behind != "reuse" or not begins or not wanted or watermark >= self._order.documents:
            return False
        distinct = dict(zip(taken.units, np.diff(taken.ends, prepend=0).tolist(), strict=True))
        return sum(distinct.values()) * MOST_READS_IN_FIRST_WINDOW < wanted

    def _not_yet(self, taken: _Taken, watermark: int) -> NotYet:
        documents = self._order.documents
        if self._when_behind == "reuse":
            return NotYet(f"too little to start on: {watermark} of {documents} documents have generations")
        item = self._generation_order.wanted_items(taken.sweep, taken.cursor + 1)
        return NotYet(f"item {item} in the order of generation is wanted, {watermark} are resolved")


def _state(fields: dict[str, Any]) -> State:
    carry = tuple(
        Unit(document, tuple(Generation(*generation) for generation in generations))
        for document, generations in fields.pop("carry")
    )
    return State(carry=carry, **fields)
