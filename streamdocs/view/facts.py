"""What the page of a run shows: how far it is, what it mixed window by window, and what training lost."""

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from streamdocs.generations.heartbeat import beats
from streamdocs.generations.progress import Tallies, Tally, read_watermark, total
from streamdocs.learning.attribution import by_author
from streamdocs.learning.reported import Reported
from streamdocs.ledger.ledger import Ledger
from streamdocs.ledger.waiting import wanted_beyond
from streamdocs.steering.decision import PARTS
from streamdocs.steering.reports import HeldOut, Reports
from streamdocs.streams import SyntheticStream
from streamdocs.view.opening import Opened

#: Windows that a chart has points of, and those of whose losses; the newest is always one.
MOST_POINTS, MOST_LOSSES = 96, 32
#: Rates are those of the last minutes, as in the server's own view.
_RATE_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class StreamNow:
    """How far one synthetic stream is.

    Args:
        name: Of the stream.
        recipe: Its name.
        documents: That it reads.
        written: (document, round) items resolved without a gap.
        items: Of how many; None for endless rounds.
        rounds: What each round holds.
        generations: A document, that units can draw on now, on average.
        lead: Items by which generation is ahead of what is sealed.
        reuse: How often the tokens of what existed were read on average; None before a window is sealed.
        sealed: Windows.
        rate: Tokens of generations a second, lately; None where that is not known yet.
        servers: When each that writes for it was last alive, in Unix seconds.
        waiting: Whether a trainer waited for more than there is when it last said so.
    """

    name: str
    recipe: str
    documents: int
    written: int
    items: int | None
    rounds: Mapping[int, Tally]
    generations: float
    lead: int
    reuse: float | None
    sealed: int
    rate: float | None
    servers: Mapping[str, float]
    waiting: bool

    @property
    def all(self) -> Tally:
        """What all rounds hold."""
        return total(self.rounds.values())


class Share(NamedTuple):
    """Sequences of a stream: its share, and how many of the sealed ones were asked for, and were read."""

    name: str
    share: str
    asked: int
    read: int


@dataclass(frozen=True, kw_only=True)
class Now:
    """How far a run is.

    Args:
        at: Unix seconds.
        whole: Whether it is known what was written, and not only, from exported ledgers, what was sealed.
        positions: That are sealed in all streams.
        bytes: Of the store.
    """

    at: float
    whole: bool
    streams: Sequence[StreamNow]
    shares: Sequence[Share]
    positions: int
    bytes: int


