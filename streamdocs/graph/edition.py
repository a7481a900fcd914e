"""An edition: the graph of the documents that had concepts by some moment, as it stays for good."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np

from streamdocs._base.arrays import Int32s, Ints
from streamdocs._base.hashing import canonical, digest128
from streamdocs.graph.rows import Rows, ranges


class Kind(IntEnum):
    """What a node is. A topic and a concept of one name are two nodes."""

    TOPIC = 0
    CONCEPT = 1


@dataclass(frozen=True, eq=False)
class Edition:
    """A graph of topics and key concepts, which are joined by as many edges as documents have both.

    Nodes are numbers, topics first, each kind in the order of names as they are compared. Edges are nowhere written
    out: those of a node lead to the other nodes of its documents. ``build_edition`` makes one.

    Args:
        topics: Names, as they are mostly spelled.
        concepts: The same of key concepts.
        documents: int32 (documents,), ascending: numbers of the documents that have any node. Elsewhere they are
            known by their place here.
        nodes: The nodes of each document.
    """

    topics: tuple[str, ...]
    concepts: tuple[str, ...]
    documents: Int32s
    nodes: Rows

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of each node."""
        return self.topics + self.concepts

    @cached_property
    def holders(self) -> Rows:
        """The places of the documents that have each node. Made when first asked for: as large as ``nodes``."""
        return self.nodes.transposed(len(self.names))

    @cached_property
    def topics_of_each(self) -> Ints:
        """int64 (documents,), how many topics each document has: its first nodes."""
        counted = np.concatenate([[0], np.cumsum(self.nodes.columns < len(self.topics))])
        return np.diff(counted[self.nodes.starts])

    @cached_property
    def spans(self) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
        """By kind, int64 (documents,): where in ``nodes.columns`` the nodes of that kind begin, and where they end."""
        begins, ends = self.nodes.starts[:-1], self.nodes.starts[1:]
        between = begins + self.topics_of_each
        return (begins, between), (between, ends)

    @cached_property
    def longest(self) -> tuple[int, int]:
        """By kind, the most nodes that a document has."""
        topics, concepts = (int((ends - begins).max(initial=0)) for begins, ends in self.spans)
        return topics, concepts

    @cached_property
    def digest(self) -> bytes:
        """xxh3-128 of all that it consists of."""
        arrays = (self.documents.astype("<i4"), self.nodes.starts.astype("<i8"), self.nodes.columns.astype("<i4"))
        return digest128(canonical([self.topics, self.concepts, [digest128(array.data) for array in arrays]]))

    def kind(self, node: int) -> Kind:
        """Whether a node is a topic or a key concept."""
        return Kind.TOPIC if node < len(self.topics) else Kind.CONCEPT

    def ends(self, node: int, kind: Kind) -> Int32s:
        """int32 (edges,): where each edge of a node to nodes of a kind leads, and itself if it is of that kind."""
        places = self.holders.row(node)
        begins, ends = self.spans[kind]
        return self.nodes.columns[ranges(begins[places], ends[places])]

    def neighbours(self, node: int) -> tuple[Int32s, Ints]:
        """The nodes that a node has edges with, ascending, and int64: how many with each."""
        found, edges = np.unique(np.concatenate([self.ends(node, kind) for kind in Kind]), return_counts=True)
        others = found != node
        return found[others], edges[others]
