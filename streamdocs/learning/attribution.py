"""Attribution: which streams, styles, writers and documents the losses of a window are of.

Training reports the mean loss of some stretches of each sequence, the bins of a report; what stands in a sequence is
known to the token. A bin's loss goes to all that has tokens in it, to each by its tokens. So what is shorter than a
bin has the loss of its neighbours, too, which evens out over many windows, where it has others; and tokens whose
labels are masked count like those that share a bin with them.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Ints
from streamdocs.reading.assembly import OpenWindow
from streamdocs.recipes.layout import Part
from streamdocs.schedule.packing import DOCUMENT_PARTS
from streamdocs.steering.reports import Losses, bin_edges
from streamdocs.streams import Stream, SyntheticStream

#: Round and number of what is no generation.
NONE = -1


class Stretches(NamedTuple):
    """Stretches of the sequences of a stream (or of web text in its place), and their losses.

    part, document, round, number: int64 (stretches,), what each is of; round and number are -1 but of generations.
    tokens: int64 (stretches,), those that have a loss. sums: float64 (stretches,), their losses in nats added up.
    """

    stream: Stream
    part: Ints
    document: Ints
    round: Ints
    number: Ints
    tokens: Ints
    sums: npt.NDArray[np.float64]

    @property
    def of_documents(self) -> npt.NDArray[np.bool_]:
        """bool (stretches,): which are of documents themselves."""
        return np.isin(self.part, DOCUMENT_PARTS)


class Author(NamedTuple):
    """What a loss is of. kind: As of a segment of ``explain``. style, writer: Of generations; otherwise ""."""

    stream: str
    kind: str
    style: str
    writer: str


class Loss(NamedTuple):
    """The losses of so many tokens, added up, in nats."""

    tokens: int
    sum: float

    @property
    def mean(self) -> float:
        """In nats a token."""
        return self.sum / self.tokens


def attribute(window: OpenWindow, losses: Losses) -> Iterator[Stretches]:
    """The losses of a window's sequences, by what these are made of.

    Args:
        window: The window.
        losses: float32 (window, bins), as reported; NaN where nothing is known.
    """
    bins = losses.shape[1]
    for section, at, rows in window.locate(np.arange(len(losses))):
        track = section.track
        edges = bin_edges(track.length, bins)
        edges[0] = 1  # nothing is learned of the first token
        spans = track.spans(rows)
        here = losses[at[spans.row]].astype(np.float64)
        within = np.minimum(spans.stop[:, None], edges[1:]) - np.maximum(spans.start[:, None], edges[:-1])
        tokens = np.where(np.isnan(here), 0, np.maximum(within, 0))
        sums = (np.nan_to_num(here) * tokens).sum(axis=1)
        known = np.flatnonzero(tokens.any(axis=1))
        piece = spans.piece[known]
        generation = track.pieces.generation[piece].astype(np.int64)
        generated = track.pieces.part[piece] == Part.GENERATION
        round, number = np.full((2, len(known)), NONE)
        round[generated] = track.units.rounds[generation[generated]]
        number[generated] = track.units.numbers[generation[generated]]
        part, document = (column[piece].astype(np.int64) for column in (track.pieces.part, track.pieces.document))
        yield Stretches(section.stream, part, document, round, number, tokens[known].sum(axis=1), sums[known])


def by_document(
    documents: Ints, tokens: Ints, sums: npt.NDArray[np.float64]
) -> tuple[Ints, Ints, npt.NDArray[np.float64]]:
    """Each of some documents once, sorted, with all its tokens and losses."""
    found, of = np.unique(documents, return_inverse=True)
    lost: npt.NDArray[np.float64] = np.bincount(of, sums, len(found)).astype(np.float64)
    return found, np.bincount(of, tokens, len(found)).astype(np.int64), lost


def by_author(attributed: Iterable[Stretches]) -> list[tuple[Author, Loss]]:
    """Losses by stream, kind, style and writer, in this order."""
    found: dict[Author, Loss] = {}
    for each in attributed:
        recipe = each.stream.recipe
        # Who writes a slot is the same in every round.
        slot = np.where(each.number < 0, 0, each.round % recipe.cycle * recipe.round_size + each.number)
        group = each.part * recipe.generations + slot
        tokens, sums = np.bincount(group, each.tokens), np.bincount(group, each.sums)
        for at in np.flatnonzero(tokens).tolist():
            author = _author(each.stream, *divmod(at, recipe.generations))
            before = found.get(author, Loss(0, 0.0))
            found[author] = Loss(before.tokens + int(tokens[at]), before.sum + float(sums[at]))
    return sorted(found.items())


def _author(stream: Stream, part: int, slot: int) -> Author:
    if part != Part.GENERATION:
        return Author(stream.label, "web" if part in DOCUMENT_PARTS else "mark", "", "")
    assert isinstance(stream, SyntheticStream)
    return Author(stream.label, stream.recipe.kind, *stream.scope.author(*divmod(slot, stream.recipe.round_size)))
