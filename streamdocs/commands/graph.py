"""``streamdocs graph``: the graph of concepts of a run, in figures, as a file, and its walks with their documents."""

from pathlib import Path

from rich.table import Table

from streamdocs._base.console import plain_console, printable
from streamdocs._base.unfinished import whole_file
from streamdocs.auditing.looking import open_stored
from streamdocs.errors import ConfigError
from streamdocs.graph.edition import Edition
from streamdocs.graph.graphml import write_graphml
from streamdocs.graph.summary import summarise
from streamdocs.graph.walks import Walk, told
from streamdocs.plans.editions import Sealed
from streamdocs.run import Run
from streamdocs.streams import GenerationScope

#: What draws them takes numbers of 64 bits.
_LAST_WALK = (1 << 63) - 1


def show_graph(
    run_file: Path, stream: str | None, number: int | None, walk: int, graphml: Path | None, nodes: int | None
) -> None:
    """Print which editions are sealed, the figures of one (default the newest), and one of its walks.

    Args:
        run_file: Says which run.
        stream: Which of its streams; default the first that has a graph.
        number: Of the edition.
        walk: Number of the walk, which is shown with its documents in full.
        graphml: Where the edition is written to, if anywhere.
        nodes: Of that, so many nodes, those that most documents have; None for all.

    Raises:
        ConfigError: There is no such stream, edition or walk.
        StreamdocsError: The run file, the corpus or the store cannot be read.
    """
    run, _ = open_stored(run_file)
    scope = _scope(run, stream)
    editions = scope.editions
    assert editions is not None
    sealed = editions.sealed()
    asked = {"--edition": number, "--graphml": graphml}
    if not sealed and (named := [f"{option} {given}" for option, given in asked.items() if given is not None]):
        raise ConfigError(f"{named[0]}: no edition of the graph is sealed yet")
    if number is not None and not 1 <= number <= len(sealed):
        raise ConfigError(f"--edition {number}: those from 1 to {len(sealed)} are sealed")
    if not 0 <= walk <= _LAST_WALK:
        raise ConfigError(f"--walk {walk}: they are numbered from 0 to {_LAST_WALK}")
    console = plain_console()
    console.print(_editions_table(sealed, scope))
    if not sealed:
        return
    chosen = sealed[(number or len(sealed)) - 1]
    edition = editions.load(chosen.digest)
    console.print(_figures_table(edition, chosen.number))
    if edition.topics:
        _print_walk(scope, walk, editions.walks(chosen.digest).walk(walk))
    if graphml is not None:
        try:
            with whole_file(graphml) as file:
                write_graphml(edition, file, nodes)
        except OSError as error:
            raise ConfigError(f"--graphml {graphml}: it cannot be written: {error.strerror}") from error


def _scope(run: Run, name: str | None) -> GenerationScope:
    scopes = {stream.name: stream.scope for stream in run.synthetic if stream.recipe.graph}
    if not scopes:
        raise ConfigError("no stream of this run has a graph: those of recipe synthllm at level 3 have one")
    if name is not None and name not in scopes:
        raise ConfigError(f"--stream {name}: the streams of this run that have a graph are {', '.join(scopes)}")
    return scopes[name or next(iter(scopes))]


def _editions_table(sealed: list[Sealed], scope: GenerationScope) -> Table:
    assert scope.recipe.graph and scope.plans
    table = Table("edition", "share", "documents", "topics", "digest", title="editions of the graph")
    for number, share in enumerate(scope.recipe.graph.editions, 1):
        if number > len(sealed):
            table.add_row(str(number), str(share), "not sealed yet", "", "")
            continue
        each = sealed[number - 1]
        table.add_row(str(number), str(share), f"{each.documents:,}", f"{each.topics:,}", each.digest.hex())
    return table


def _figures_table(edition: Edition, number: int) -> Table:
    found = summarise(edition)
    table = Table("of", "least", "median", "p90", "most", "mean", title=f"edition {number}", caption_justify="left")
    for name, spread in (
        ("nodes of a document", found.nodes_of_document),
        ("documents of a topic", found.documents_of_topic),
        ("documents of a concept", found.documents_of_concept),
        ("edges of a topic", found.degree_of_topic),
        ("edges of a concept", found.degree_of_concept),
    ):
        whole = (f"{value:,}" for value in spread[:-1])
        table.add_row(name, *whole, f"{spread.mean:,.1f}")
    kinds = zip(("topic-topic", "topic-concept", "concept-concept"), found.edges, strict=True)
    edges = ", ".join(f"{kind} {count:,}" for kind, count in kinds)
    largest = ", ".join(f"{printable(each.name)} ({each.documents:,})" for each in found.largest)
    table.caption = (
        f"{found.documents:,} documents, {found.topics:,} topics, {found.concepts:,} concepts; edges: {edges}; largest "
        f"topics: {largest or 'none'}"
    )
    return table


def _print_walk(scope: GenerationScope, number: int, walk: Walk) -> None:
    console = plain_console()
    console.print(f"--- walk {number}: {printable(told(walk.topics, walk.concepts))}", highlight=False, soft_wrap=True)
    for document in walk.documents:
        console.print(f"[document {document}]", highlight=False)
        console.print(printable(scope.sources.text(document)), highlight=False, soft_wrap=True)
