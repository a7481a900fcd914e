"""How large an edition is, in figures."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamdocs._base.arrays import Ints
from streamdocs.graph.edition import Edition


class Spread(NamedTuple):
    """Of some whole numbers the least, the median, the one that nine tenths do not exceed, the most, and the mean."""

    least: int
    median: int
    p90: int
    most: int
    mean: float

    @classmethod
    def of(cls, numbers: Ints) -> "Spread":
        """Of none of them all zeros."""
        if not len(numbers):
            return cls(0, 0, 0, 0, 0.0)
        least, median, p90, most = np.quantile(numbers, [0, 0.5, 0.9, 1], method="inverted_cdf").tolist()
        return cls(least, median, p90, most, float(numbers.mean()))


class Node(NamedTuple):
    """A node: its name, how many documents have it, and its degree, how many edges."""

    name: str
    documents: int
    degree: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """An edition in figures.

    Args:
        documents: That have any node.
        topics: Nodes.
        concepts: The same of key concepts.
        edges: Between two topics, between a topic and a key concept, and between two key concepts; one for each
            document that has both.
        nodes_of_document: How many nodes documents have.
        documents_of_topic: How many documents have a topic.
        documents_of_concept: The same of a key concept.
        degree_of_topic: How many edges topics have.
        degree_of_concept: The same of key concepts.
        largest: The topics that most documents have, these first; of such as are as large, in the order of nodes.
    """

    documents: int
    topics: int
    concepts: int
    edges: tuple[int, int, int]
    nodes_of_document: Spread
    documents_of_topic: Spread
    documents_of_concept: Spread
    degree_of_topic: Spread
    degree_of_concept: Spread
    largest: tuple[Node, ...]


def summarise(edition: Edition, largest: int = 10) -> Summary:
    """The figures of an edition, with so many of its topics."""
    topics, sizes = len(edition.topics), edition.nodes.sizes
    holders = np.bincount(edition.nodes.columns, minlength=len(edition.names))
    degree = degrees(edition)
    first = np.argsort(-holders[:topics], kind="stable")[:largest].tolist()
    of_topics, of_concepts = edition.topics_of_each, sizes - edition.topics_of_each
    return Summary(
        documents=len(edition.documents),
        topics=topics,
        concepts=len(edition.concepts),
        edges=(_pairs(of_topics), int(of_topics @ of_concepts), _pairs(of_concepts)),
        nodes_of_document=Spread.of(sizes),
        documents_of_topic=Spread.of(holders[:topics]),
        documents_of_concept=Spread.of(holders[topics:]),
        degree_of_topic=Spread.of(degree[:topics]),
        degree_of_concept=Spread.of(degree[topics:]),
        largest=tuple(Node(edition.topics[node], int(holders[node]), int(degree[node])) for node in first),
    )


def degrees(edition: Edition) -> Ints:
    """int64 (nodes,), how many edges each node has."""
    sizes = edition.nodes.sizes
    others = np.repeat(sizes - 1, sizes).astype(np.float64)
    return np.bincount(edition.nodes.columns, others, len(edition.names)).astype(np.int64)


def _pairs(sizes: Ints) -> int:
    return int((sizes * (sizes - 1) // 2).sum())
