"""Assembly: the tokens of sequences, copied from shards and records into the batch, many sequences at a time."""

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np

from streamdocs._base.arrays import Int32s, Ints
from streamdocs._base.caching import remember
from streamdocs.generations.encoding import decode_text
from streamdocs.ledger.ledger import Ledger
from streamdocs.ledger.manifest import Manifest
from streamdocs.reading.copying import Copier
from streamdocs.reading.exchange import Lease, Sequences, SequencesShape
from streamdocs.recipes import Recipe
from streamdocs.recipes.layout import Part
from streamdocs.run import Run
from streamdocs.schedule.mixture import WindowPlan
from streamdocs.schedule.packing import DOCUMENT_PARTS, Track, Units
from streamdocs.store import Snapshot, Store
from streamdocs.streams import GenerationScope, Stream, SyntheticStream, WebStream


class Segment(NamedTuple):
    """A stretch of one sequence, and where it comes from.

    kind: ``web``, ``rephrase``, ``thought`` or ``mark`` (BOS, EOS, separators and the marks around thoughts).
    start, stop: Tokens of the sequence. offset: The first of them within its source.
    document: Index in the corpus of the stream. generation: (round, number in the round) and key: of a generation,
        otherwise None.
    stream: Name of the stream that the sequence belongs to.
    style, writer: Of a generation: how it was written, and by whom. steps: keys of what the steps of its program gave,
        as far as the store has them.
    walk: Of a generation that is about a walk through a graph; ``document`` is then the one in whose place it is read.
    about: Of a generation about a hard document in the place of another: that document.
    """

    kind: str
    start: int
    stop: int
    document: int
    offset: int
    generation: tuple[int, int] | None
    key: str | None
    stream: str
    style: str | None = None
    writer: str | None = None
    steps: tuple[str, ...] = ()
    walk: "WalkSegment | None" = None
    about: int | None = None


class WalkSegment(NamedTuple):
    """A walk that a generation is about.

    edition: Number of the edition of the graph. number: Of the walk in it.
    topics, concepts: Names, in the order of the walk. documents: The nearest to them, which the prompt had.
    """

    edition: int
    number: int
    topics: tuple[str, ...]
    concepts: tuple[str, ...]
    documents: tuple[int, ...]


class Section(NamedTuple):
    """Sequences of one stream in a window: all of them, or those made of units, or those that are filled.

    stream: What they are packed by: the stream, or the web text that fills for it.
    track: Their tokens. rows: Which of the stream's in this window they are.
    synthetic: Whether they are made of units. checksums: Of the generations of these.
    """

    stream: Stream
    track: Track
    rows: range
    synthetic: bool = False
    checksums: Ints = np.zeros(0, np.int64)


class OpenWindow(NamedTuple):
    """A window that is ready to be read: its plan, and its sequences by stream."""

    plan: WindowPlan
    sections: list[Section]

    def locate(self, places: Ints) -> Iterator[tuple[Section, Ints, Ints]]:
        """For each section, which of ``places`` it serves and with which of its rows, in the order of the rows."""
        rows, streams = self.plan.row[places], self.plan.stream[places]
        for section in self.sections:
            first, stop = section.rows.start, section.rows.stop
            at = np.flatnonzero((streams == section.stream.number) & (rows >= first) & (rows < stop))
            if len(at):
                at = at[np.argsort(rows[at])]
                yield section, at, rows[at] - first


