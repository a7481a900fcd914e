"""The page of a position: its tokens, coloured by where they come from."""

import htpy as h

from streamdocs.reading.assembly import Segment
from streamdocs.view.inspector import MOST_TOKENS, Shown, Stretch
from streamdocs.view.pages.frame import address, figures, link, shown, table, whole
from streamdocs.view.pages.sources import sources, walk_of

_KINDS = {"web": "web text", "rephrase": "rephrase", "thought": "thought", "mark": "mark between parts"}


def position(found: Shown, *, tokens: bool) -> list[h.Node]:
    """The page.

    Args:
        found: What is shown.
        tokens: Whether each token is.
    """
    return [
        jump(found.position, found.last, tokens=tokens),
        figures(
            {
                "Stream": f"{found.stream}, filled with web text" if found.filler else found.stream,
                "Window": f"{found.window:,}, place {found.place:,}",
                "Tokens": _part(found),
            }
        ),
        h.div(".beside")[
            h.section(aria_labelledby="sequence")[
                h.h2("#sequence")["Tokens"], _legend(found), _text(found, tokens=tokens), _more(found, tokens=tokens)
            ],
            _chosen(found, found.chosen) if found.chosen else None,
        ],
        h.section[h.h2["Account"], _account(found, tokens=tokens)],
    ]


def jump(at: int | None, last: int, *, tokens: bool = False) -> h.Element:
    """Where to go from a position, or to one."""
    return h.form(".jump", action="/position", method="get")[
        link("/position", "← Previous", at=at - 1, tokens=int(tokens) or None) if at else None,
        whole(f"Position, 0 to {last:,}", "at", at, last),
        h.label(".tick-box")[h.input(type="checkbox", name="tokens", value="1", checked=tokens), "each token"],
        h.button["Show"],
        link("/position", "Next →", at=at + 1, tokens=int(tokens) or None) if at is not None and at < last else None,
    ]


def _part(found: Shown) -> str:
    if found.length <= MOST_TOKENS:
        return f"{found.length:,}"
    return f"{found.start:,} to {min(found.start + MOST_TOKENS, found.length):,} of {found.length:,}"


def _legend(found: Shown) -> h.Element:
    kinds = dict.fromkeys(each.segment.kind for each in found.stretches)
    return h.ul(".kinds")[[h.li[h.span(class_=f"swatch kind-{kind}"), _KINDS.get(kind, kind)] for kind in kinds]]


def _text(found: Shown, *, tokens: bool) -> h.Element:
    return h.div(".text.sequence", tabindex="0", role="region", aria_label="tokens of the sequence", dir="auto")[
        [_stretch(found, each, tokens=tokens) for each in found.stretches]
    ]


def _stretch(found: Shown, each: Stretch, *, tokens: bool) -> h.Element:
    is_chosen = found.chosen is not None and each.number == found.chosen.number
    classes = {f"kind-{each.segment.kind}": True, "chosen": is_chosen, "gone": each.text is None}
    if each.text is None:
        inside: h.Node = f"[{each.segment.stop - each.segment.start:,} tokens that are not here]"
    elif tokens and each.tokens is not None:
        inside = [h.span(".token")[shown(token)] for token in each.tokens]
    else:
        inside = shown(each.text)
    number = None if each.segment.kind == "mark" else _number(found, each, tokens=tokens)
    return h.span(class_=classes)[number, inside]


def _number(found: Shown, each: Stretch, *, tokens: bool) -> h.Element:
    to = _to(found, each, tokens=tokens)
    return h.a(".number-of", href=to, aria_label=f"stretch {each.number}: {_named(each.segment)}")[str(each.number)]


def _to(found: Shown, each: Stretch, *, tokens: bool) -> str:
    query = {"at": found.position, "start": found.start or None, "tokens": int(tokens) or None, "stretch": each.number}
    return address("/position", **query) + "#stretch"


def _named(segment: Segment) -> str:
    generation = "" if segment.generation is None else ", round {}, generation {}".format(*segment.generation)
    return f"{segment.kind} of document {segment.document}{generation}"


def _more(found: Shown, *, tokens: bool) -> h.Element | None:
    if found.start + MOST_TOKENS >= found.length:
        return None
    start = found.start + MOST_TOKENS
    return h.p[link("/position", "Further tokens", at=found.position, start=start, tokens=int(tokens) or None)]


def _chosen(found: Shown, chosen: Stretch) -> h.Element:
    segment = chosen.segment
    to = {"number": segment.document, "stream": found.stream}
    begins = f"from token {segment.offset:,} of it on"
    pairs: dict[str, h.Node] = {
        "Kind": segment.kind,
        "Document": [link("/document", f"{segment.document:,}", **to), f" ({found.digest[:16]})"],
        "Tokens": [f"{segment.start:,} to {segment.stop:,}, ", h.a(href="#marked")[begins] if found.marked else begins],
    }
    if segment.generation:
        round, number = segment.generation
        pairs |= {
            "Round": f"{round}, generation {number}",
            "Style": segment.style,
            "Writer": segment.writer,
            "Key": h.code[segment.key],
            "About": None if segment.about is None else f"document {segment.about}, in this one's place",
            "How": link("/generation", "how it came to be, and its verdict", **to, round=round, which=number),
        }
    return h.section("#stretch", aria_labelledby="stretch-title")[
        h.h2("#stretch-title")[f"Stretch {chosen.number}"],
        figures(pairs | {"Walk": walk_of(segment.walk, found.stream)}),
        sources(found.sources, found.stream, walk=segment.walk, marked=found.marked),
    ]


def _account(found: Shown, *, tokens: bool) -> h.Element:
    rows = []
    for each in found.stretches:
        segment = each.segment
        rows.append(
            (
                h.a(href=_to(found, each, tokens=tokens))[str(each.number)],
                f"{segment.start}:{segment.stop}",
                segment.kind,
                segment.style or "",
                segment.writer or "",
                link("/document", f"{segment.document:,}", number=segment.document, stream=found.stream),
                "" if segment.generation is None else "{}/{}".format(*segment.generation),
                f"{segment.offset:,}",
                segment.key and h.code[segment.key],
            )
        )
    columns = ("Stretch", "Tokens", "Kind", "Style", "Writer", "Document", "Round/n", "From", "Key")
    return table(f"where the tokens of position {found.position} come from", columns, rows, ("Tokens", "From"))
