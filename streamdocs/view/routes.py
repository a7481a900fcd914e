"""What each page shows, by its address and what that asks for."""

from collections.abc import Callable, Mapping
from time import monotonic
from urllib.parse import parse_qs

import htpy as h

from streamdocs.errors import ConfigError
from streamdocs.generations.newest import Newest, stored_newest
from streamdocs.generations.progress import sample_tally
from streamdocs.generations.rejected import read_rejected
from streamdocs.ledger.ledgers import sealed_positions
from streamdocs.ledger.meter import describe_run
from streamdocs.view import documents, inspector, searching
from streamdocs.view.facts import Facts
from streamdocs.view.looking import PATIENCE, Fact, Looker, Opened
from streamdocs.view.pages import document, finding, graph, live, position

#: A page's title, and what is on it.
Made = tuple[str, list[h.Node]]

_MOST = (1 << 62) - 1
_MOST_REJECTED = 10


class Query:
    """What an address asks for.

    Args:
        path: Of which page.
        text: Behind its question mark.
    """

    def __init__(self, path: str, text: str) -> None:
        self.key = f"{path}?{text}"
        try:
            found = parse_qs(text, max_num_fields=16, errors="replace")
        except ValueError as error:
            raise ConfigError(f"the address asks for too much ({error})") from error
        self._said = {name: values[-1] for name, values in found.items()}

    def text(self, name: str) -> str | None:
        """A text; None where it is not there."""
        return self._said.get(name)

    def number(self, name: str) -> int | None:
        """A whole number from 0 on; None where it is not there.

        Raises:
            ConfigError: It is none.
        """
        if (said := self._said.get(name)) is None:
            return None
        if not (said.isascii() and said.isdigit() and len(said) <= 19 and int(said) <= _MOST):
            raise ConfigError(f"{name}={said[:40]}: a whole number from 0 on")
        return int(said)


class Pages:
    """The pages of a run, by their addresses.

    Args:
        looker: Who looks at the run.
    """

    def __init__(self, looker: Looker) -> None:
        self._looker = looker
        facts = Facts()
        self._now, self._course = Fact("now", facts.now, 2), Fact("course", facts.course, 10)
        self._newest, self._about = Fact("newest", _newest, 30), Fact("about", _about, 30)
        self.by_path: Mapping[str, Callable[[Query], Made]] = {
            "/": self._live,
            "/position": self._position,
            "/document": self._document,
            "/generation": self._generation,
            "/rejected": self._rejected,
            "/search": self._search,
            "/graph": self._graph,
        }

    def _live(self, _: Query) -> Made:
        until, known = monotonic() + PATIENCE, self._looker.known
        for fact in (self._now, self._course, self._newest, self._about):
            self._looker.begin(fact)
        now, course = known(self._now, until), known(self._course, until)
        newest, about = known(self._newest, until), known(self._about, until)
        return "Run", live.live(now, course, newest, about or "is being counted")

    def _position(self, query: Query) -> Made:
        at, tokens = query.number("at") or 0, query.text("tokens") == "1"

        def find(opened: Opened) -> inspector.Shown | None:
            if not sealed_positions(opened.ledgers, opened.run.mixture.window):
                return None
            chosen, start = query.number("stretch"), query.number("start") or 0
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
        name, cause = query.text("stream"), query.text("cause") or None
        self._looker.begin(self._now)

        def find(opened: Opened) -> tuple[str, list[str], list[finding.Refused]]:
            stream = inspector.stream_of(opened, name)
            scope = inspector.scope_of(opened, stream.name)
            if scope is None:
                raise ConfigError(f"stream {stream.name}: nothing is written for web text")
            texts = [each for each in read_rejected(opened.store, scope) if cause in (None, each.cause)]
            found = []
            for each in texts[-_MOST_REJECTED:][::-1]:
                numbers = range(scope.recipe.round_size)
                writers = dict.fromkeys(scope.author(each.round, number).writer for number in numbers)
                found.append(finding.Refused(each, list(writers), scope.text(each.document, each.round)))
            return stream.name, [each.name for each in opened.run.synthetic], found

        stream, streams, texts = self._looker.find(query.key, find)
        now = self._looker.known(self._now, monotonic())
        streams_now = now.streams if now else ()
        counts = next((each.all.rejected for each in streams_now if each.name == stream), None)
        return "Rejected", finding.rejected(stream, streams, cause, counts, texts)

    def _search(self, query: Query) -> Made:
        text, where, start = query.text("text") or "", query.text("where") or "generations", query.number("start") or 0
        if where not in searching.PLACES:
            raise ConfigError(f"where={where[:40]}: it is one of {', '.join(searching.PLACES)}")

        def find(opened: Opened) -> tuple[searching.Search | None, str, list[str]]:
            stream = inspector.stream_of(opened, query.text("stream")).name
            found = searching.search(opened, text, where, stream, start) if text else None
            return found, stream, _streams(opened)

        found, stream, streams = self._looker.find(query.key, find)
        return "Search", finding.search(text, where, streams, stream, found)

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
