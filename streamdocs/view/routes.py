"""What each page shows, by its address and what that asks for."""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic

import htpy as h

from streamdocs.errors import ConfigError
from streamdocs.generations.newest import Newest, stored_newest
from streamdocs.generations.progress import sample_tally
from streamdocs.ledger.ledgers import sealed_positions
from streamdocs.ledger.meter import describe_run
from streamdocs.view import documents, inspector, searching
from streamdocs.view.facts import Facts
from streamdocs.view.looking import PATIENCE, Fact, Looker
from streamdocs.view.opening import Opened
from streamdocs.view.pages import document, finding, graph, live, position
from streamdocs.view.query import AddressError, Query

#: A page's title, and what is on it.
Made = tuple[str, list[h.Node]]


class Pages:
    """The pages of a run, by their addresses.

    Args:
        looker: Who looks at the run.
    """

    def __init__(self, looker: Looker) -> None:
        self._looker = looker
        self._now = Fact("now", lambda opened: Facts.of(opened).now(opened), 2)
        self._course = Fact("course", lambda opened: Facts.of(opened).course(opened), 4)
        self._newest, self._about = Fact("newest", _newest, 4), Fact("about", _about, 4)
        self._by_path: Mapping[str, tuple[Callable[[Query], Made], Sequence[str]]] = {
            "/": (self._live, ()),
            "/position": (self._position, ("at", "start", "stretch", "tokens")),
            "/document": (self._document, ("number", "stream", "round")),
            "/generation": (self._generation, ("number", "stream", "round", "which")),
            "/rejected": (self._rejected, ("stream", "cause", "start")),
            "/search": (self._search, ("text", "where", "stream", "start")),
            "/graph": (self._graph, ("stream", "edition", "walk")),
        }

    def made(self, path: str, query: str) -> Made | None:
        """A page, by its address; None where there is no such page.

        Raises:
            AddressError: The page has not what is asked for, whatever the run.
            StreamdocsError: It cannot be shown.
        """
        if path not in self._by_path:
            return None
        show, names = self._by_path[path]
        return show(Query(path, query, names))

    def _live(self, _: Query) -> Made:
        until, known = monotonic() + PATIENCE, self._looker.known
        for fact in (self._now, self._course, self._newest, self._about):
            self._looker.begin(fact)
        now, course = known(self._now, until), known(self._course, until)
        newest, about = known(self._newest, until), known(self._about, until)
        return "Run", live.live(now, course, newest, about or "is being counted")

    def _position(self, query: Query) -> Made:
        at, tokens = query.number("at") or 0, query.is_set("tokens")

        chosen, start = query.number("stretch"), query.number("start") or 0

        def find(opened: Opened) -> inspector.Shown | None:
            if not sealed_positions(opened.ledgers, opened.run.mixture.window):
                return None
            return inspector.sequence(opened, at, chosen, start, tokens=tokens)

        if (found := self._looker.find(query.key, find)) is None:
            return "Positions", [h.p["No window is sealed yet: training has read nothing."]]
        return f"Position {found.position:,}", position.position(found, tokens=tokens)

    def _document(self, query: Query) -> Made:
        number, stream, round = query.number("number") or 0, query.text("stream"), query.number("round")

        def find(opened: Opened) -> tuple[documents.Document, list[str], bool]:
            return documents.document(opened, number, stream, round), _streams(opened), opened.whole

        found, streams, whole = self._looker.find(query.key, find)
        return f"Document {found.number:,}", document.document(found, streams, whole_store=whole)

    def _generation(self, query: Query) -> Made:
        number, round, which = (query.number(name) or 0 for name in ("number", "round", "which"))
        stream = query.text("stream")
        found = self._looker.find(query.key, lambda opened: documents.generated(opened, number, stream, round, which))
        return f"Document {number:,}, round {round}, generation {which}", document.generation(found)

    def _rejected(self, query: Query) -> Made:
        name, cause, start = query.text("stream"), query.text("cause"), query.number("start") or 0
        self._looker.begin(self._now)

        def find(opened: Opened) -> tuple[documents.Sample, list[str]]:
            return documents.sample(opened, name, cause, start), [each.name for each in opened.run.synthetic]

        found, streams = self._looker.find(query.key, find)
        now = self._looker.known(self._now, monotonic())
        streams_now = now.streams if now else ()
        counts = next((each.all.rejected for each in streams_now if each.name == found.stream), None)
        known = sorted({*(counts or ()), *found.causes})
        if cause and counts is not None and cause not in known:
            raise ConfigError(f"cause {cause[:40]}: those of {found.stream} so far are {', '.join(known) or 'none'}")
        return "Rejected", finding.rejected(found, streams, cause, counts)

    def _search(self, query: Query) -> Made:
        text, where, start = (
            query.text("text") or "",
            query.one_of("where", searching.PLACES),
            query.number("start") or 0,
        )
        if len(text) > searching.MOST_CHARS:
            raise AddressError(f"text=: {len(text):,} characters; from 1 to {searching.MOST_CHARS}")
        place = next(each for each in searching.PLACES if where in (None, each))

        def find(opened: Opened) -> tuple[searching.Search | None, str, list[str]]:
            stream = inspector.stream_of(opened, query.text("stream")).name
            found = searching.search(opened, text, place, stream, start) if text else None
            return found, stream, _streams(opened)

        found, stream, streams = self._looker.find(query.key, find)
        return "Search", finding.search(text, place, streams, stream, found)

    def _graph(self, query: Query) -> Made:
        number, walk, name = query.number("edition"), query.number("walk") or 0, query.text("stream")
        found = self._looker.find(query.key, lambda opened: (_graph(opened, name, number, walk), list(opened.graphs)))
        if found[0] is None:
            return "Graph", [h.p["No stream of this run has a graph: those of recipe synthllm at level 3 have one."]]
        return "Graph", graph.graph(found[0], found[1])


