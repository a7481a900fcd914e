"""What all pages have: the frame around them, tables, texts, and links to each other."""

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlencode

import htpy as h

#: Characters of a text that a page shows.
MOST_CHARS = 20_000
#: A cell of so many takes more than one line.
_LONG = 32
#: Characters before what is marked in a text, where that is further on.
_BEFORE = 2_000
NAVIGATION = {
    "/": "Run",
    "/position": "Positions",
    "/document": "Documents",
    "/rejected": "Rejected",
    "/search": "Search",
    "/graph": "Graph",
}
#: Characters that move what stands around them, or are none in HTML: spelled out. Others, that only do not show, stay.
_SPELLED = {
    code: repr(chr(code))[1:-1]
    for code in (*range(32), *range(127, 160), 0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\n\t"
}


def page(path: str, title: str, run: str | None, *content: h.Node, again: int | None = None) -> h.Element:
    """A page.

    Args:
        path: Which of ``NAVIGATION`` it belongs to.
        title: What it shows.
        run: What of, in a few words; None where nothing of it is to be seen.
        content: What is on it.
        again: Seconds after which a browser asks for it once more, also one without scripts.
    """
    return h.html(lang="en")[
        h.head[
            h.meta(charset="utf-8"),
            h.meta(name="viewport", content="width=device-width, initial-scale=1"),
            h.meta(name="color-scheme", content="light dark"),
            h.meta(http_equiv="refresh", content=str(again)) if again else None,
            h.title[f"{title} – streamdocs"],
            h.link(rel="icon", href="/static/icon.svg", type="image/svg+xml"),
            h.link(rel="stylesheet", href="/static/view.css"),
            h.script(src="/static/view.js", defer=True),
        ],
        h.body[
            h.a("#skip", href="#main")["To the content"],
            h.header[
                h.p(".run")[h.strong["streamdocs"], " ", run],
                run is not None
                and h.nav(aria_label="Pages")[
                    h.ul[
                        [
                            h.li[h.a(href=to, aria_current="page" if to == path else None)[name]]
                            for to, name in NAVIGATION.items()
                        ]
                    ]
                ],
            ],
            h.main("#main", tabindex="-1")[h.h1[title], content],
            h.footer[h.p["Only looked at: no page writes, seals or decides anything."]],
        ],
    ]


def link(path: str, text: h.Node, /, **query: object) -> h.Element:
    """A link to a page; what is None of ``query`` is left out."""
    return h.a(href=address(path, **query))[text]


def address(path: str, /, **query: object) -> str:
    """The address of a page."""
    said = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(said)}" if said else path


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[h.Node]], numbers: Iterable[str] = ()
) -> h.Element:
    """A table, which scrolls by itself where it is too wide; the columns in ``numbers`` are flush right."""
    right = ["number" if name in {*numbers} else None for name in columns]

    def of(at: int, cell: h.Node) -> h.Element:
        kind = "long" if isinstance(cell, str) and len(cell) > _LONG else right[at]
        return (h.td(class_=kind) if at else h.th(scope="row", class_=kind))[cell]

    body = [h.tr[[of(at, cell) for at, cell in enumerate(row)]] for row in rows]
    return h.div(".scroll", tabindex="0", role="region", aria_label=caption)[
        h.table[
            h.caption[caption],
            h.thead[h.tr[[h.th(class_=at, scope="col")[name] for name, at in zip(columns, right, strict=True)]]],
            h.tbody[body],
        ]
    ]


def figures(pairs: Mapping[str, h.Node]) -> h.Element:
    """Names and what they are; those without anything are left out."""
    return h.dl(".figures")[
        [h.div[h.dt[name], h.dd[value]] for name, value in pairs.items() if value not in (None, "", [])]
    ]


def shown(text: str, most: int = MOST_CHARS) -> str:
    """A text for a page: control characters spelled out, and no more of it than a browser likes."""
    more = f"\n… and {len(text) - most:,} more characters" if len(text) > most else ""
    return text[:most].translate(_SPELLED) + more


def passage(label: str, text: str, marked: tuple[int, int] | None = None) -> h.Element:
    """A text that somebody wrote, as it is; what is ``marked`` from one character to another stands out in it."""
    box = h.pre(".text", tabindex="0", role="region", aria_label=label, dir="auto")
    if marked is None:
        return box[shown(text)]
    begin, end = marked
    first = 0 if end <= MOST_CHARS else max(begin - _BEFORE, 0)
    before = f"{first:,} characters, and …\n" if first else ""
    part = h.mark("#marked")[shown(text[begin:end])]
    return box[before, shown(text[first:begin]), part, shown(text[end:], max(MOST_CHARS - end + first, 0))]


def count(number: float, name: str, several: str = "") -> str:
    """A number of things in words."""
    return f"{number:,} {name if number == 1 else several or name + 's'}"


def choice(label: str, name: str, options: Iterable[str], chosen: str | None) -> h.Element:
    """A choice of a form."""
    return h.label[
        label, h.select(name=name)[[h.option(value=each, selected=each == chosen)[each] for each in options]]
    ]


def whole(label: str, name: str, value: int | None, most: int | None = None) -> h.Element:
    """A number of a form."""
    return h.label[
        label, h.input(type="number", name=name, value=value, min="0", max=most, required=True, inputmode="numeric")
    ]
