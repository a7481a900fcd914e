"""The pages of rejected texts, and of a search."""

from collections.abc import Mapping, Sequence

import htpy as h

from streamdocs.generations.rejected import MOST_TEXTS
from streamdocs.view.documents import Refused, Sample
from streamdocs.view.pages.frame import choice, count, figures, link, passage, shown, table
from streamdocs.view.pages.sources import sources
from streamdocs.view.searching import MOST_CHARS, MOST_FOUND, PLACES, Hit, Search


def rejected(
    found: Sample, streams: Sequence[str], cause: str | None, counts: Mapping[str, int] | None
) -> list[h.Node]:
    """The page of rejected texts.

    Args:
        found: A sample of them.
        streams: Of which they are one's.
        cause: Those of this alone; None for all.
        counts: How many were rejected so far, by cause; None where they are being counted.
    """
    rows = [
        (link("/rejected", each, stream=found.stream, cause=each), f"{n:,}")
        for each, n in sorted((counts or {}).items(), key=lambda each: -each[1])
    ]
    columns = ("Cause", "Generations")
    causes, last = sorted({*(counts or ()), *found.causes}), found.start + len(found.texts)
    further = link("/rejected", "Further texts", stream=found.stream, cause=cause, start=last)
    return [
        h.form(".jump", action="/rejected", method="get")[
            choice("Stream", "stream", streams, found.stream),
            h.label[
                "Cause",
                h.select(name="cause")[
                    h.option(value="", selected=cause is None)["any"],
                    [h.option(value=each, selected=each == cause)[each] for each in causes],
                ],
            ],
            h.button["Show"],
        ],
        table(f"generations of {found.stream} that were given up", columns, rows, columns[1:]) if rows else None,
        h.p["How many were rejected is being counted."] if counts is None else None,
        h.p["Nothing was rejected."] if not (rows or found.kept) and counts is not None else None,
        h.p(".note")[
            f"Of each cause the newest {MOST_TEXTS} texts are kept, by their beginnings. These are of every attempt: a "
            "generation that was asked for again may be here more than once, and be accepted by now."
        ],
        h.p[f"Texts {found.start + 1:,} to {last:,} of {found.kept:,}"] if found.texts else None,
        [_refused(number, found.stream, each) for number, each in enumerate(found.texts, found.start + 1)],
        h.p[further] if last < found.kept else None,
    ]


def _refused(number: int, stream: str, each: Refused) -> h.Element:
    text = each.text
    to = {"number": text.document, "stream": stream, "round": text.round}
    same = f"{each.alike:,} of the texts that are kept, of one attempt each" if each.alike > 1 else None
    return h.article[
        h.h2[f"Document {text.document}, round {text.round} ", h.span(".verdict.refused")[f"✗ {text.cause}"]],
        figures(
            {
                "Writer": ", ".join(each.writers),
                "Document": link("/document", f"{text.document:,}", **to),
                "Of the same round of it": same,
            }
        ),
        h.div(".beside")[
            h.div[h.h3["Text"], passage(f"rejected text {number}", text.text)],
            h.div[sources(each.sources, stream, f"text {number}")],
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
        h.p("#looked", role="status")[
            h.span("#hits")[count(len(found.hits), "text")], f" on this page; {found.looked:,}{of} {unit} looked at."
        ],
        h.div("#found", data_most=MOST_FOUND)[[_hit(found.stream, each) for each in found.hits]],
        h.p("#onward")[on, link("/search", "Look further", **query)] if found.onward is not None else None,
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
