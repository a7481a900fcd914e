"""Assembly: the tokens of sequences, copied straight from shards and records into the batch."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamdocs.arrays import Ints, Tokens
from streamdocs.ledger import Ledger, lost_generation, token_key
from streamdocs.packing import Packer, Pieces, Units, is_document_part
from streamdocs.recipes import Part
from streamdocs.records import decode_tokens
from streamdocs.run import Run
from streamdocs.schedule import Stream, WindowPlan
from streamdocs.store import Snapshot


class Segment(NamedTuple):
    """A stretch of one sequence, and where it comes from.

    kind: ``web``, ``rephrase``, ``thought`` or ``mark`` (BOS, EOS, separators and the marks around thoughts).
    start, stop: Tokens of the sequence. offset: The first of them within its source.
    document: Index in the corpus. generation: (round, number in the round) and key: of a generation, otherwise None.
    """

    kind: str
    start: int
    stop: int
    document: int
    offset: int
    generation: tuple[int, int] | None = None
    key: str | None = None


class _Span(NamedTuple):
    piece: int
    start: int
    stop: int
    offset: int


class Track:
    """Packed units, from which sequences are cut: row r is the r-th ``length`` tokens after the first ``skip``.

    Args:
        stream: What it is.
        units, pieces: What it is made of.
        skip: Tokens before row 0.
        length: Tokens a row.
    """

    def __init__(self, stream: Stream, units: Units, pieces: Pieces, skip: int, length: int) -> None:
        self.stream = stream
        self.skip = skip
        self.length = length
        # Lists, because single numbers are read far faster from them than from arrays.
        self.rounds, self.numbers = units.rounds.tolist(), units.numbers.tolist()
        self.part, self.unit, self.document = pieces.part.tolist(), pieces.unit.tolist(), pieces.document.tolist()
        self.generation, self.start = pieces.generation.tolist(), pieces.start.tolist()
        self.end, self.size = pieces.end.tolist(), pieces.length.tolist()

    def spans(self, row: int) -> Iterator[_Span]:
        """Which tokens of which pieces a row is made of."""
        begin = self.skip + row * self.length
        stop = begin + self.length
        for piece in range(bisect_right(self.end, begin), bisect_left(self.end, stop) + 1):
            piece_start = self.end[piece] - self.size[piece]
            first, last = max(begin, piece_start), min(stop, self.end[piece])
            yield _Span(piece, first - begin, last - begin, self.start[piece] + first - piece_start)


class OpenWindow(NamedTuple):
    """A window that is ready to be read: its plan, and the tracks of its sequences."""

    number: int
    plan: WindowPlan
    web: Track
    units: Track | None
    filler: Track | None
    unit_rows: int

    def locate(self, place: int) -> tuple[Track, int]:
        """Track and row of the sequence at a place of the window."""
        row = int(self.plan.row[place])
        if not self.plan.synthetic[place]:
            return self.web, row
        track = self.units if row < self.unit_rows else self.filler
        assert track is not None
        return track, row if row < self.unit_rows else row - self.unit_rows


class Assembler:
    """Reads sequences of a run.

    Args:
        run: The run.
        ledger: Its sealed windows; None where nothing synthetic is read.
    """

    def __init__(self, run: Run, ledger: Ledger | None) -> None:
        self._run = run
        self._ledger = ledger
        self._length = run.mixture.max_seq_len
        self._window = lru_cache(maxsize=2)(self._open_window)
        self._web_ends = lru_cache(maxsize=4)(self._cumulative_web_tokens)

    def read(
        self, positions: Sequence[int], sequence_ids: bool = False
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.int64] | None]:
        """Sequences at ``positions``.

        Returns:
            input_ids int64 (positions, max_seq_len), synthetic bool (positions,), and with ``sequence_ids`` the number
            of each token's document within its sequence, int64 (positions, max_seq_len).

        Raises:
            WaitTimeoutError: A window could not be sealed in time.
            MissingGenerationError: A sealed window refers to a generation that is gone.
        """
        tokens = np.empty((len(positions), self._length), np.int64)
        synthetic = np.empty(len(positions), np.bool_)
        ids = np.empty_like(tokens) if sequence_ids else None
        # Windows first: opening one may wait for generations, and a snapshot should not be held meanwhile.
        located = [self._locate(position) for position in positions]
        with _Sources(self._run, self._ledger) as sources:
            for at, (window, track, row) in enumerate(located):
                synthetic[at] = track.stream == "synthetic"
                first_unit = -1
                for piece, start, stop, offset in track.spans(row):
                    source = sources.tokens(track, piece, window)
                    tokens[at, start:stop] = source[offset : offset + stop - start]
                    if ids is not None:
                        first_unit = track.unit[piece] if first_unit < 0 else first_unit
                        ids[at, start:stop] = track.unit[piece] - first_unit
        return tokens, synthetic, ids

    def explain(self, position: int) -> list[Segment]:
        """The segments of the sequence at ``position``, from its first token to its last."""
        _, track, row = self._locate(position)
        return [self._segment(track, span) for span in track.spans(row)]

    def _locate(self, position: int) -> tuple[int, Track, int]:
        number, place = divmod(position, self._run.mixture.window)
        return number, *self._window(number).locate(place)

    def _segment(self, track: Track, span: _Span) -> Segment:
        part, document = track.part[span.piece], track.document[span.piece]
        if part == Part.GENERATION and self._run.scope:
            at = track.generation[span.piece]
            round, number = track.rounds[at], track.numbers[at]
            key = self._run.scope.keyring.key(self._run.corpus.document_digest(document), round)
            return Segment(
                self._run.recipe.kind, span.start, span.stop, document, span.offset, (round, number), key.digest.hex()
            )
        kind = "web" if is_document_part(part) else "mark"
        return Segment(kind, span.start, span.stop, document, span.offset)

    def _open_window(self, number: int) -> OpenWindow:
        mixture = self._run.mixture
        web_rows, synthetic_rows = mixture.rows(number)
        web = self._web_track("web", web_rows)
        units = filler = None
        unit_rows = 0
        if synthetic_rows and self._ledger:
            manifest = self._ledger.manifest(number)
            unit_rows = manifest.unit_rows
            units = self._track("synthetic", self._run.unit_packer, manifest.units, manifest.before.skip)
            filled = manifest.before.filler_rows
            filler = self._web_track("filler", range(filled, filled + len(synthetic_rows) - unit_rows))
        return OpenWindow(number, mixture.plan(number), web, units, filler, unit_rows)

    def _track(self, stream: Stream, packer: Packer, units: Units, skip: int) -> Track:
        pieces = packer.pieces(units, self._run.corpus.tokens_per_document[units.documents])
        return Track(stream, units, pieces, skip, self._length)

    def _web_track(self, stream: Stream, rows: range) -> Track:
        """Packed web documents, over as many passes as the rows span."""
        position, stop = rows.start * self._length, rows.stop * self._length
        documents: list[Ints] = [np.zeros(0, np.int64)]
        skip = None
        while position < stop:
            sweep, offset = divmod(position, self._run.web_tokens)
            ends = self._web_ends(stream, sweep)
            first = int(np.searchsorted(ends, offset, side="right"))
            last = int(np.searchsorted(ends, offset + stop - position, side="left")) + 1
            documents.append(self._run.order.order(stream, sweep)[first:last])
            skip = offset - int(ends[first - 1] if first else 0) if skip is None else skip
            position = (sweep + 1) * self._run.web_tokens
        return self._track(stream, self._run.web_packer, Units.web(np.concatenate(documents)), skip or 0)

    def _cumulative_web_tokens(self, stream: Stream, sweep: int) -> Ints:
        """int64 (documents,): where each document of a pass ends."""
        return np.cumsum(self._run.web_unit_tokens[self._run.order.order(stream, sweep)])


class _Sources:
    """Token arrays of pieces, from one snapshot of the store."""

    def __init__(self, run: Run, ledger: Ledger | None) -> None:
        self._run = run
        self._ledger = ledger
        self._reading: Any = ledger.store.read() if ledger else None
        self._snapshot: Snapshot | None = None
        self._rounds: dict[tuple[int, int], list[Tokens]] = {}

    def __enter__(self) -> "_Sources":
        self._snapshot = self._reading.__enter__() if self._reading else None
        return self

    def __exit__(self, *exception: Any) -> None:
        self._rounds.clear()
        if self._reading:
            self._reading.__exit__(*exception)

    def tokens(self, track: Track, piece: int, window: int) -> Tokens:
        """All tokens of what a piece is cut from."""
        part = track.part[piece]
        if part == Part.GENERATION:
            at = track.generation[piece]
            return self._round(track.document[piece], track.rounds[at], window)[track.numbers[at]]
        if is_document_part(part):
            return self._run.corpus.tokens(track.document[piece])
        return self._run.constants[Part(part)]

    def _round(self, document: int, round: int, window: int) -> list[Tokens]:
        found = self._rounds.get((document, round))
        if found is None:
            assert self._ledger is not None and self._snapshot is not None
            scope = self._ledger.scope
            key = scope.keyring.key(self._run.corpus.document_digest(document), round)
            found = decode_tokens(key, self._snapshot.get("tokens", token_key(scope, key.digest)))
            if found is None:
                raise lost_generation(window, document, round, self._ledger.store.location)
            self._rounds[document, round] = found
        return found