class Assembler:
    """Reads sequences of a run.

    Args:
        run: The run.
        ledgers: The sealed windows of its synthetic streams, by their names.
    """

    def __init__(self, run: Run, ledgers: Mapping[str, Ledger]) -> None:
        self._run = run
        self._ledgers = ledgers
        self._store = next((ledger.store for ledger in ledgers.values()), None)
        self._length = run.mixture.max_seq_len
        self.window = remember(self._open_window, 1)
        self._web_pass = remember(self._open_web_pass, 4 * len(run.streams))

    def read(
        self,
        positions: Sequence[int] | Ints,
        *,
        documents: bool = False,
        masks: Container[str] = (),
        lease: Lease | None = None,
    ) -> Sequences:
        """Sequences at ``positions``, with ``documents`` also the document of each token.

        Tokens of the kinds ``masks`` (see ``Segment``) are marked as not to be learned.

        The more at a time, the cheaper each: a record is looked up once. They are read into the rows of a
        ``lease``, as many as there are positions, or into memory of their own.

        Raises:
            IndexError: A position is negative.
            WaitTimeoutError: A window could not be sealed in time.
            MissingGenerationError: A sealed window refers to a generation that is gone.
        """
        # Windows first: opening one may wait for generations, and a snapshot should not be held meanwhile.
        numbers, places = np.divmod(np.asarray(positions, np.int64), self._run.mixture.window)
        windows = {number: self.window(number) for number in np.unique(numbers).tolist()}
        shape = SequencesShape(len(positions), self._length, self._run.corpus.dtype.name, documents, bool(masks))
        found = lease.sequences if lease else shape.over(np.empty(shape.nbytes, np.uint8).data)
        into = found.rows
        found.position[into] = positions
        with self._store.read() if self._store else nullcontext() as snapshot:
            for number, window in windows.items():
                here = np.flatnonzero(numbers == number)
                for section, at, rows in window.locate(places[here]):
                    ledger = self._ledgers.get(section.stream.name)
                    copier = Copier(section.stream, section.track, number, ledger, snapshot, section.checksums)
                    self._fill(found, into[here[at]], section, rows, copier, masks)
        return found

    def _fill(
        self, found: Sequences, at: Ints, section: Section, rows: Ints, copier: Copier, masks: Container[str]
    ) -> None:
        track = section.track
        spans = track.spans(rows)
        copier.copy(spans, at[spans.row] * self._length + spans.start, found.tokens)
        found.synthetic[at] = section.synthetic
        found.stream[at] = section.stream.number
        if found.masked is not None:
            kinds = np.array([_kind(part, section.stream.recipe) in masks for part in Part])
            masked = np.repeat(kinds[track.pieces.part[spans.piece]], spans.stop - spans.start)
            found.masked[at] = masked.reshape(len(at), self._length)
        if found.document is not None:
            unit = np.repeat(track.pieces.unit[spans.piece], spans.stop - spans.start).reshape(len(at), self._length)
            found.document[at] = unit - unit[:, :1]

    def explain(self, position: int) -> list[Segment]:
        """The segments of the sequence at ``position``, from its first token to its last."""
        number, place = divmod(position, self._run.mixture.window)
        ((section, _, rows),) = self.window(number).locate(np.array([place]))
        spans = section.track.spans(rows)
        columns = (column.tolist() for column in (spans.piece, spans.start, spans.stop, spans.offset))
        return [_segment(section, *span) for span in zip(*columns, strict=True)]

    def _open_window(self, number: int) -> OpenWindow:
        if number < 0:
            raise IndexError("the positions of a run are counted from 0 on")
        mixture = self._run.mixture
        if self._run.decisions and self._ledgers:
            self._run.decisions.make(number)
        sections = []
        for web in self._run.web:
            rows = mixture.rows(web.number, number)
            sections.append(Section(web, self._web_track(web, rows), range(len(rows))))
        for stream in self._run.synthetic:
            if rows := stream.rows(number):
                sections += self._sections(stream, len(rows), self._ledgers[stream.name].manifest(number))
        return OpenWindow(mixture.plan(number), sections)

    def _sections(self, stream: SyntheticStream, rows: int, manifest: Manifest) -> list[Section]:
        units = self._track(stream, manifest.units, manifest.before.skip)
        sections = [Section(stream, units, range(manifest.unit_rows), True, manifest.checksums)]
        if filled := range(manifest.unit_rows, rows):
            first = manifest.before.filler_rows
            track = self._web_track(stream.filler, range(first, first + len(filled)))
            sections.append(Section(stream.filler, track, filled))
        return sections

    def _track(self, stream: Stream, units: Units, skip: int) -> Track:
        pieces = stream.packer.pieces(units, stream.sources.tokens(units.documents))
        return Track(units, pieces, skip, self._length)

    def _web_track(self, stream: WebStream, rows: range) -> Track:
        """Packed web documents, over as many passes as the rows span."""
        position, stop = rows.start * self._length, rows.stop * self._length
        documents: list[Ints] = [np.zeros(0, np.int64)]
        skip = None
        while position < stop:
            sweep, offset = divmod(position, stream.tokens)
            found, before = self._web_pass(stream, sweep).between(offset, offset + stop - position)
            documents.append(found)
            skip = before if skip is None else skip
            position = (sweep + 1) * stream.tokens
        return self._track(stream, Units.web(np.concatenate(documents)), skip or 0)

    def _open_web_pass(self, stream: WebStream, sweep: int) -> "_WebPass":
        return _WebPass(stream.order.order(sweep), stream)


