"""Graphs for tests, and what they have to be by plain counting."""

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations

import numpy as np
from hypothesis import strategies as st

from streamdocs.graph.build import build_edition
from streamdocs.graph.edition import Edition, Kind
from streamdocs.graph.names import normalised

Topics = Sequence[tuple[str, Sequence[str]]]
#: A node by what it is: its kind, and its name as it is compared.
Node = tuple[Kind, str]

NUMBERS = range(1, 301)
TOPICS, CONCEPTS = (1, 2, 3, 4, 5), (2, 3, 5, 7, 11, 13, 149, 151)


def concepts_of(number: int) -> Topics:
    """Document n has the topics "Multiple of k" and the key concepts "Multiple of p" of its divisors k and p.

    So 300 // lcm(a, b) documents have both a and b. Those of every third ten write "multiples".
    """
    spelled = "Multiple of {}" if number // 10 % 3 else "MULTIPLES of {}"
    held = [spelled.format(p) for p in CONCEPTS if number % p == 0]
    return [(spelled.format(k), held) for k in TOPICS if number % k == 0]


def numbers_edition(max_share: Fraction = Fraction(1)) -> Edition:
    """The graph of 300 documents that have the concepts of their numbers; 151 is in one document only."""
    found = map(concepts_of, NUMBERS)
    return build_edition(np.array(NUMBERS), found, min_documents=2, max_share=max_share)


def number_of(edition: Edition, node: int) -> int:
    """Of which number a node of ``numbers_edition`` is."""
    return int(edition.names[node].rpartition(" ")[2])


def nodes_of(topics: Topics | None) -> set[Node]:
    """What a document names."""
    pairs = topics or ()
    named = [(Kind.TOPIC, name) for name, _ in pairs] + [(Kind.CONCEPT, name) for _, names in pairs for name in names]
    return {(kind, normalised(name)) for kind, name in named if normalised(name)}


def counted(found: Sequence[Topics | None], min_documents: int, max_share: Fraction) -> list[set[Node]]:
    """The nodes of each document, without those that too few or too many documents have."""
    nodes = [*map(nodes_of, found)]
    frequency = Counter(node for held in nodes for node in held)
    kept = {node for node, times in frequency.items() if min_documents <= times <= max_share * len(found)}
    return [held & kept for held in nodes]


def weights(held: Sequence[set[Node]]) -> Counter[tuple[Node, Node]]:
    """How many documents have both of every two nodes."""
    return Counter(pair for nodes in held for pair in permutations(nodes, 2))


def node_names(edition: Edition) -> list[Node]:
    """What each node of an edition is."""
    return [(edition.kind(node), normalised(name)) for node, name in enumerate(edition.names)]


def lcm_weight(a: int, b: int) -> int:
    """How many documents of ``numbers_edition`` have both."""
    return len(NUMBERS) // math.lcm(a, b)


_names = st.sampled_from(
    ["Cell", "cells", "CELL ", "gene", "Genes", "gene-expression", "bus", "buses", "C++", "c", "DNA", "...", "", "café"]
)
_topics = st.lists(st.tuples(_names, st.lists(_names, max_size=4)), max_size=3)
#: Concepts of some documents, None of those that have none.
found_concepts = st.lists(st.none() | _topics, max_size=12)
