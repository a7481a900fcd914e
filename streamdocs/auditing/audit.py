"""An account of what a run has read, to the last token, from its sealed windows alone."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from streamdocs._base.arrays import Ints
from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.generations.diversity import Group, group_of
from streamdocs.generations.progress import read_tallies, total
from streamdocs.learning.attribution import by_author
from streamdocs.learning.reported import Reported
from streamdocs.ledger.ledgers import chosen_positions
from streamdocs.reading.assembly import Assembler, Section
from streamdocs.recipes.layout import Part
from streamdocs.run import Run
from streamdocs.schedule.packing import DOCUMENT_PARTS, Spans
from streamdocs.steering.decision import PARTS, Decision
from streamdocs.steering.recorded import Recorded, rows_of
from streamdocs.steering.simulation import Judgement, judged

#: Round and number of what is read of a document itself.
WEB = -1


class Reads(NamedTuple):
    """Stretches of documents and generations, and the sequences that they were read in.

    origin, document, round, number, length, position, tokens: int64 (stretches,). ``origin`` is the number of the
    document's corpus in the run, or after all of these that of the generation's stream; ``length`` is of the whole
    document or generation, ``tokens`` of the stretch.
    """

    origin: Ints
    document: Ints
    round: Ints
    number: Ints
    length: Ints
    position: Ints
    tokens: Ints


@dataclass(frozen=True)
class Audit:
    """An account of the sequences at ``positions``.

    Args:
        run: Whose they are.
        positions: Which.
        sequences: How many of each stream, and of web text in its place, by the first position of each window: see
            ``streams``.
        tokens: By stream and kind: ``web``, the recipe's kind, ``bos``, ``eos``, ``separator``, ``open``, ``close``.
        reads: All stretches, sorted by origin, document, round, number and position.
        first: int64 (sources + 1,), where the stretches of each document and generation begin, and where all end.
        decisions: On the shares of the windows, where they are steered.
    """

    run: Run
    positions: range
    sequences: dict[int, Counter[str]]
    tokens: Counter[tuple[str, str]]
    reads: Reads
    first: Ints
    decisions: tuple[Decision, ...] = ()

    @property
    def streams(self) -> list[str]:
        """Names of all streams, and of what fills the synthetic ones."""
        fillers = [stream.filler.label for stream in self.run.synthetic]
        return [*(stream.name for stream in self.run.streams), *fillers]

    def sources(self) -> Reads:
        """Each document and generation that was read: all its tokens, and where it was first."""
        ends = np.concatenate([[0], np.cumsum(self.reads.tokens)])
        begins = Reads(*(column[self.first[:-1]] for column in self.reads))
        return begins._replace(tokens=np.diff(ends[self.first]))

    def rows(self, of: int | None = None) -> Iterator[dict[str, Any]]:
        """Each document and generation (or those ``of`` one document): what was read of it, and at which positions."""
        sources = self.sources()
        for at in range(len(sources.document)) if of is None else np.flatnonzero(sources.document == of):
            origin, document, round, number, length, _, tokens = (int(column[at]) for column in sources)
            start, stop = self.first[at : at + 2]
            generation = {} if round == WEB else {"round": round, "number": number}
            positions = list(dict.fromkeys(self.reads.position[start:stop].tolist()))
            row = {"document": document, **generation, "length": length, "tokens": tokens, "positions": positions}
            yield {**self._named(origin), **row}

    def _named(self, origin: int) -> dict[str, str]:
        """Of which corpus or stream something is, where there are several."""
        corpora = self.run.corpora
        if origin < len(corpora):
            return {"corpus": str(corpora[origin].local)} if len(corpora) > 1 else {}
        several = len(self.run.synthetic) > 1
        return {"stream": self.run.mixture.shares[origin - len(corpora)].name} if several else {}

    def reuse(self) -> dict[int, int]:
        """How many generations were read so many times over, rounded down: 0 are those read in part."""
        sources = self.sources()
        generated = sources.round != WEB
        times, counts = np.unique(sources.tokens[generated] // sources.length[generated], return_counts=True)
        return dict(zip(times.tolist(), counts.tolist(), strict=True))

    def authors(self) -> list[dict[str, Any]]:
        """What was read of how many generations, by stream, style and writer; of those about walks by edition, too."""
        sources, corpora = self.sources(), len(self.run.corpora)
        generated = sources.round != WEB
        columns = [column[generated] for column in (sources.origin, sources.round, sources.number)]
        shape = tuple(int(column.max(initial=0)) + 1 for column in columns)
        slots, of = np.unique(np.ravel_multi_index(columns, shape), return_inverse=True)
        tokens = np.bincount(of, sources.tokens[generated], len(slots))  # exact: below 2**53
        found: dict[tuple[Group, int | None], Counter[str]] = {}
        for slot, count, read in zip(slots.tolist(), np.bincount(of).tolist(), tokens.tolist(), strict=True):
            origin, round, number = map(int, np.unravel_index(slot, shape))
            scope = self.run.stream(self.run.mixture.shares[origin - corpora].name).scope
            counts = found.setdefault((group_of(scope, round, number), scope.edition(round)), Counter())
            counts.update(generations=count, tokens=int(read))
        rows = sorted(found.items(), key=lambda each: (each[0][0], each[0][1] or 0))
        return [
            {**group._asdict(), **({"edition": edition} if edition else {}), **counts}
            for (group, edition), counts in rows
        ]

    def windows(self) -> list[dict[str, Any]]:
        """By window, what was read of generations: how many, of how many documents, and each how often on average."""
        source = np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))
        generated = np.flatnonzero(self.reads.round != WEB)
        window = self.reads.position[generated] // self.run.mixture.window
        order = np.argsort(window, kind="stable")
        numbers, begins = np.unique(window[order], return_index=True)
        ends = np.append(begins, len(order))[1:]
        found = []
        for number, begin, end in zip(numbers.tolist(), begins.tolist(), ends.tolist(), strict=True):
            here = generated[order[begin:end]]
            _, at = np.unique(source[here], return_index=True)
            tokens, distinct = int(self.reads.tokens[here].sum()), here[at]
            times = tokens / int(self.reads.length[distinct].sum())
            documents = len(np.unique(self.reads.document[here]))
            row = {"window": number, "documents": documents, "generations": len(distinct)}
            found.append({**row, "tokens": tokens, "times": times})
        return found

    def shares(self) -> list[dict[str, Any]]:
        """By window, the shares that were decided for the synthetic streams, of all of them together, and why."""
        names = self.run.decisions.arms.names if self.run.decisions else ()
        return [
            {
                "window": made.window,
                "shares": {name: parts / PARTS for name, parts in zip(names, made.shares, strict=True)},
                "why": made.why,
            }
            for made in self.decisions
        ]

    def judgements(self) -> list[Judgement]:
        """What reports said of the streams whose shares move, and these windows' decisions knew."""
        if (decisions := self.run.decisions) is None:
            return []
        rows = rows_of(self.run.mixture, decisions, decisions.reports, decisions.sealed_rows)
        recorded = Recorded.of(self.run.mixture, rows)
        windows = {made.window for made in self.decisions}
        found = judged(recorded, decisions.reward)
        return [each for each in found if each.counts and each.window in windows]

    def summary(self) -> dict[str, Any]:
        """The mixture as it was asked for, decided and read, passes over the web tokens, and tokens by kind."""
        mixture, total = self.run.mixture, sum(self.sequences.values(), Counter[str]())
        start, stop = self.positions.start, self.positions.stop
        web = sum(stream.tokens for stream in self.run.web)
        passes = [(p - mixture.synthetic_before(p)) * mixture.max_seq_len / web if web else 0.0 for p in (start, stop)]
        streams = {
            share.name: {
                "share": str(share.fraction),
                "asked": mixture.begun_before(number, stop) - mixture.begun_before(number, start),
                **({"decided": mixture.before(number, stop) - mixture.before(number, start)} if self.decisions else {}),
                "read": total[share.name],
            }
            for number, share in enumerate(mixture.shares)
        }
        return {
            "positions": [start, stop],
            "synthetic_fraction": str(mixture.fraction),
            "asked": mixture.synthetic_before(stop) - mixture.synthetic_before(start),
            "streams": streams,
            "sequences": {stream: total[stream] for stream in self.streams},
            "web_passes": passes,
            "tokens": {f"{stream} {kind}": tokens for (stream, kind), tokens in sorted(self.tokens.items())},
            "reuse": self.reuse(),
            "authors": self.authors(),
            "windows": self.windows(),
            **({"shares": self.shares()} if self.decisions else {}),
        }