def _segment(section: Section, piece: int, start: int, stop: int, offset: int) -> Segment:
    stream, track = section.stream, section.track
    part, document = int(track.pieces.part[piece]), int(track.pieces.document[piece])
    if part == Part.GENERATION and isinstance(stream, SyntheticStream):
        at = track.pieces.generation[piece]
        round, number = int(track.units.rounds[at]), int(track.units.numbers[at])
        scope, where = stream.scope, (_kind(part, stream.recipe), start, stop, document, offset)
        (about, repeat), key = scope.about(document, round), scope.key(document, round).digest.hex()
        found = Segment(*where, (round, number), key, stream.name, *scope.author(round, number))
        return found._replace(about=about) if repeat else found
    return Segment(_kind(part, stream.recipe), start, stop, document, offset, None, None, stream.name)


def with_steps(store: Store | None, run: Run, segments: list[Segment]) -> list[Segment]:
    """Segments, with the steps behind each generation that a program wrote, and the walk that it is about."""
    if store is None or all(stream.recipe.is_plain for stream in run.synthetic):
        return segments
    with store.read() as snapshot:
        return [_with_steps(snapshot, run, segment) for segment in segments]


def _with_steps(snapshot: Snapshot, run: Run, segment: Segment) -> Segment:
    if segment.generation is None:
        return segment
    (round, number), scope = segment.generation, run.stream(segment.stream).scope
    key = scope.key(segment.document, round)
    record = decode_text(key, snapshot.get("texts", key.digest))
    steps = record.steps[number] if record and record.steps else []
    return segment._replace(
        steps=tuple(each.hex() for each in steps), walk=walk_of(scope, segment.document, round, number)
    )


def walk_of(scope: GenerationScope, document: int, round: int, number: int) -> WalkSegment | None:
    """The walk that a generation is about; None where it is about a document."""
    if (edition := scope.edition(round)) is None:
        return None
    which = scope.walks(document, round)[number]
    return WalkSegment(edition, which.number, which.walk.topics, which.walk.concepts, which.walk.documents)


def _kind(part: int, recipe: Recipe) -> str:
    """What a part of a unit is called."""
    return recipe.kind if part == Part.GENERATION else "web" if part in DOCUMENT_PARTS else "mark"


class _WebPass:
    """A pass over the web documents, and where in it each of them ends.

    That is kept for one document of many, and added up for those between where it is asked for: there may be millions.

    Args:
        order: int32 (documents,), in which they come.
        stream: Knows their tokens.
    """

    _STRIDE = 4096

    def __init__(self, order: Int32s, stream: WebStream) -> None:
        self._order = order
        self._stream = stream
        strides = range(0, len(order), self._STRIDE)
        self._ends = np.cumsum([self._tokens(first, first + self._STRIDE).sum() for first in strides])

    def between(self, start: int, stop: int) -> tuple[Ints, int]:
        """The documents that tokens ``start`` to ``stop`` of the pass lie in, and tokens of the first before those."""
        first = int(np.searchsorted(self._ends, start, side="right"))
        last = int(np.searchsorted(self._ends, stop, side="left")) + 1
        begin, end = first * self._STRIDE, last * self._STRIDE
        before = int(self._ends[first - 1]) if first else 0
        ends = before + np.cumsum(self._tokens(begin, end))
        here = slice(np.searchsorted(ends, start, side="right"), np.searchsorted(ends, stop, side="left") + 1)
        found = self._order[begin:end][here].astype(np.int64)
        return found, start - int(ends[here.start - 1] if here.start else before)

    def _tokens(self, begin: int, end: int) -> Ints:
        return self._stream.document_tokens(self._order[begin:end])
