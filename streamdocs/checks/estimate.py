"""An estimate of a run: what has to be written, how long that takes, what it costs in room, and what training reads."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any

import numpy as np

from streamdocs._base.arrays import Ints
from streamdocs.checks.course import Course, Simulation
from streamdocs.checks.expected import Expected, expected
from streamdocs.checks.probed import Probe
from streamdocs.config import RunFile
from streamdocs.recipes.keys import Writers
from streamdocs.run import Run
from streamdocs.store import Store

#: A run of more windows is worked out in fewer, larger ones.
_MOST_WINDOWS = 400
#: Rows of what is told over time.
_ROWS = 12


@dataclass(frozen=True)
class Pace:
    """How a run is to go.

    Args:
        epochs: That are read.
        train_tokens_per_second: That training reads, of all ranks; None where nobody says.
        tokens_per_second: Completion tokens that are written; None where nobody says, and the probe did not measure it.
        gpus: That write.
    """

    epochs: float = 1.0
    train_tokens_per_second: float | None = None
    tokens_per_second: float | None = None
    gpus: int = 1


@dataclass(frozen=True)
class StreamEstimate:
    """Of what is written for one stream, or of the concepts of a graph.

    Args:
        items: (document, round) items; of endless rounds, those that training comes to.
        generations, tokens: Accepted ones, and their tokens as the corpus counts them.
        completion_tokens: As engines count them, rejected texts and steps included.
        left: Of these, what does not exist yet.
        bytes: Of the store.
        reads: How often each token of a generation is read in all, 0 for what is not read.
        known: What lengths are known from: "measured", "stored" or "most".
    """

    items: int
    generations: int
    tokens: int
    completion_tokens: int
    left: int
    bytes: int
    reads: float
    known: str


@dataclass(frozen=True)
class Estimate:
    """Of a run.

    Args:
        streams: By name.
        sequences, windows: That training reads.
        hours: That it takes to write what is left; None where no speed is known.
        gpu_hours: Of these, times the GPUs.
        train_hours: That training takes, without what it waits; None where nobody says how fast it is.
        wait_hours: That it waits.
        begins: Seconds from the start until it can begin.
        waits: Windows that are waited for, as numbers, the first of them excepted.
        course: When what is written, by window; None without a speed.
        window: Sequences of one of its windows.
        stuck: What never comes; "" for nothing.
    """

    streams: dict[str, StreamEstimate]
    sequences: int
    windows: int
    hours: float | None
    gpu_hours: float | None
    train_hours: float | None
    wait_hours: float | None
    begins: float | None
    waits: list[int]
    course: Course | None
    window: int
    stuck: str

    @property
    def tokens(self) -> int:
        """Of all generations, as the corpus counts them."""
        return sum(each.tokens for each in self.streams.values())

    @property
    def bytes(self) -> int:
        """Of the store in the end."""
        return sum(each.bytes for each in self.streams.values())

    @property
    def completion_tokens(self) -> int:
        """That are left to be written."""
        return sum(each.left for each in self.streams.values())

    def over_time(self) -> list[dict[str, Any]]:
        """Some moments: seconds, windows read by then, bytes of the store, and by stream generations and reads."""
        if self.course is None or not len(self.course.ready):
            return []
        at: Ints = np.unique(np.linspace(0, len(self.course.ready) - 1, _ROWS).round().astype(np.int64))
        return [
            {
                "seconds": float(self.course.ready[window]),
                "window": window,
                "bytes": int(self.course.stored[window]),
                "waited_seconds": float(self.course.waited[: window + 1].sum()),
                "reads": {name: float(each[window]) for name, each in self.course.reuse.items()},
                "generations": {name: float(each[window]) for name, each in self.course.generations.items()},
            }
            for window in at.tolist()
        ]

    def told(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        fields = {name: value for name, value in vars(self).items() if name not in ("streams", "course")}
        totals = {"tokens": self.tokens, "bytes": self.bytes, "completion_tokens": self.completion_tokens}
        streams = {name: asdict(each) for name, each in self.streams.items()}
        return {**fields, **totals, "streams": streams, "over_time": self.over_time()}


def estimate(file: RunFile, run: Run, store: Store | None, probe: Probe, pace: Pace) -> Estimate:
    """An estimate of a run from its beginning on, over what its store has.

    Args:
        file, run: The run.
        store: Where what exists of it is; None for nothing.
        probe: What was measured of those who write.
        pace: How the run is to go.
    """
    return of_expected(file, run, expected(run, store, probe), probe.tokens_per_second, pace)


def of_expected(file: RunFile, run: Run, known: Mapping[str, Expected], measured: float, pace: Pace) -> Estimate:
    """The same, of generations that are expected; ``measured``: completion tokens a second, 0 for none."""
    sequences = max(ceil(pace.epochs * (file.mix.epoch_size or run.epoch_sequences)), 1)
    coarse, known = _coarse(file, run, known, sequences)
    windows = ceil(sequences / coarse.mixture.window)
    whole = Simulation(coarse, known, math.inf, file.server).course(windows, math.inf)
    speed = pace.tokens_per_second or measured or None
    rate = pace.train_tokens_per_second and pace.train_tokens_per_second / run.mixture.max_seq_len
    streams = {name: _stream(each, whole) for name, each in known.items()}
    left = sum(each.left for each in streams.values())
    hours = left / speed / 3600 if speed else None
    course = None
    if speed:
        # Where nobody says how fast training is, it takes as long as writing.
        guess = sequences * speed / left if left else math.inf
        course = Simulation(coarse, known, speed, file.server).course(windows, rate or guess)
        streams = {name: _stream(each, course if rate else whole) for name, each in known.items()}
    waits = [] if course is None or not rate else (np.flatnonzero(course.waited[1:]) + 1).tolist()
    return Estimate(
        streams=streams,
        sequences=sequences,
        windows=ceil(sequences / run.mixture.window),
        hours=hours,
        gpu_hours=None if hours is None else hours * pace.gpus,
        train_hours=sequences / rate / 3600 if rate else None,
        wait_hours=float(course.waited.sum()) / 3600 if course and rate else None,
        begins=float(course.ready[0]) if course and len(course.ready) else None,
        waits=waits,
        course=course,
        window=coarse.mixture.window,
        stuck=(course or whole).stuck,
    )


def _coarse(
    file: RunFile, run: Run, known: Mapping[str, Expected], sequences: int
) -> tuple[Run, Mapping[str, Expected]]:
    """The run, in windows that are not too many, and with shares that stay as they begin."""
    window = run.mixture.window * ceil(sequences / run.mixture.window / _MOST_WINDOWS)
    if window == run.mixture.window and run.decisions is None:
        return run, known
    mix = file.mix.model_copy(update={"window": window, "controller": None})
    made = Run.of(file.model_copy(update={"mix": mix}), run.writers)
    scopes = {scope.stream: scope for scope in made.scopes}
    return made, {name: replace(each, scope=scopes[name]) for name, each in known.items()}


def _stream(each: Expected, course: Course) -> StreamEstimate:
    scope = each.scope
    items = course.items[scope.stream] if each.items is None else each.items
    reuse = course.reuse.get(scope.stream)
    return StreamEstimate(
        items=items,
        generations=round(items * each.generations),
        tokens=round(items * each.tokens),
        completion_tokens=round(items * each.completion_tokens),
        left=round(max(items - each.resolved, 0) * each.completion_tokens),
        bytes=round(items * each.bytes),
        reads=float(reuse[-1]) if reuse is not None and len(reuse) else 0.0,
        known=each.known,
    )


def with_generations(file: RunFile, generations: int) -> RunFile:
    """A run file whose recipes have so many generations.

    Raises:
        ConfigError: A recipe cannot have them.
    """

    def changed(recipe: Any) -> Any:
        size = recipe.per_round if recipe.per_round and not generations % recipe.per_round else None
        return replace(recipe, generations=generations, per_round=size, rounds="enough")

    if file.streams is None:
        return file.model_copy(update={"recipe": changed(file.recipe)})
    streams = {
        name: each.model_copy(update={"recipe": changed(each.recipe)}) if each.recipe else each
        for name, each in file.streams.items()
    }
    return file.model_copy(update={"streams": streams})


def scaled(run: Run, known: Mapping[str, Expected]) -> dict[str, Expected]:
    """What is to be expected of another run of the same recipes, with other numbers of generations and nothing written.

    A generation is taken to be as long as it was.
    """
    found = {}
    for scope in run.scopes:
        each = known[scope.stream]
        factor = scope.recipe.round_size / each.scope.recipe.round_size
        lengths = replace(
            each.lengths,
            each=each.lengths.each * factor,
            slope=each.lengths.slope * factor,
            generations=round(each.lengths.generations * factor),
        )
        found[scope.stream] = replace(
            each,
            scope=scope,
            items=scope.generation_order.total_items if scope.is_read else each.items,
            resolved=0,
            lengths=lengths,
            completion_tokens=each.completion_tokens * factor,
            bytes=each.bytes * factor,
        )
    return found


def what_if(
    file: RunFile,
    who: Writers | None,
    known: Mapping[str, Expected],
    pace: Pace,
    speeds: list[float],
    generations: list[int],
) -> list[dict[str, Any]]:
    """Estimates of the run with other speeds of its generator and other G, from an empty store; a row each."""
    rows = []
    for count in generations:
        other = with_generations(file, count)
        run = Run.of(other, who)
        expects = scaled(run, known)
        for speed in speeds:
            found = of_expected(other, run, expects, 0, replace(pace, tokens_per_second=speed))
            rows.append(
                {
                    "generations": count,
                    "tokens_per_second": speed,
                    "hours": found.hours,
                    "bytes": found.bytes,
                    "begins": found.begins,
                    "wait_hours": found.wait_hours,
                    "reads": {name: each.reads for name, each in found.streams.items() if each.reads},
                }
            )
    return rows
