"""Documents out of the files of packages: HTML pages, the Jargon File, and novels in R's data format.

Each reader gives pages, a page is a list of sections, and a section is its paragraphs with its heading first.
"""

import gzip
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path

Section = list[str]

_SKIPPED = {"head", "nav", "script", "style", "table"}
_BLOCKS = {"blockquote", "dd", "div", "dt", "li", "p", "pre", "section"}
_HEADINGS = {"h1", "h2", "h3", "h4", "h5"}
#: What pages say about their neighbours, and whose they are.
_AROUND = re.compile(r"Prev|Next|Home|Up|Table of Contents|Chapter \d+\.|Part [IVX]+\.|\d+(\.\d+)+\. |(Copyright )?©")
_R_STRINGS, _R_STRING = 16, 9


class _Page(HTMLParser):
    """The sections of one page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.sections: list[Section] = [[]]
        self._text: list[str] = []
        self._skipping = 0
        self._verbatim = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SKIPPED:
            self._skipping += 1
        elif tag in _BLOCKS or tag in _HEADINGS:
            self._end_paragraph()
            self._verbatim += tag == "pre"
        elif tag == "br":
            self._text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SKIPPED:
            self._skipping = max(self._skipping - 1, 0)
        elif tag in _HEADINGS:
            heading = " ".join("".join(self._text).split()).rstrip("#¶ ")
            self._text = []
            self.sections.append([re.sub(r"^[\d.]+\s+", "", heading)] if heading else [])
        elif tag in _BLOCKS:
            self._end_paragraph()
            self._verbatim = max(self._verbatim - (tag == "pre"), 0)

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self._text.append(data)

    def _end_paragraph(self) -> None:
        text = "".join(self._text)
        text = text.strip("\n") if self._verbatim else " ".join(text.split())
        self._text = []
        if text.strip() and not _AROUND.match(text):
            self.sections[-1].append(text)


def html_pages(path: Path) -> Iterator[list[Section]]:
    """One page."""
    page = _Page()
    page.feed(path.read_text(encoding="utf-8", errors="replace"))
    page.close()
    yield page.sections


def jargon_pages(path: Path) -> Iterator[list[Section]]:
    """A page for each entry of the lexicon: a line at the left margin, then indented text."""
    text = gzip.decompress(path.read_bytes()).decode(errors="replace")
    for entry in re.split(r"\n(?=[^\s].*\n\n?   )", text):
        head, _, body = entry.partition("\n")
        paragraphs = (" ".join(each.split()) for each in re.split(r"\n\s*\n", body))
        yield [[head.strip(), *(each for each in paragraphs if each and "│" not in each)]]


def novel_pages(path: Path) -> Iterator[list[Section]]:
    """A page for each chapter of the novels in a database of R's lazy data (``.rdb``): one vector of lines a novel."""
    data = path.read_bytes()
    while data:
        reading = zlib.decompressobj()
        lines = _r_strings(reading.decompress(data[4:]))  # before it the length of what comes out
        data = reading.unused_data
        for chapter in re.split(r"\n(?=chapter\b)", "\n".join(lines), flags=re.IGNORECASE):
            yield [[" ".join(each.split()) for each in re.split(r"\n\s*\n", chapter) if each.strip()]]


def _r_strings(data: bytes) -> Iterator[str]:
    """The strings of a serialised character vector: behind the header each has its flags and its length."""
    place = 14 + struct.unpack_from(">i", data, 14)[0] + 4  # behind versions and the encoding's name
    kind, count = struct.unpack_from(">ii", data, place)
    if kind & 0xFF != _R_STRINGS:
        raise ValueError(f"R's type {kind & 0xFF} is no character vector")
    place += 8
    for _ in range(count):
        kind, size = struct.unpack_from(">ii", data, place)
        if kind & 0xFF != _R_STRING:
            raise ValueError(f"R's type {kind & 0xFF} is no string")
        place += 8
        yield data[place : place + max(size, 0)].decode()
        place += max(size, 0)


READERS = {"html": html_pages, "jargon": jargon_pages, "novels": novel_pages}


def words(text: str) -> int:
    """How many there are."""
    return len(text.split())


def documents(sections: Iterable[Section], least: int, most: int, whole: bool) -> Iterator[str]:
    """Documents of a page, of ``least`` to ``most`` words: its sections, short ones joined, or all of it.

    A paragraph is never cut, so that one document may be longer by its last paragraph; what is left over at the end of
    a page and is shorter is dropped.
    """
    parts: list[str] = []
    count = 0
    for section in sections:
        for number, paragraph in enumerate(section):
            full = count + words(paragraph) > most
            if count >= least and (full or (number == 0 and not whole)):
                yield "\n\n".join(parts)
                parts, count = [], 0
            parts.append(paragraph)
            count += words(paragraph)
    if count >= least:
        yield "\n\n".join(parts)


def is_prose(text: str) -> bool:
    """Sentences, and not a table, an index, a listing or a page of links."""
    letters = sum(each.isalpha() or each == " " for each in text) / len(text)
    sentences = len(re.findall(r"[.!?](?:\s|$)", text))
    return letters > 0.87 and sentences >= 3 and words(text) / sentences < 60
