"""Copying tokens from shards and records to where a batch wants them.

Where each of thousands of stretches is, how long, and whether it is intact, is worked out for all of them at once; what
is left for each is one slice.
"""

from collections.abc import Iterable

import numpy as np

from streamdocs._base.arrays import Ints, Tokens, runs
from streamdocs.generations.encoding import Buffer, TokenTable, short_checksums
from streamdocs.ledger.ledger import Ledger
from streamdocs.ledger.verification import lost_generations
from streamdocs.recipes.layout import Part
from streamdocs.schedule.packing import Spans, Track
from streamdocs.store import Snapshot
from streamdocs.streams import Stream


class Copier:
    """Copies spans of one track of a window.

    Args:
        stream: Whose it is.
        track: What is copied from.
        window: Number of the window, for errors.
        ledger, snapshot: Where its generations are; None where nothing synthetic is read.
        checksums: int64 (generations,), those that the window was sealed with; none at all where it does not say.
    """

    def __init__(
        self,
        stream: Stream,
        track: Track,
        window: int,
        ledger: Ledger | None,
        snapshot: Snapshot | None,
        checksums: Ints,
    ) -> None:
        self._stream = stream
        self._track = track
        self._window = window
        self._ledger = ledger
        self._snapshot = snapshot
        self._checksums = checksums

    def copy(self, spans: Spans, places: Ints, out: Tokens) -> None:
        """Copy each span to ``places``: int64 (spans,), the index of its first token in a flat ``out``.

        Raises:
            MissingGenerationError: A generation is gone from the store, or damaged.
        """
        pieces, flat = self._track.pieces, out.reshape(-1)
        part, sizes = pieces.part[spans.piece], spans.stop - spans.start
        from_documents = np.ones(len(part), np.bool_)
        for constant, tokens in self._stream.constants.items():
            here = part == constant
            from_documents &= ~here
            _fill(flat, places[here], sizes[here], tokens, spans.offset[here])
        here = part == Part.GENERATION
        from_documents &= ~here
        if here.any():
            records, begins = self._generations(pieces.generation[spans.piece[here]])
            _copy(flat, places[here], sizes[here], records, begins, spans.offset[here])
        here = from_documents
        shards, begins = self._stream.corpus.locate(pieces.document[spans.piece[here]])
        _copy(flat, places[here], sizes[here], shards, begins, spans.offset[here])

    def _generations(self, at: Ints) -> tuple[list[Buffer], Ints]:
        """What each generation lies in, and its first byte there. ``at`` indexes the rounds of the track's units."""
        assert self._ledger and self._snapshot
        units = self._track.units
        starts, inverse = runs(at)
        used = at[starts]
        documents = np.repeat(units.documents, units.counts)[used]
        rounds, numbers = units.rounds[used], units.numbers[used]
        # By round, since what was generated together lies together.
        _, first, item = np.unique(rounds << 32 | documents, return_index=True, return_inverse=True)
        records = self._ledger.records(self._snapshot)

        def look() -> tuple[TokenTable, bool]:
            table = records.table(documents[first], rounds[first])
            as_sealed = table.lengths[item, numbers] == units.tokens[used]
            if len(self._checksums):
                as_sealed &= short_checksums(table.checksums[item, numbers]) == self._checksums[used]
            return table, bool((as_sealed & table.whole(item, numbers)).all())

        table, intact = look()
        if not intact:
            records.forget()  # the run may have been sealed anew, with what was written since
            table, intact = look()
        if not intact:
            raise lost_generations(self._ledger, self._snapshot, self._window)
        buffers = [table.values.buffers[each] or b"" for each in item[inverse].tolist()]
        return buffers, table.places(item, numbers)[0][inverse]


def _fill(flat: Tokens, places: Ints, sizes: Ints, constant: Tokens, offsets: Ints) -> None:
    """Write a constant, from some offset on, to many places."""
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    flat[np.repeat(places, sizes) + within] = constant[np.repeat(offsets, sizes) + within]


def _copy(flat: Tokens, places: Ints, sizes: Ints, sources: Iterable[Buffer], begins: Ints, offsets: Ints) -> None:
    """Copy tokens out of buffers: ``begins`` are bytes, all else counts tokens."""
    size = flat.itemsize
    target = flat.data.cast("B")
    starts, reads = places * size, begins + offsets * size
    columns = (starts, starts + sizes * size, reads, reads + sizes * size)
    for source, start, stop, read, end in zip(sources, *(column.tolist() for column in columns), strict=True):
        target[start:stop] = source[read:end]
