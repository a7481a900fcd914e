"""The course of a run that nobody started yet: what is written when, what each window reads of it, and where it waits.

Windows are sealed by the rules by which a run seals them, over a shelf on which generations stand that are expected.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Ints
from streamdocs.checks.expected import Expected
from streamdocs.ledger.manifest import Manifest, State
from streamdocs.ledger.sealing import NotYet, Sealer
from streamdocs.run import Run
from streamdocs.schedule.packing import Units
from streamdocs.schedule.rounds import BLOCK
from streamdocs.streams import SyntheticStream

#: Of what is written in all, the least that is handed out at a time.
_STEP = 1 / 500


class ExpectedShelf:
    """A shelf with generations of the lengths that are expected.

    Args:
        expected: Of the scope.
        watermark: Items that exist.
    """

    def __init__(self, expected: Expected, watermark: int) -> None:
        self.watermark = watermark
        self._expected = expected

    def all_lengths(self, documents: Ints, rounds: Ints) -> npt.NDArray[np.uint32]:
        """uint32 (items, generations of a round): tokens of each generation."""
        return self._expected.generation_tokens(documents).astype(np.uint32)

    def all_checksums(self, units: Units) -> npt.NDArray[np.uint64]:
        """uint64 (generations,): nothing, as nothing was written."""
        return np.zeros(len(units.tokens), np.uint64)


@dataclass
class Lane:
    """What is written of one scope.

    Args:
        expected: Of it.
        stream: That reads it; None for the concepts of a graph.
        lead: Items by which it may be ahead of training.
    """

    expected: Expected
    stream: SyntheticStream | None
    lead: float
    items: float = 0.0
    state: State = field(default_factory=State)
    #: Where items are about walks: what is written of the concepts, and how much of it has to be there first.
    concepts: "Lane | None" = None
    first: float = 0.0
    readers: "list[Lane]" = field(default_factory=list)

    @property
    def total(self) -> float:
        """Items in all."""
        return math.inf if self.expected.items is None else self.expected.items

    @property
    def watermark(self) -> int:
        """Items that are resolved: whole blocks."""
        order = self.expected.scope.generation_order
        if self.items >= self.total:
            return int(self.total)
        return order.first_item(order.block_of_item(int(self.items)))

    def room(self, *, waited_for: bool) -> float:
        """Items that may be begun."""
        if self.concepts and self.concepts.items < self.first:
            return 0.0
        wanted = self.expected.scope.generation_order.wanted_items(self.state.sweep, self.state.cursor)
        most = self.total if waited_for or self.stream is None else min(self.total, wanted + self.lead)
        return max(most - self.items, 0.0)

    def urgency(self, item: int) -> float:
        """Sequences of the run that training reads until it comes to an item, as a server sees it."""
        if self.stream is None:
            return min(reader.urgency(item) for reader in self.readers)
        order, stream, recipe = self.expected.scope.generation_order, self.stream, self.stream.recipe
        if stream.when_behind == "wait" and recipe.cycle > 1:
            units = item - order.wanted_items(self.state.sweep, self.state.cursor)
        else:
            units = order.sources_until(item, self.state.sweep, self.state.cursor)
        each = self.expected.tokens / recipe.round_size
        if recipe.sweeps == 1:
            rounds = min(item // order.sources + 1, recipe.cycle)
            document = stream.filler.tokens / order.sources if recipe.reads_documents else 0
            each = document + rounds * recipe.round_size * each
        return units * each / float(stream.mixture.shares[stream.number].fraction * stream.mixture.max_seq_len)


@dataclass(frozen=True)
class Course:
    """What comes of it.

    Args:
        ready: float64 (windows,), seconds from the start until each window could be sealed, at or before which training
            wanted it.
        waited: float64 (windows,), seconds that training waited for each.
        completion_tokens: float64 (windows,), written by then, what exists from the start left out.
        stored: float64 (windows,), bytes of all that exists by then.
        reuse: By stream, float64 (windows,): how often what existed was read on average.
        generations: By stream, float64 (windows,): that a unit can draw on, on average.
        filled: By stream, sequences of web text in its place.
        items: By stream, (document, round) items that exist in the end.
        stuck: What a window lacks that never comes; "" where all could be sealed.
    """

    ready: npt.NDArray[np.float64]
    waited: npt.NDArray[np.float64]
    completion_tokens: npt.NDArray[np.float64]
    stored: npt.NDArray[np.float64]
    reuse: dict[str, npt.NDArray[np.float64]]
    generations: dict[str, npt.NDArray[np.float64]]
    filled: dict[str, int]
    items: dict[str, int]
    stuck: str = ""


class Simulation:
    """Works out the course of a run.

    Args:
        run: The run; its shares are taken to stay as they begin.
        expected: Of its scopes.
        speed: Completion tokens a second that are written; infinite where all exists from the start.
        max_lead: Documents by which generation may be ahead of training; None for all of them once.
    """

    def __init__(self, run: Run, expected: Mapping[str, Expected], speed: float, max_lead: int | None = None) -> None:
        self._run = run
        self._speed = speed
        self._lanes: dict[str, Lane] = {}
        for stream in run.synthetic:
            lead = max_lead or len(stream.sources)
            lane = self._lanes[stream.name] = Lane(expected[stream.name], stream, lead, expected[stream.name].resolved)
            if (concepts := stream.scope.concepts) and (graph := stream.recipe.graph):
                made = Lane(expected[concepts.stream], None, math.inf, expected[concepts.stream].resolved)
                lane.concepts = self._lanes.setdefault(concepts.stream, made)
                lane.concepts.readers.append(lane)
                lane.first = float(graph.editions[0] * len(stream.sources))
        if math.isinf(speed):
            for lane in self._lanes.values():
                lane.items = lane.total if math.isfinite(lane.total) else lane.expected.scope.recipe.cycle * lane.lead
        self._sealers = {
            stream.name: Sealer(stream, stream.scope.generation_order, stream.when_behind) for stream in run.synthetic
        }
        self._before = {name: lane.items for name, lane in self._lanes.items()}

    def course(self, windows: int, sequences_per_second: float) -> Course:
        """What comes of the first windows.

        Args:
            windows: How many.
            sequences_per_second: That training reads where it does not wait; infinite for one that takes no time.
        """
        streams, now, stuck = self._run.synthetic, 0.0, ""
        ready, waited, tokens, stored = (np.zeros(windows) for _ in range(4))
        reuse, generations = ({stream.name: np.zeros(windows) for stream in streams} for _ in range(2))
        for window in range(windows):
            if window:
                seconds = self._run.mixture.window / sequences_per_second
                self._write(self._speed * seconds)
                now += seconds
            found, wait = self._sealed(), 0.0
            while isinstance(found, NotYet):
                if not (written := self._write(self._least(), waited_for=True)):
                    stuck = found.missing
                    break
                wait += written / self._speed
                found = self._sealed()
            if isinstance(found, NotYet):
                windows = window
                break
            now += wait
            ready[window], waited[window] = now, wait
            for name, lane in self._lanes.items():
                tokens[window] += (lane.items - self._before[name]) * lane.expected.completion_tokens
                stored[window] += lane.items * lane.expected.bytes
            for name, manifest in found.items():
                lane = self._lanes[name]
                lane.state = manifest.after
                reuse[name][window] = self._reuse(lane, manifest)
                order = lane.expected.scope.generation_order
                generations[name][window] = order.generations_per_source(manifest.watermark)
        filled = {stream.name: self._lanes[stream.name].state.filler_rows for stream in streams}
        cut = slice(windows)
        return Course(
            *(ready[cut], waited[cut], tokens[cut], stored[cut]),
            {name: each[cut] for name, each in reuse.items()},
            {name: each[cut] for name, each in generations.items()},
            filled,
            {name: lane.watermark for name, lane in self._lanes.items()},
            stuck,
        )

    def _sealed(self) -> dict[str, Manifest] | NotYet:
        """The manifests of the next window by stream, or what one of them lacks."""
        found: dict[str, Manifest | NotYet] = {}
        for stream in self._run.synthetic:
            lane, sealer = self._lanes[stream.name], self._sealers[stream.name]
            shelf = ExpectedShelf(lane.expected, lane.watermark)
            result = sealer.seal(lane.state, shelf)
            if isinstance(result, Manifest):
                result = sealer.within(result, lane.state, shelf, self._reuse(lane, result), stream.max_reuse)
            found[stream.name] = result
        sealed = {name: each for name, each in found.items() if isinstance(each, Manifest)}
        can_begin = {*sealed, *(name for name, lane in self._lanes.items() if lane.state.synthetic_rows)}
        for stream in self._run.synthetic:
            each = found[stream.name]
            if isinstance(each, NotYet):
                if not (each.begins and stream.when_behind == "reuse" and can_begin - {stream.name}):
                    return each
                lane = self._lanes[stream.name]
                shelf = ExpectedShelf(lane.expected, lane.watermark)
                sealed[stream.name] = self._sealers[stream.name].filled(lane.state, shelf)
        return sealed

    @staticmethod
    def _reuse(lane: Lane, manifest: Manifest) -> float:
        stored = manifest.watermark * lane.expected.tokens
        return manifest.after.generated_tokens / stored if stored else 0.0

    def _least(self) -> float:
        """Completion tokens that are handed out at a time where a window waits."""
        each = min(lane.expected.completion_tokens for lane in self._lanes.values()) or 1.0
        left = sum(
            min(lane.room(waited_for=True), len(lane.expected.scope.sources)) * lane.expected.completion_tokens
            for lane in self._lanes.values()
        )
        return max(BLOCK * each, left * _STEP)

    def _write(self, tokens: float, *, waited_for: bool = False) -> float:
        """Write so many completion tokens, or as many as may be: what training comes to first. How many it were."""
        left = tokens
        while left > 1e-6:
            rooms = [(lane, lane.room(waited_for=waited_for)) for lane in self._lanes.values()]
            able = [(lane, room) for lane, room in rooms if room > 1e-9]
            if not able:
                break
            lane, room = min(able, key=lambda each: each[0].urgency(int(each[0].items)))
            some = max(BLOCK, len(lane.expected.scope.sources) * _STEP)
            each = lane.expected.completion_tokens or 1e-9
            count = min(room, some, left / each)
            lane.items += count
            left -= count * each
        return tokens - left
