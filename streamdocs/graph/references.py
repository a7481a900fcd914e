"""Which documents are nearest to a few nodes."""

from collections.abc import Sequence

import numpy as np

from streamdocs.graph.edition import Edition

#: Documents that a walk refers to (SynthLLM, arXiv 2503.19551, section 2.3).
REFERENCES = 2


def nearest(edition: Edition, nodes: Sequence[int], most: int = REFERENCES) -> list[int]:
    """The documents whose own nodes have the highest Jaccard similarity with some nodes, nearest first.

    Args:
        edition: The graph.
        nodes: Each once.
        most: Documents wanted; fewer where fewer have any of the nodes.

    Returns:
        Their numbers; of documents that are as near, the lower one comes first.
    """
    # Two different fractions with terms below 2**26 are different floats, and two equal ones the same float.
    places, shared = np.unique(np.concatenate([edition.holders.row(node) for node in nodes]), return_counts=True)
    similarity = shared / (len(nodes) + edition.nodes.sizes[places] - shared)
    found = []
    for _ in range(min(most, len(places))):
        at = int(similarity.argmax())  # the first of several
        found.append(int(edition.documents[places[at]]))
        similarity[at] = -1
    return found
