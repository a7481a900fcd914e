"""Walks through an edition, as numbered things: any of them can be told from its number alone."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from streamdocs._base.arrays import Ints
from streamdocs._base.caching import remember
from streamdocs._base.hashing import permutation, seeded_numbers
from streamdocs.graph.edition import Edition, Kind
from streamdocs.graph.references import nearest

#: Fewest and most steps that lead to topics, and to key concepts: one, and three or four from there.
STEPS = {Kind.TOPIC: (1, 2), Kind.CONCEPT: (4, 5)}
# How often an edge is drawn before all edges are looked at.
_TRIES = 64
# Random numbers that are made at once.
_NUMBERS = 64


@dataclass(frozen=True)
class Walk:
    """What a question is about.

    Args:
        topics: Names, in the order of the walk.
        concepts: The same of key concepts, to which it went then.
        documents: Numbers of the documents that are nearest to all these, the nearest first; two, if there are two.
    """

    topics: tuple[str, ...]
    concepts: tuple[str, ...]
    documents: tuple[int, ...]


def told(topics: Sequence[str], concepts: Sequence[str]) -> str:
    """A walk in words, by the names on its way."""
    return f"topics {' → '.join(topics)}; key concepts {' → '.join(concepts) or 'none'}"


class Walks:
    """All walks of an edition, 0, 1, 2, … without end.

    Args:
        edition: The graph.
        seed: Another one makes other walks of the same graph.

    Raises:
        ValueError: It has no topics, so there is no walk.
    """

    def __init__(self, edition: Edition, seed: int) -> None:
        if not edition.topics:
            raise ValueError("a graph without topics has no walks")
        self.edition = edition
        self._seed = (edition.digest.hex(), seed)
        self._starts = remember(self._order, 4)

    def walk(self, number: int) -> Walk:
        """A walk with its documents."""
        nodes = self.nodes(number)
        topics = sum(node < len(self.edition.topics) for node in nodes)
        names = tuple(self.edition.names[node] for node in nodes)
        return Walk(names[:topics], names[topics:], tuple(nearest(self.edition, nodes)))

    def nodes(self, number: int) -> list[int]:
        """The nodes of a walk, each once: topics first, from there to key concepts.

        The walks of an epoch, as many as there are topics, begin at each topic once. The number of steps is drawn, all
        being as likely; where no edge leads to a node that it has not been at, that kind of step ends.
        """
        epoch, place = divmod(number, len(self.edition.topics))
        nodes = [int(self._starts(epoch)[place])]
        draw = Draws(*self._seed, number)
        for kind, (fewest, most) in STEPS.items():
            for _ in range(fewest + draw.below(most - fewest + 1)):
                if (node := step(self.edition, nodes[-1], kind, nodes, draw)) is None:
                    break
                nodes.append(node)
        return nodes

    def _order(self, epoch: int) -> Ints:
        return permutation(len(self.edition.topics), "starts", *self._seed, epoch)


class Draws:
    """Random numbers, a pure function of a seed and of how many were drawn before."""

    def __init__(self, *seed: int | str) -> None:
        self._numbers = _numbers(*seed)

    def below(self, limit: int) -> int:
        """A number from 0 to ``limit`` - 1, all being as likely but for some ``limit`` / 2**64."""
        return next(self._numbers) * limit >> 64


def step(edition: Edition, node: int, kind: Kind, visited: Collection[int], draw: Draws) -> int | None:
    """Where one of the edges leads that go from a node to nodes of a kind that are not among ``visited``.

    Every such edge is as likely as every other, so a node is as likely as it has documents in common with this one. For
    that, nothing is added up: an entry of the table whose rows are the node's documents, each with its nodes of the
    kind, all rows as long as the longest of any document, is drawn until it holds a node that is not visited. All
    entries are as likely in each try, and whether a try succeeds depends on the entry alone; so those that may be
    taken are as likely among themselves whichever try it is. Where it takes too many, one of them is drawn directly,
    which is the same draw.

    Args:
        edition: The graph.
        node: Where the step begins; one of ``visited``, as no edge leads from a node to itself.
        kind: Of the node that it leads to.
        visited: Nodes that it must not lead to.
        draw: What decides.

    Returns:
        The node; None where no edge leads to one.
    """
    places, columns = edition.holders.row(node), edition.nodes.columns
    begins, ends = edition.spans[kind]
    longest = edition.longest[kind]
    for _ in range(_TRIES if longest else 0):
        document, entry = divmod(draw.below(len(places) * longest), longest)
        place = places[document]
        at = begins[place] + entry
        if at < ends[place] and (found := int(columns[at])) not in visited:
            return found
    left = edition.ends(node, kind)
    left = left[~np.isin(left, list(visited))]
    return int(left[draw.below(len(left))]) if len(left) else None


def _numbers(*seed: int | str) -> Iterator[int]:
    for start in count(step=_NUMBERS):
        yield from seeded_numbers(np.arange(start, start + _NUMBERS), *seed).tolist()
