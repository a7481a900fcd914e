"""Packing: units end to end, cut into sequences. Nothing is padded and nothing dropped.

A *unit* is one document of a training stream. Each is made of *pieces*: constants (BOS, EOS, marks), stretches of the
web document, generations. All of it is arithmetic on lengths; tokens are copied once, into the batch.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamdocs.arrays import Ints, Tokens
from streamdocs.layout import Layout, Part
from streamdocs.recipes import Recipe

_DOCUMENT_PARTS = (Part.DOCUMENT, Part.DOCUMENT_IF_ALONE, Part.DOCUMENT_HEAD, Part.DOCUMENT_NEXT)


class Generation(NamedTuple):
    """One generation in a unit: the ``number``-th of its round, and how many tokens it has."""

    round: int
    number: int
    tokens: int


class Unit(NamedTuple):
    """One document of a stream: a web document and the generations it is laid out with, in slot order."""

    document: int
    generations: tuple[Generation, ...]


@dataclass(frozen=True)
class Units:
    """Many units as arrays, the generations of all of them one after another.

    documents: int64 (units,). counts: int64 (units,), generations in each.
    rounds, numbers, tokens: int64 (generations,), as in Generation.
    """

    documents: Ints
    counts: Ints
    rounds: Ints
    numbers: Ints
    tokens: Ints

    @classmethod
    def of(cls, units: Iterable[Unit]) -> "Units":
        """Arrays of a list of units."""
        units = list(units)
        flat = np.array([g for unit in units for g in unit.generations], np.int64).reshape(-1, 3)
        documents = np.array([unit.document for unit in units], np.int64)
        counts = np.array([len(unit.generations) for unit in units], np.int64)
        return cls(documents, counts, *np.ascontiguousarray(flat.T))

    @classmethod
    def web(cls, documents: Ints) -> "Units":
        """Web documents by themselves."""
        none = np.zeros(0, np.int64)
        return cls(documents, np.zeros(len(documents), np.int64), none, none, none)


@dataclass(frozen=True)
class Pieces:
    """The pieces of a row of units, and where each ends in their concatenation.

    part, unit, document, generation, start, length, end: int64 (pieces,); ``generation`` indexes Units.rounds and its
    like, ``start`` is the first token within the document. Pieces without tokens are left out.
    """

    part: Ints
    unit: Ints
    document: Ints
    generation: Ints
    start: Ints
    length: Ints
    end: Ints


class Packer:
    """Lays units out by the rules of one recipe.

    Args:
        recipe: Where generations go (its cuts).
        layout: The parts of a unit.
        constants: Tokens of each constant part; missing ones have none.
    """

    def __init__(self, recipe: Recipe, layout: Layout, constants: dict[Part, Tokens]) -> None:
        self._recipe = recipe
        self._layout = layout
        self._lengths = np.zeros(len(Part), np.int64)
        for part, tokens in constants.items():
            self._lengths[part] = len(tokens)

    def unit_tokens(self, units: Units, document_tokens: Ints) -> Ints:
        """int64 (units,): tokens of each unit."""
        pieces = self.pieces(units, document_tokens)
        return np.bincount(pieces.unit, pieces.length, len(units.documents)).astype(np.int64)

    def pieces(self, units: Units, document_tokens: Ints) -> Pieces:
        """Lay out ``units``, whose web documents have ``document_tokens`` (units,) tokens."""
        before, each, after = self._layout.before, self._layout.each, self._layout.after
        sizes = len(before) + len(each) * units.counts + len(after)
        starts = np.cumsum(sizes) - sizes
        first_generation = np.cumsum(units.counts) - units.counts
        unit_of_generation = np.repeat(np.arange(len(units.counts)), units.counts)
        group_starts = starts[unit_of_generation] + len(before)
        group_starts += len(each) * (np.arange(len(units.tokens)) - first_generation[unit_of_generation])
        after_starts = starts + len(before) + len(each) * units.counts

        part = np.empty(int(sizes.sum()), np.int64)
        generation = np.full(len(part), -1, np.int64)
        for at, parts in ((starts, before), (group_starts, each), (after_starts, after)):
            for step, value in enumerate(parts):
                part[at + step] = value
        for step in range(len(each)):
            generation[group_starts + step] = np.arange(len(units.tokens))
        unit = np.repeat(np.arange(len(sizes)), sizes)

        start, length = self._document_spans(units, document_tokens, part, unit, generation)
        length += self._lengths[part]
        is_generation = part == Part.GENERATION
        length[is_generation] = units.tokens[generation[is_generation]]
        if self._layout.skip_first:
            length[starts[units.counts > 0] + len(before)] = 0
        kept = length > 0
        columns = (part, unit, units.documents[unit], generation, start, length)
        part, unit, document, generation, start, length = (column[kept] for column in columns)
        return Pieces(part, unit, document, generation, start, length, np.cumsum(length))

    def _document_spans(
        self, units: Units, document_tokens: Ints, part: Ints, unit: Ints, generation: Ints
    ) -> tuple[Ints, Ints]:
        """First token and number of tokens of the document's own pieces; zero for all others."""
        whole = document_tokens[unit]
        unit_of_generation = np.repeat(np.arange(len(units.counts)), units.counts)
        slots = units.rounds % self._recipe.cycle * self._recipe.round_size + units.numbers
        cuts = self._recipe.cuts(document_tokens[unit_of_generation], slots)
        # Each piece after a cut ends at the next cut of the same unit, the last one at the end of the document.
        last = np.cumsum(units.counts)[units.counts > 0] - 1
        next_cuts = np.append(cuts[1:], 0)
        next_cuts[last] = document_tokens[units.counts > 0]
        head_ends = document_tokens.copy()
        head_ends[units.counts > 0] = cuts[last - units.counts[units.counts > 0] + 1]

        start, stop = np.zeros_like(part), np.zeros_like(part)
        stop[part == Part.DOCUMENT] = whole[part == Part.DOCUMENT]
        alone = (part == Part.DOCUMENT_IF_ALONE) & (units.counts[unit] == 0)
        stop[alone] = whole[alone]
        head = part == Part.DOCUMENT_HEAD
        stop[head] = head_ends[unit[head]]
        follows = part == Part.DOCUMENT_NEXT
        start[follows] = cuts[generation[follows]]
        stop[follows] = next_cuts[generation[follows]]
        return start, stop - start


def is_document_part(part: int) -> bool:
    """Whether a piece comes from the web document."""
    return part in _DOCUMENT_PARTS
