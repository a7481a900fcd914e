"""Packing: units end to end, cut into sequences. Nothing is padded and nothing dropped.

A *unit* is one document of a training stream. Each is made of *pieces*: constants (BOS, EOS, marks), stretches of the
web document, generations. All of it is arithmetic on lengths; tokens are copied once, into the batch.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Count, Int32s, Ints, Tokens
from streamdocs._base.hashing import digest128
from streamdocs.recipes import Recipe
from streamdocs.recipes.layout import Layout, Part

#: Parts that come from the web document.
DOCUMENT_PARTS = (Part.DOCUMENT, Part.DOCUMENT_IF_ALONE, Part.DOCUMENT_HEAD, Part.DOCUMENT_NEXT)


class Generation(NamedTuple):
    """One generation in a unit: the ``number``-th of its round, and how many tokens it has."""

    round: Count
    number: Count
    tokens: Count


class Unit(NamedTuple):
    """One document of a stream: a web document and the generations it is laid out with, in slot order."""

    document: Count
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

    @property
    def owners(self) -> Ints:
        """int64 (generations,): the document of each generation."""
        return np.repeat(self.documents, self.counts)

    def extend(self, history: bytes, checksums: npt.NDArray[np.uint64]) -> bytes:
        """A digest of these units and of all before them.

        Args:
            history: That of those before.
            checksums: uint64 (generations,), of the tokens of each.
        """
        columns = [*vars(self).values(), checksums]
        return digest128(history + b"".join(column.astype("<u8").tobytes() for column in columns))

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

    @classmethod
    def joined(cls, parts: Sequence["Units"]) -> "Units":
        """Units one after another."""
        return cls(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)))

    def __len__(self) -> int:
        """How many they are."""
        return len(self.documents)

    def __getitem__(self, some: slice) -> "Units":
        """A run of them."""
        ends = np.concatenate([[0], np.cumsum(self.counts)])
        first, last, _ = some.indices(len(self))
        generations = slice(int(ends[first]), int(ends[max(first, last)]))
        columns = (self.rounds, self.numbers, self.tokens)
        return Units(self.documents[some], self.counts[some], *(column[generations] for column in columns))

    def listed(self) -> list[Unit]:
        """As a list."""
        columns = (self.rounds, self.numbers, self.tokens)
        generations = map(Generation, *(column.tolist() for column in columns))
        pairs = zip(self.documents.tolist(), self.counts.tolist(), strict=True)
        return [Unit(document, tuple(islice(generations, count))) for document, count in pairs]


@dataclass(frozen=True)
class Pieces:
    """The pieces of a row of units, and where each ends in their concatenation.

    end: int64 (pieces,).
    part, unit, document, generation, start, length: int32 (pieces,); ``generation`` indexes Units.rounds and its like,
    ``start`` is the first token within the document. Pieces without tokens are left out.
    """

    end: Ints
    part: Int32s
    unit: Int32s
    document: Int32s
    generation: Int32s
    start: Int32s
    length: Int32s


class Packer:
    """Lays units out by the rules of one recipe. An example: docs/worked-example.md.

    Args:
        recipe: Where generations go (its cuts).
        layout: The parts of a unit.
        constants: Tokens of each constant part; missing ones have none.
        move: Where the recipe's cuts are moved to: documents and cuts of each, int64 (units,), and int64 (cuts,).
    """

    def __init__(
        self,
        recipe: Recipe,
        layout: Layout,
        constants: dict[Part, Tokens],
        move: Callable[[Ints, Ints, Ints], Ints] | None = None,
    ) -> None:
        self._recipe = recipe
        self._move = move
        self._layout = layout
        self._lengths = np.zeros(len(Part), np.int64)
        for part, tokens in constants.items():
            self._lengths[part] = len(tokens)

    def unit_tokens(self, units: Units, document_tokens: Ints) -> Ints:
        """int64 (units,): tokens of each unit, whose web document has ``document_tokens`` (units,) tokens."""
        before, each, after = (self._lengths[list(parts)].sum() for parts in self._layout.parts)
        ends = np.cumsum(units.counts)
        written = np.concatenate([[0], np.cumsum(units.tokens)])
        tokens: Ints = before + each * units.counts + after + written[ends] - written[ends - units.counts]
        if self._layout.skip_first:
            tokens -= self._lengths[self._layout.each[0]] * (units.counts > 0)
        if Part.DOCUMENT_IF_ALONE in self._layout.before:
            return tokens + document_tokens * (units.counts == 0)
        # Whole or in pieces, it is read once.
        return tokens + document_tokens * any(part in DOCUMENT_PARTS for parts in self._layout.parts for part in parts)

    def pieces(self, units: Units, document_tokens: Ints) -> Pieces:
        """Lay out ``units``, whose web documents have ``document_tokens`` (units,) tokens."""
        before, each, after = self._layout.parts
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
        return Pieces(np.cumsum(length[kept]), *(column[kept].astype(np.int32) for column in columns))

    def _document_spans(
        self, units: Units, document_tokens: Ints, part: Ints, unit: Ints, generation: Ints
    ) -> tuple[Ints, Ints]:
        """First token and number of tokens of the document's own pieces; zero for all others."""
        ends = np.cumsum(units.counts)
        slots = units.rounds % self._recipe.cycle * self._recipe.round_size + units.numbers
        cuts = self._recipe.cuts(np.repeat(document_tokens, units.counts), slots)
        if self._move:
            cuts = self._move(units.documents, units.counts, cuts)
        # The cuts of each unit, then the end of its document: its pieces reach from each of these edges to the next.
        edges = np.insert(cuts, ends, document_tokens)
        first_edge = ends - units.counts + np.arange(len(ends))

        start, stop = np.zeros_like(part), np.zeros_like(part)
        whole = (part == Part.DOCUMENT) | ((part == Part.DOCUMENT_IF_ALONE) & (units.counts[unit] == 0))
        stop[whole] = document_tokens[unit[whole]]
        head = part == Part.DOCUMENT_HEAD
        stop[head] = edges[first_edge[unit[head]]]
        follows = part == Part.DOCUMENT_NEXT
        edge = generation[follows] + unit[follows]
        start[follows], stop[follows] = edges[edge], edges[edge + 1]
        return start, stop - start


class Spans(NamedTuple):
    """What rows are made of, in order: the span's piece, and which tokens of its row and of its source it is.

    row, piece, start, stop, offset: int64 (spans,).
    """

    row: Ints
    piece: Ints
    start: Ints
    stop: Ints
    offset: Ints


@dataclass(frozen=True)
class Track:
    """Packed units, from which sequences are cut: row r is the r-th ``length`` tokens after the first ``skip``.

    Args:
        units, pieces: What it is made of.
        skip: Tokens before row 0.
        length: Tokens a row.
    """

    units: Units
    pieces: Pieces
    skip: int
    length: int

    def spans(self, rows: Ints) -> Spans:
        """What some rows are made of, one row after the other. An example: docs/worked-example.md."""
        pieces = self.pieces
        begin = self.skip + rows * self.length
        first = np.searchsorted(pieces.end, begin, side="right")
        counts = np.searchsorted(pieces.end, begin + self.length, side="left") + 1 - first
        row = np.repeat(np.arange(len(rows)), counts)
        piece = np.arange(len(row)) + np.repeat(first - np.cumsum(counts) + counts, counts)
        piece_start = pieces.end[piece] - pieces.length[piece]
        start = np.maximum(begin[row], piece_start)
        stop = np.minimum(begin[row] + self.length, pieces.end[piece])
        return Spans(row, piece, start - begin[row], stop - begin[row], pieces.start[piece] + start - piece_start)
