"""From the concepts of documents to an edition."""

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain, count
from typing import TypeAlias

import numpy as np

from streamdocs._base.arrays import Ints
from streamdocs.errors import ConfigError
from streamdocs.graph.edition import Edition
from streamdocs.graph.names import normalised
from streamdocs.graph.rows import Rows

#: Of one document, the name of each topic and those of its key concepts.
Topics: TypeAlias = Iterable[tuple[str, Iterable[str]]]


def build_edition(
    documents: Ints, concepts: Iterable[Topics | None], *, min_documents: int, max_share: Fraction
) -> Edition:
    """The graph of some documents. The order in which they come makes no difference.

    Args:
        documents: int64 (documents,), their numbers, each once.
        concepts: The topics of each, with their key concepts; None where a document has none. Read once, as they come.
        min_documents: Names that fewer documents have are no nodes.
        max_share: Names that more than this part of ``documents`` have are no nodes either.

    Raises:
        ConfigError: The limits leave nothing by themselves.
        ValueError: A document comes twice, or has no entry in ``concepts``.
    """
    if min_documents < 1 or not 0 < max_share <= 1:
        raise ConfigError(f"min_documents={min_documents} and max_share={max_share}: at least 1, and above 0 up to 1")
    order = np.argsort(documents, kind="stable")
    if (np.diff(documents[order]) == 0).any():
        raise ValueError("a document comes twice")
    found = _Found(), _Found()
    for _, topics in zip(documents, concepts, strict=True):
        pairs = [*topics] if topics else []
        found[0].add(name for name, _ in pairs)
        found[1].add(chain.from_iterable(names for _, names in pairs))
    places = np.empty(len(documents), np.int64)
    places[order] = np.arange(len(documents))
    limits = min_documents, math.floor(max_share * len(documents))
    (topic_names, *of_topics), (concept_names, *of_concepts) = (each.nodes(places, *limits) for each in found)
    of_concepts[1] += len(topic_names)
    columns = len(topic_names) + len(concept_names)
    holders, nodes = (np.concatenate(each) for each in zip(of_topics, of_concepts, strict=True))
    rows = Rows.of(holders * columns + nodes, len(documents), columns)
    any_node = rows.sizes > 0
    starts = np.concatenate([[0], rows.starts[1:][any_node]])
    return Edition(topic_names, concept_names, documents[order][any_node].astype(np.int32), Rows(starts, rows.columns))


class _Found:
    """Names of one kind as documents spell them: each spelling once, and a number for each time that it is there."""

    def __init__(self) -> None:
        self._spellings = defaultdict[str, int](count().__next__)
        self._said = array("i")
        self._ends = array("q", [0])

    def add(self, names: Iterable[str]) -> None:
        """The names of the next document."""
        self._said.extend(map(self._spellings.__getitem__, names))
        self._ends.append(len(self._said))

    def nodes(self, places: Ints, least: int, most: int) -> tuple[tuple[str, ...], Ints, Ints]:
        """The names that so many documents have, in order, and int64: each place of a document with a node of it.

        Args:
            places: int64 (documents,), where the documents come, in the order in which they were added.
            least: Fewest documents of a name.
            most: Most documents of a name.
        """
        said = np.frombuffer(self._said, np.int32)
        forms = defaultdict[str, int](count().__next__)
        form_of = np.fromiter((forms[normalised(each)] for each in self._spellings), np.int64, len(self._spellings))
        document_of = np.repeat(places, np.diff(np.frombuffer(self._ends, np.int64)))
        holders, form = _each_once(document_of, form_of[said], len(forms))
        documents = np.bincount(form, minlength=len(forms))
        kept = (least <= documents) & (documents <= most)
        names = sorted(name for name, number in forms.items() if name and kept[number])
        node_of = np.full(len(forms), -1)
        node_of[[forms[name] for name in names]] = np.arange(len(names))
        nodes = node_of[form]
        shown = self._shown(node_of[form_of], np.bincount(said, minlength=len(form_of)), len(names))
        return shown, holders[nodes >= 0], nodes[nodes >= 0]

    def _shown(self, nodes: Ints, times: Ints, names: int) -> tuple[str, ...]:
        """How each node is spelled most often, the first by alphabet of those that are as frequent."""
        best: list[tuple[int, str]] = [(1, "")] * names
        for spelling, node, said in zip(self._spellings, nodes.tolist(), times.tolist(), strict=True):
            if node >= 0:
                best[node] = min(best[node], (-said, spelling))
        # What is half a character comes from escapes in JSON, and cannot be written down.
        return tuple(spelling.encode(errors="replace").decode() for _, spelling in best)


def _each_once(first: Ints, second: Ints, most: int) -> tuple[Ints, Ints]:
    """Pairs of numbers, in order and each once; the second ones are below ``most``."""
    if not most:
        return first, second
    pairs = first * most
    pairs += second
    return np.divmod(np.unique(pairs), most)