def _graph(opened: Opened, name: str | None, number: int | None, walk: int) -> graph.Graph | None:
    """What the page of a graph shows; None where there is none."""
    if not opened.graphs:
        return None
    if name is not None and name not in opened.graphs:
        raise ConfigError(f"stream {name}: those of this run that have a graph are {', '.join(opened.graphs)}")
    stream = name or next(iter(opened.graphs))
    scope = opened.graphs[stream]
    editions, rule = scope.editions, scope.recipe.graph
    assert editions is not None and rule is not None
    sealed = editions.sealed()
    if number is not None and not 1 <= number <= len(sealed):
        raise ConfigError(f"edition {number}: those from 1 to {len(sealed)} are sealed")
    chosen = sealed[(number or len(sealed)) - 1] if sealed else None
    walks = editions.walks(chosen.digest) if chosen and chosen.topics else None
    found = walks.walk(walk) if walks else None
    return graph.Graph(
        stream=stream,
        shares=rule.editions,
        sealed=sealed,
        edition=chosen.number if chosen else None,
        summary=opened.summary(walks.edition) if walks else None,
        number=walk,
        walk=found,
        documents={each: scope.sources.text(each) for each in found.documents} if found else {},
    )


def _streams(opened: Opened) -> list[str]:
    """Names of the streams, the synthetic ones first."""
    streams = opened.run.streams
    return [each.name for each in sorted(streams, key=lambda each: each not in opened.run.synthetic)]


def _about(opened: Opened) -> str:
    """What an epoch reads, in lines."""
    stored = {stream.name: sample_tally(opened.store, stream.scope) for stream in opened.run.synthetic}
    return describe_run(opened.run, opened.run.epoch_sequences, stored)


def _newest(opened: Opened) -> Newest:
    """What the newest generations are like."""
    return stored_newest(opened.run, opened.store)
