"""The course of a run that nobody started yet: what is written when, what each window reads of it, and where it waits.

Windows are sealed by the rules by which a run seals them, over a shelf on which generations stand that are expected.
"""

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamdocs.checks.expected import Expected
from streamdocs.checks.lanes import ExpectedShelf, Lane
from streamdocs.ledger.manifest import Manifest
from streamdocs.ledger.sealing import NotYet, Sealer
from streamdocs.run import Run
from streamdocs.schedule.rounds import BLOCK
from streamdocs.sections import ServerSection

#: Of what is written in all, the least that is handed out at a time.
_STEP = 1 / 500
#: Documents that a server has begun where several write them, as ``Desk.most_begun``.
_AHEAD = 1024
#: Items, or tokens, that are none.
_NONE = 1e-9


@dataclass(frozen=True)
class Course:
    """What comes of it.

    Args:
        ready: float64 (windows,), seconds from the start until each window could be sealed, at or before which training
            wanted it.
        waited: float64 (windows,), seconds that training waited for each.
        stored: float64 (windows,), bytes of all that exists by then.
        reuse: By stream, float64 (windows,): how often what existed was read on average.
        generations: By stream, float64 (windows,): that a unit can draw on, on average.
        filled: By stream, sequences of web text in its place.
        items: By stream, (document, round) items that exist in the end.
        stuck: What a window lacks that never comes; "" where all could be sealed.
    """

    ready: npt.NDArray[np.float64]
    waited: npt.NDArray[np.float64]
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
        server: By how much generation may be ahead of training, and how many documents it has in flight.
    """

    def __init__(self, run: Run, expected: Mapping[str, Expected], speed: float, server: ServerSection) -> None:
        self._run = run
        self._in_flight = server.max_in_flight
        self._speed = speed
        self._lanes: dict[str, Lane] = {}
        for stream in run.synthetic:
            lead = server.max_lead or len(stream.sources)
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
        for lane in self._lanes.values():
            lane.begun = lane.items
        #: What was begun and is not written, in order: whose, and how many items.
        self._queue: deque[tuple[Lane, float]] = deque()

    def course(self, windows: int, sequences_per_second: float) -> Course:
        """What comes of the first windows.

        Args:
            windows: How many.
            sequences_per_second: That training reads where it does not wait; infinite for one that takes no time.
        """
        streams, now, stuck = self._run.synthetic, 0.0, ""
        ready, waited, stored = (np.zeros(windows) for _ in range(3))
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
            stored[window] = sum(lane.items * lane.expected.bytes for lane in self._lanes.values())
            for name, manifest in found.items():
                lane = self._lanes[name]
                lane.state = manifest.after
                reuse[name][window] = self._reuse(lane, manifest)
                order = lane.expected.scope.generation_order
                generations[name][window] = order.generations_per_source(manifest.watermark)
        filled = {stream.name: self._lanes[stream.name].state.filler_rows for stream in streams}
        cut = slice(windows)
        return Course(
            *(ready[cut], waited[cut], stored[cut]),
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
        """Write so many completion tokens, or as many as may be, in the order in which it was begun. How many it were.

        Args:
            tokens: How many.
            waited_for: Whether training stands still for want of them: then nothing is too far ahead of it.
        """
        left = tokens
        while left > _NONE:
            self._begin(waited_for=waited_for)
            if not self._queue:
                break
            lane, count = self._queue.popleft()
            each = lane.expected.completion_tokens or _NONE
            done = min(count, left / each)
            lane.items += done
            left -= done * each
            if count - done > _NONE:
                self._queue.appendleft((lane, count - done))
        return tokens - left

    def _begin(self, *, waited_for: bool) -> None:
        """Begin what training comes to first, until as much is in flight as a server has."""
        while True:
            unfinished = Counter[tuple[str, ...]]()
            for lane in self._lanes.values():
                unfinished[lane.writers] += math.ceil(lane.begun - lane.items)
            able = [
                (lane, room)
                for lane in self._lanes.values()
                if unfinished[lane.writers] < self._most(lane) and (room := lane.room(waited_for=waited_for)) > _NONE
            ]
            if not able:
                return
            lane, room = min(able, key=lambda each: each[0].urgency(int(each[0].begun)))
            count = min(room, max(BLOCK, len(lane.expected.scope.sources) * _STEP))
            lane.begun += count
            self._queue.append((lane, count))

    def _most(self, lane: Lane) -> int:
        """Items that a server has begun at most, of all that the same write."""
        return (self._in_flight if len(lane.writers) == 1 else _AHEAD) + 2 * BLOCK
