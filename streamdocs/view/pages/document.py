"""The pages of a document with its generations, and of how one of these came to be."""

from collections.abc import Sequence

import htpy as h

from streamdocs.generations.steps.replay import MOST_ASKED, Asked
from streamdocs.view.documents import Document, Generated, Told
from streamdocs.view.pages.frame import choice, count, figures, link, passage, whole
from streamdocs.view.pages.sources import sources, walk_of


def document(found: Document, streams: Sequence[str], *, whole_store: bool) -> list[h.Node]:
    """The page of a document.

    Args:
        found: What is shown.
        streams: Names of all streams.
        whole_store: Whether generations are kept where this looks.
    """
    nothing = "Nothing is written of it yet." if whole_store else "An exported ledger has no texts of generations."
    older = found.older is not None and link(
        "/document", "Older rounds", number=found.number, stream=found.stream, round=found.older
    )
    missing = f"Not here (retired, not written yet, or damaged): rounds {', '.join(map(str, found.missing))}."
    return [
        jump(found.number, found.stream, streams, found.documents),
        figures({"Stream": found.stream, "Digest": h.code[found.digest], "Tokens": f"{found.tokens:,}"}),
        h.div(".beside")[
            h.section(".source", aria_labelledby="source")[h.h2("#source")["Source"], passage("source", found.text)],
            h.section(aria_labelledby="generations")[
                h.h2("#generations")["Generations"],
                [_told(found, each) for each in found.generations] or h.p[nothing],
                h.p(".note")[missing] if found.missing and whole_store else None,
                h.p[older] if older else None,
            ],
        ],
    ]


def jump(number: int | None, stream: str, streams: Sequence[str], documents: int) -> h.Element:
    """Where to go to a document."""
    return h.form(".jump", action="/document", method="get")[
        link("/document", "← Previous", number=number - 1, stream=stream) if number else None,
        whole(f"Document, 0 to {documents - 1:,}", "number", number, documents - 1),
        choice("Stream", "stream", streams, stream),
        h.button["Show"],
        link("/document", "Next →", number=number + 1, stream=stream)
        if number is not None and number < documents - 1
        else None,
    ]


def verdict(told: Told) -> h.Element:
    """What gates made of a generation."""
    if told.cause is None:
        return h.span(".verdict.accepted")["✓ accepted"]
    return h.span(".verdict.refused")[f"✗ rejected: {told.cause}"]


def _told(found: Document, told: Told) -> h.Element:
    title = f"Round {told.round}, generation {told.number}"
    to = {"number": found.number, "stream": found.stream, "round": told.round, "which": told.number}
    about = None if told.about is None else f"document {told.about}, in this one's place"
    return h.article[
        h.h3[title, " ", verdict(told)],
        figures(
            {
                "Style": told.author.style,
                "Writer": told.author.writer,
                "Key": h.code[told.key],
                "About": about,
                "Walk": walk_of(told.walk, found.stream),
                "How": link("/generation", "how it came to be", **to),
            }
        ),
        passage(title, told.text) if told.text is not None else h.p(".note")["No text of it is kept here."],
    ]


def generation(found: Generated) -> list[h.Node]:
    """The page of a generation."""
    told, to = found.told, {"number": found.document, "stream": found.stream}
    story = found.story
    more = f"Only the first {MOST_ASKED} questions are shown, or those of which the store has the answers."
    return [
        h.p[verdict(told)],
        figures(
            {
                "Document": link("/document", f"{found.document:,}", **to),
                "Stream": found.stream,
                "Round": f"{told.round}, generation {told.number}, slot {found.slot}",
                "Style": told.author.style,
                "Writer": told.author.writer,
                "Key": h.code[told.key],
                "Seed": str(found.seed),
                "Asked": count(told.attempts, "time"),
                "Cut": f"{told.cut:,} characters of the document, for the model's context" if told.cut else None,
                "Walk": walk_of(told.walk, found.stream),
            }
        ),
        h.div(".beside")[
            h.section[sources(found.sources, found.stream, walk=told.walk, heading=h.h2)],
            h.section(aria_labelledby="text")[
                h.h2("#text")["Text"],
                h.p(".note")["It was rejected, and is not kept here."]
                if told.text is None
                else passage("text", told.text),
            ],
        ],
        h.section[
            h.h2["Step by step"],
            h.ol(".steps")[[_asked(number, each) for number, each in enumerate(story.asked, 1)]],
            None if story.whole else h.p(".note")[more],
        ],
    ]


def _asked(number: int, asked: Asked) -> h.Element:
    name = f"step {number}, {asked.step}"
    return h.li[
        h.h3[f"{asked.step} ", h.small[f"asked of {asked.writer}"]],
        figures({"Key": h.code[asked.key], "Asked": count(asked.attempts, "time")}),
        h.div(".beside")[
            h.div[
                [h.h4["System"], passage(f"system prompt of {name}", asked.system)] if asked.system else None,
                h.h4["Prompt"],
                passage(f"prompt of {name}", asked.prompt),
            ],
            h.div[
                h.h4["Answer"],
                [passage(f"answer to {name}", each) for each in asked.answers],
                [h.p[h.span(".verdict.refused")[f"✗ rejected: {cause}"]] for cause in asked.causes],
                None if asked.answers or asked.causes else h.p(".note")["The store does not have it."],
            ],
        ],
    ]