class Point(NamedTuple):
    """What was mixed of a stream until a window: as of ``StreamingMegadocDataset.mixed_until``."""

    window: int
    generations: float
    lead: float
    reuse: float


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a run came to where it is.

    mixed: By stream. shares: What was decided for each arm, by window; none where shares do not move. losses: Mean loss
    in nats a token, by stream and window, where training reported. held_out: That of what is held out, by position.
    """

    mixed: Mapping[str, Sequence[Point]]
    shares: Mapping[str, Sequence[tuple[int, float]]]
    losses: Mapping[str, Sequence[tuple[int, float]]]
    held_out: Sequence[HeldOut]


@dataclass
class Facts:
    """Finds them, again and again: what cannot change is not looked at twice, for as long as a run is open."""

    _tallies: dict[str, Tallies] = field(default_factory=dict)
    _seen: dict[str, deque[tuple[float, int]]] = field(default_factory=dict)
    _points: dict[tuple[bytes, int, int], Point] = field(default_factory=dict)
    _losses: dict[int, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, opened: Opened) -> "Facts":
        """Those of a run that is open."""
        found: Facts = opened.kept.setdefault("facts", cls())
        return found

    def now(self, opened: Opened) -> Now:
        """How far a run is.

        Raises:
            StreamdocsError: The store cannot be read, or the newest window is damaged.
        """
        run = opened.run
        streams = [self._stream(opened, stream) for stream in run.synthetic]
        sealed = min((each.sealed for each in streams), default=0)
        position, mixture = sealed * run.mixture.window, run.mixture
        read = {}
        for stream in run.synthetic if sealed else ():
            ledger = opened.ledgers[stream.name]
            read[stream.name] = ledger.read_window(sealed - 1, ledger.reseals)[1].after.synthetic_rows
        shares = []
        for number, share in enumerate(mixture.shares):
            asked = mixture.before(number, position)
            shares.append(Share(share.name, str(share.fraction), asked, read.get(share.name, asked)))
        return Now(
            at=time.time(),
            whole=opened.whole,
            streams=streams,
            shares=shares,
            positions=position,
            bytes=opened.store.size(),
        )

    def _stream(self, opened: Opened, stream: SyntheticStream) -> StreamNow:
        store, scope = opened.store, stream.scope
        order, ledger = scope.generation_order, opened.ledgers[stream.name]
        rounds = self._tallies.setdefault(stream.name, Tallies(scope)).read(store)
        sealed = ledger.count()
        manifest = ledger.read_window(sealed - 1, ledger.reseals)[1] if sealed else None
        with store.read() as snapshot:
            written = read_watermark(snapshot, scope, manifest.watermark if manifest else 0)
        wanted = order.wanted_items(manifest.after.sweep, manifest.after.cursor) if manifest else 0
        return StreamNow(
            name=stream.name,
            recipe=stream.recipe.name,
            documents=len(stream.sources),
            written=written,
            items=order.total_items,
            rounds=rounds,
            generations=order.generations_per_source(written),
            lead=written - wanted,
            reuse=ledger.meter.until(manifest)["reuse"] if manifest else None,
            sealed=sealed,
            rate=self._rate(stream.name, total(rounds.values()).tokens),
            servers=beats(store, scope),
            waiting=written <= wanted_beyond(store, scope),
        )

    def _rate(self, name: str, tokens: int) -> float | None:
        """Tokens a second of a stream, which has so many now."""
        seen, now = self._seen.setdefault(name, deque()), time.monotonic()
        seen.append((now, tokens))
        while now - seen[0][0] > _RATE_SECONDS:
            seen.popleft()
        seconds = now - seen[0][0]
        return (tokens - seen[0][1]) / seconds if seconds else None

    def course(self, opened: Opened) -> Course:
        """How a run came to where it is.

        Raises:
            StreamdocsError: A window is missing or damaged.
        """
        mixed = {name: list(self._mixed(ledger)) for name, ledger in opened.ledgers.items()}
        run, shares = opened.run, dict[str, list[tuple[int, float]]]()
        sealed = min((ledger.count() for ledger in opened.ledgers.values()), default=0)
        for window in some_of(range(sealed), MOST_POINTS) if run.decisions else ():
            if run.decisions and (made := run.decisions.sealed(window)):
                for name, parts in zip(run.decisions.arms.names, made.shares, strict=True):
                    shares.setdefault(name, []).append((window, parts / PARTS))
        reports = Reports(opened.store, run.id, run.mixture.window, run.mixture.max_seq_len)
        losses = self._lost(opened)
        return Course(mixed=mixed, shares=shares, losses=losses, held_out=reports.held_out(-1, 1 << 62))

    def _mixed(self, ledger: Ledger) -> Iterator[Point]:
        reseals = ledger.reseals
        for window in some_of(range(ledger.count(reseals)), MOST_POINTS):
            key = ledger.id, window, len(reseals)
            if key not in self._points:
                _, manifest = ledger.read_window(window, reseals)
                until = ledger.meter.until(manifest)
                what = (until[name] for name in ("generations_per_document", "lead", "reuse"))
                self._points[key] = Point(window, *what)
            yield self._points[key]

    def _lost(self, opened: Opened) -> dict[str, list[tuple[int, float]]]:
        """Mean losses by stream and window."""
        reported = Reported(opened.run, opened.store)
        found: dict[str, list[tuple[int, float]]] = {}
        windows = reported.windows()
        for window in some_of(windows, MOST_LOSSES):
            if window not in self._losses or window in windows[-2:]:  # of which more may come
                read = reported.read(window)
                tokens, sums = Counter[str](), Counter[str]()
                for author, loss in by_author(read[1]) if read else ():
                    tokens[author.stream] += loss.tokens
                    sums[author.stream] += loss.sum  # type: ignore[assignment]
                self._losses[window] = {name: sums[name] / tokens[name] for name in tokens}
            for name, mean in self._losses[window].items():
                found.setdefault(name, []).append((window, mean))
        return found


def some_of(windows: Sequence[int], most: int) -> list[int]:
    """Some of many windows, evenly, and the last; mostly those of before where there are more by now."""
    stride = 1 << max(int(np.ceil(np.log2(max(len(windows) / most, 1)))), 0)
    chosen = list(windows[::stride])
    return chosen if not chosen or chosen[-1] == windows[-1] else [*chosen, windows[-1]]
