"""The pages of rejected texts, and of a search."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import htpy as h

from streamdocs.generations.rejected import MOST_TEXTS, RejectedText
from streamdocs.view.pages.frame import choice, count, figures, link, passage, shown, table
from streamdocs.view.searching import MOST_CHARS, PLACES, Hit, Search


class Refused(NamedTuple):
    """A rejected text, whose it may be, and what it was written about."""

    text: RejectedText
    writers: Sequence[str]
    source: str


def rejected(
    stream: str, streams: Sequence[str], cause: str | None, counts: Mapping[str, int] | None, texts: Sequence[Refused]
) -> list[h.Node]:
    """The page of rejected texts.

    Args:
        stream, streams: Whose they are, and of which that is one.
        cause: Those of this alone; None for all.
        counts: How many were rejected so far, by cause; None where they are being counted.
        texts: A sample of them.
    """
    rows = [
        (link("/rejected", each, stream=stream, cause=each), f"{n:,}")
        for each, n in sorted((counts or {}).items(), key=lambda each: -each[1])
    ]
    columns = ("Cause", "Generations")
    return [
        h.form(".jump", action="/rejected", method="get")[
            choice("Stream", "stream", streams, stream),
            h.label[
                "Cause",
                h.select(name="cause")[
                    h.option(value="", selected=cause is None)["any"],
                    [h.option(value=each, selected=each == cause)[each] for each in _causes(counts, texts)],
                ],
            ],
            h.button["Show"],
        ],
        table(f"rejected so far of {stream}", columns, rows, columns[1:]) if rows else None,
        h.p["How many were rejected is being counted."] if counts is None else None,
        h.p["Nothing was rejected."] if not (rows or texts) and counts is not None else None,
        h.p(".note")[f"The newest {MOST_TEXTS} texts of each cause are kept, by their beginnings."],
        [_refused(number, stream, each) for number, each in enumerate(texts, 1)],
    ]


def _causes(counts: Mapping[str, int] | None, texts: Sequence[Refused]) -> list[str]:
    return sorted({*(counts or ()), *(each.text.cause for each in texts)})


def _refused(number: int, stream: str, each: Refused) -> h.Element:
    text = each.text
    to = {"number": text.document, "stream": stream, "round": text.round}
    return h.article[
        h.h2[f"Document {text.document}, round {text.round} ", h.span(".verdict.refused")[f"✗ {text.cause}"]],
        figures({"Writer": ", ".join(each.writers), "Document": link("/document", f"{text.document:,}", **to)}),
        h.div(".beside")[
            h.div[h.h3["Text"], passage(f"rejected text {number}", text.text)],
            h.div[h.h3["Source"], passage(f"source of text {number}", each.source)],
        ],
    ]


def search(text: str, where: str, streams: Sequence[str], stream: str, found: Search | None) -> list[h.Node]:
    """The page of a search.

    Args:
        text, where, stream: What was looked for, in what, of which of ``streams``.
        found: What was found; None before anything was looked for.
    """
    form = h.form(".jump", action="/search", method="get", role="search")[
        h.label["Text", h.input(type="search", name="text", value=text, maxlength=MOST_CHARS, required=True)],
        choice("In", "where", PLACES, where),
        choice("Stream", "stream", streams, stream),
        h.button["Search"],
    ]
    if found is None:
        return [form]
    unit = {"generations": "documents × rounds", "documents": "documents", "rejected": "texts"}[where]
    of = "" if found.of is None or found.onward is None else f" of {found.of:,}"
    query = {"text": text, "where": where, "stream": stream, "start": found.onward}
    on = f"The first {found.looked:,} {unit} were looked at, so there may be more. "
    return [
        form,
        h.p(role="status")[f"{count(len(found.hits), 'text')} on this page; {found.looked:,}{of} {unit} looked at."],
        [_hit(found.stream, each) for each in found.hits],
        h.p[on, link("/search", "Look further", **query)] if found.onward is not None else None,
    ]


def _hit(stream: str, hit: Hit) -> h.Element:
    to = {"number": hit.document, "stream": stream}
    if hit.number is not None:
        title = link(
            "/generation",
            f"Document {hit.document}, round {hit.round}, generation {hit.number}",
            **{**to, "round": hit.round, "which": hit.number},
        )
    else:
        title = link("/document", f"Document {hit.document}" + (f", round {hit.round}" if hit.cause else ""), **to)
    return h.article[
        h.h2[title, " ", h.span(".verdict.refused")[f"✗ {hit.cause}"] if hit.cause else None],
        h.p(".text", dir="auto")[shown(hit.before), h.mark[shown(hit.found)], shown(hit.after)],
    ]
