"""What a text is about: documents, and walks through a graph."""

from collections.abc import Mapping

import htpy as h

from streamdocs.graph.walks import told
from streamdocs.reading.assembly import WalkSegment
from streamdocs.view.pages.frame import link, passage, shown


def sources(
    found: Mapping[int, str],
    stream: str,
    of: str = "",
    walk: WalkSegment | None = None,
    marked: tuple[int, int] | None = None,
    heading: h.Element = h.h3,
) -> list[h.Node]:
    """Documents that a text is about.

    Args:
        found: Their texts, by their numbers.
        stream: Whose.
        of: What they are the source of, where a page has several such texts.
        walk: That is about them; None for none.
        marked: From where to where the one of them is the text; None where it is not.
        heading: Of the level that comes here.
    """
    title = "Source" if len(found) == 1 and not walk else "Documents of its walk" if walk else "Documents of its walks"
    label = f"source of {of}, document" if of else "source, document"
    return [
        heading[title],
        [
            [
                h.p(".note")[link("/document", f"Document {number:,}", number=number, stream=stream)],
                passage(f"{label} {number}", text, marked),
            ]
            for number, text in found.items()
        ],
    ]


def walk_of(walk: WalkSegment | None, stream: str) -> h.Node:
    """A walk in words, and where it is shown; None for none."""
    if walk is None:
        return None
    to = {"stream": stream, "edition": walk.edition, "walk": walk.number}
    where = link("/graph", f"walk {walk.number} of edition {walk.edition}", **to)
    return [where, f": {shown(told(walk.topics, walk.concepts))}"]