def audit(dataset: StreamingMegadocDataset, start: int = 0, stop: int | None = None) -> Audit:
    """Account for the sequences from ``start`` to before ``stop``, by default to the last that is sealed.

    Raises:
        ConfigError: Not all of them are sealed.
        StoreError: A window is missing or damaged.
    """
    run, size = dataset.run, dataset.run.mixture.window
    positions = chosen_positions(dataset.ledgers, size, start, stop, dataset.epoch_size)
    start, stop = positions.start, positions.stop
    assembler = Assembler(run, dataset.ledgers)
    sequences: dict[int, Counter[str]] = {}
    tokens: Counter[tuple[str, str]] = Counter()
    reads = []
    windows = range(start // size, -(-stop // size))
    for number in windows:
        first = number * size
        places = np.arange(max(start - first, 0), min(stop - first, size))
        streams = sequences[first + int(places[0])] = Counter[str]()
        for section, at, rows in assembler.window(number).locate(places):
            stream, spans = section.stream, section.track.spans(rows)
            streams[stream.label] += len(rows)
            part_of = section.track.pieces.part[spans.piece]
            by_part = np.bincount(part_of, spans.stop - spans.start)  # exact: below 2**53
            for part in np.flatnonzero(by_part).tolist():
                kind = "web" if part in DOCUMENT_PARTS else Part(part).name.lower()
                tokens[stream.label, stream.recipe.kind if part == Part.GENERATION else kind] += int(by_part[part])
            reads.append(_reads(run, section, spans, first + places[at]))
    columns = [np.concatenate(column) for column in zip(*reads, strict=True)]
    order = np.lexsort([columns[i] for i in (5, 3, 2, 1, 0)])
    found = Reads(*(column[order] for column in columns))
    new = np.flatnonzero(np.any([np.diff(column) for column in found[:4]], axis=0)) + 1
    edges = np.concatenate([[0], new, [len(order)]])
    decisions = tuple(map(run.decisions.of, windows)) if run.decisions else ()
    return Audit(run, positions, sequences, tokens, found, edges, decisions)


def rejected_causes(dataset: StreamingMegadocDataset) -> dict[str, dict[str, int]]:
    """By stream and cause, how many generations were rejected so far, whatever was read of the others."""
    store = dataset.store
    tallies = {each.name: total(read_tallies(store, each.scope).values()) for each in dataset.run.synthetic if store}
    return {name: dict(tally.rejected.most_common()) for name, tally in tallies.items()}


def losses_of(found: Audit, dataset: StreamingMegadocDataset) -> list[dict[str, Any]]:
    """What training lost in windows that begin within an account, by stream, style and writer; where it reported."""
    if not (dataset.store and dataset.ledgers):
        return []
    reported, size = Reported(found.run, dataset.store), found.run.mixture.window
    windows = [each for each in reported.windows() if found.positions.start <= each * size < found.positions.stop]
    read = (each for window in windows if (each := reported.read(window)))
    found_of = by_author(stretches for _, each in read for stretches in each)
    return [{**author._asdict(), "tokens": loss.tokens, "loss": loss.mean} for author, loss in found_of]


def _reads(run: Run, section: Section, spans: Spans, positions: Ints) -> Reads:
    """What some rows of a section, which are at these positions, read of documents and generations."""
    stream, track, corpora = section.stream, section.track, run.corpora
    part = track.pieces.part[spans.piece]
    here = np.flatnonzero(np.isin(part, [Part.GENERATION, *DOCUMENT_PARTS]))
    piece, generated = spans.piece[here], part[here] == Part.GENERATION
    document = track.pieces.document[piece]
    length = stream.sources.tokens(document)
    origin = np.where(generated, len(corpora) + stream.number, corpora.index(stream.corpus))
    round, number = np.full((2, len(here)), WEB)
    at = track.pieces.generation[piece[generated]]
    for column, known in ((round, track.units.rounds), (number, track.units.numbers), (length, track.units.tokens)):
        column[generated] = known[at]
    return Reads(origin, document, round, number, length, positions[spans.row[here]], (spans.stop - spans.start)[here])
