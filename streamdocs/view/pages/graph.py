"""The page of a graph of concepts: its editions, its figures and its walks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import htpy as h

from streamdocs.graph.summary import Summary
from streamdocs.graph.walks import Walk
from streamdocs.plans.editions import Sealed
from streamdocs.view.charts import told_bar
from streamdocs.view.pages.frame import choice, figures, link, passage, shown, table, whole
from streamdocs.view.query import MOST_NUMBER


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A graph, one of its editions, and one of the walks of that.

    Args:
        stream: Whose it is.
        shares: Of the documents, at which each edition is made.
        sealed: Those that there are.
        edition: The number of the one that is shown; None before there is any.
        summary: That one in figures.
        number, walk: The walk; None of an edition without topics.
        documents: The texts of that, by their numbers.
    """

    stream: str
    shares: Sequence[Fraction]
    sealed: Sequence[Sealed]
    edition: int | None
    summary: Summary | None
    number: int
    walk: Walk | None
    documents: Mapping[int, str]


def graph(found: Graph, streams: Sequence[str]) -> list[h.Node]:
    """The page."""
    return [_editions(found), *([_figures(found, found.summary)] if found.summary else []), *_walk(found, streams)]


def _editions(found: Graph) -> h.Element:
    rows: list[Sequence[h.Node]] = []
    for number, share in enumerate(found.shares, 1):
        if number > len(found.sealed):
            rows.append((str(number), str(share), "not sealed yet", "", ""))
            continue
        each = found.sealed[number - 1]
        name = link("/graph", str(number), stream=found.stream, edition=number)
        rows.append((name, str(share), f"{each.documents:,}", f"{each.topics:,}", h.code[each.digest.hex()[:16]]))
    columns = ("Edition", "Share", "Documents", "Topics", "Digest")
    return table(f"editions of the graph of {found.stream}", columns, rows, ("Documents", "Topics"))


def _figures(found: Graph, summary: Summary) -> h.Element:
    kinds = zip(("topic–topic", "topic–concept", "concept–concept"), summary.edges, strict=True)
    most = max((each.documents for each in summary.largest), default=1)
    rows = [
        (shown(each.name), f"{each.documents:,}", f"{each.degree:,}", told_bar(each.documents / most))
        for each in summary.largest
    ]
    spreads = {
        "nodes of a document": summary.nodes_of_document,
        "documents of a topic": summary.documents_of_topic,
        "documents of a concept": summary.documents_of_concept,
        "edges of a topic": summary.degree_of_topic,
        "edges of a concept": summary.degree_of_concept,
    }
    columns = ("Of", "Least", "Median", "P90", "Most", "Mean")
    told = [(name, *(f"{n:,}" for n in spread[:-1]), f"{spread.mean:,.1f}") for name, spread in spreads.items()]
    largest = ("Topic", "Documents", "Edges", "Beside the largest")
    return h.section[
        h.h2[f"Edition {found.edition}"],
        figures(
            {
                "Documents": f"{summary.documents:,}",
                "Topics": f"{summary.topics:,}",
                "Key concepts": f"{summary.concepts:,}",
                "Edges": ", ".join(f"{kind} {n:,}" for kind, n in kinds),
            }
        ),
        table(f"edition {found.edition} in figures", columns, told, columns[1:]),
        table("largest topics", largest, rows, largest[1:3]),
    ]


def _walk(found: Graph, streams: Sequence[str]) -> list[h.Node]:
    if found.edition is None:
        return [h.p["No edition is sealed yet."]]
    if found.walk is None:
        return [h.p["It has no topics, and so no walks."]]
    walk, to = found.walk, {"stream": found.stream, "edition": found.edition}
    return [
        h.section[
            h.h2[f"Walk {found.number}"],
            h.form(".jump", action="/graph", method="get")[
                link("/graph", "← Previous", **to, walk=found.number - 1) if found.number else None,
                choice("Stream", "stream", streams, found.stream),
                h.input(type="hidden", name="edition", value=found.edition),
                whole("Walk", "walk", found.number, MOST_NUMBER),
                h.button["Show"],
                link("/graph", "Next →", **to, walk=found.number + 1) if found.number < MOST_NUMBER else None,
            ],
            h.ol(".walk", aria_label="The walk")[
                [h.li[h.span(".topic")[h.span(".unseen")["topic "], shown(name)]] for name in walk.topics],
                [h.li[h.span(".concept")[h.span(".unseen")["key concept "], shown(name)]] for name in walk.concepts],
            ],
            h.p(".note")["Topics first, then key concepts; the documents are those nearest to all of them."],
            h.div(".beside")[
                [
                    h.div[
                        h.h3[link("/document", f"Document {number}", number=number, stream=found.stream)],
                        passage(f"document {number}", text),
                    ]
                    for number, text in found.documents.items()
                ]
            ],
        ]
    ]
