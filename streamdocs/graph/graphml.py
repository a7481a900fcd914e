"""Editions as GraphML, which Gephi, Cytoscape, yEd, networkx and igraph read."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

import numpy as np

from streamdocs.graph.edition import Edition

_FIELDS = {"name": "node", "kind": "node", "documents": "node", "weight": "edge"}
_NUMBERS = ("documents", "weight")
# What may not be in XML, not even escaped.
_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_graphml(edition: Edition, file: IO[bytes], most: int | None = None) -> None:
    """Write nodes (name, kind, documents) and between every two of them that have edges one, with how many as weight.

    Takes time in proportion to all the edges, and hardly any memory.

    Args:
        edition: The graph.
        file: Where to.
        most: Only so many nodes, those that most documents have; None for all.
    """
    documents = edition.holders.sizes
    chosen = np.zeros(len(documents), bool)
    chosen[np.argsort(-documents, kind="stable")[:most]] = True
    xml = _Xml(file, "utf-8", short_empty_elements=True)
    xml.startDocument()
    with xml.element("graphml", xmlns="http://graphml.graphdrawing.org/xmlns"):
        for name, of in _FIELDS.items():
            attributes = {"for": of, "attr.name": name, "attr.type": "long" if name in _NUMBERS else "string"}
            with xml.element("key", id=name, **attributes):
                pass
        with xml.element("graph", edgedefault="undirected"):
            for node in np.flatnonzero(chosen).tolist():
                with xml.element("node", id=f"n{node}"):
                    xml.data("name", edition.names[node])
                    xml.data("kind", edition.kind(node).name.lower())
                    xml.data("documents", str(documents[node]))
            for node in np.flatnonzero(chosen).tolist():
                others, weights = edition.neighbours(node)
                wanted = chosen[others] & (others > node)
                for other, weight in zip(others[wanted].tolist(), weights[wanted].tolist(), strict=True):
                    with xml.element("edge", source=f"n{node}", target=f"n{other}"):
                        xml.data("weight", str(weight))
    xml.endDocument()


class _Xml(XMLGenerator):
    @contextmanager
    def element(self, name: str, **attributes: str) -> Iterator[None]:
        self.startElement(name, AttributesImpl(attributes))
        yield
        self.endElement(name)

    def data(self, key: str, value: str) -> None:
        with self.element("data", key=key):
            self.characters(_UNSPEAKABLE.sub("\ufffd", value))
