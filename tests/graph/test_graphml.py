"""GraphML: what networkx reads of it is the graph."""

import io
import itertools
from fractions import Fraction

import networkx as nx
import numpy as np
from hypothesis import given, settings

from graphs import found_concepts, lcm_weight, number_of, numbers_edition
from streamdocs.graph.build import build_edition
from streamdocs.graph.edition import Edition
from streamdocs.graph.graphml import write_graphml


def written(edition: Edition, most: int | None = None) -> nx.Graph:
    file = io.BytesIO()
    write_graphml(edition, file, most)
    file.seek(0)
    return nx.read_graphml(file)


def test_the_graph_of_the_numbers():
    edition = numbers_edition()
    found = written(edition)
    numbers = [number_of(edition, node) for node in range(len(edition.names))]
    nodes = {
        f"n{node}": {
            "name": edition.names[node],
            "kind": "topic" if node < 5 else "concept",
            "documents": 300 // number,
        }
        for node, number in enumerate(numbers)
    }
    assert dict(found.nodes(data=True)) == nodes
    pairs = itertools.combinations(enumerate(numbers), 2)
    edges = {(f"n{a}", f"n{b}"): lcm_weight(first, second) for (a, first), (b, second) in pairs}
    got = {(a, b): weight for a, b, weight in found.edges(data="weight")}
    assert got == {pair: weight for pair, weight in edges.items() if weight}


def test_the_largest_nodes_alone():
    edition = numbers_edition()
    found = written(edition, most=3)  # multiples of 1, and of 2 as a topic and as a key concept
    assert sorted(found.nodes(data="documents")) == [("n0", 300), ("n1", 150), ("n8", 150)]
    assert sorted(found.edges(data="weight")) == [("n0", "n1", 150), ("n0", "n8", 150), ("n1", "n8", 150)]


def test_names_that_xml_cannot_say():
    names = ["a\x00b", '<&">', "\ufffe c", "\U0001f600d", "e\tf"]
    edition = build_edition(np.arange(2), [[("t", names)]] * 2, min_documents=1, max_share=Fraction(1))
    found = {name for _, name in written(edition).nodes(data="name")}
    # What is no name at all is no node.
    assert found == {"t", "a\ufffdb", "\ufffd c", "\U0001f600d", "e\tf"}


@given(found_concepts)
@settings(deadline=None, max_examples=25)
def test_any_graph(found):
    edition = build_edition(np.arange(len(found)), found, min_documents=1, max_share=Fraction(1))
    graph = written(edition)
    assert len(graph) == len(edition.names)
    for node in range(len(edition.names)):
        others, weights = edition.neighbours(node)
        expected = {f"n{other}": weight for other, weight in zip(others.tolist(), weights.tolist(), strict=True)}
        assert {other: data["weight"] for other, data in graph[f"n{node}"].items()} == expected
