"""Search by text: as far as a page may wait, and on from there."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Literal, NamedTuple

from streamdocs.errors import ConfigError
from streamdocs.generations.rejected import read_rejected
from streamdocs.generations.stored import stored_of
from streamdocs.store import Snapshot
from streamdocs.streams import GenerationScope
from streamdocs.view.inspector import stream_of
from streamdocs.view.looking import PATIENCE
from streamdocs.view.opening import Opened

Where = Literal["generations", "documents", "rejected"]
PLACES: tuple[Where, ...] = ("generations", "documents", "rejected")
#: Found on a page; characters of what is looked for, and around what is found.
MOST_FOUND, MOST_CHARS, AROUND = 20, 200, 160
#: Of what a page waits: the rest is for showing it.
_SECONDS = PATIENCE / 2


class Hit(NamedTuple):
    """A text with what was looked for, and where it stands in it.

    round, number: Of a generation, of a rejected text only the round; otherwise None. cause: Why it was rejected.
    """

    document: int
    round: int | None
    number: int | None
    cause: str | None
    before: str
    found: str
    after: str


@dataclass(frozen=True)
class Search:
    """What was found.

    Args:
        stream: Name of the stream.
        hits: In the order of writing, or of documents.
        looked: How many documents x rounds, or documents, were looked at before and on this page.
        of: Of how many; None where nobody counted them.
        onward: Where to go on; None where all was looked at.
    """

    stream: str
    hits: list[Hit]
    looked: int
    of: int | None
    onward: int | None


def search(opened: Opened, text: str, where: Where, stream: str | None, start: int) -> Search:
    """Look for a text, whatever its capitals.

    Args:
        opened: The run.
        text: What to look for, 1 to ``MOST_CHARS`` characters.
        where: In what.
        stream: Of which; default the first synthetic one.
        start: Where to begin: ``onward`` of the page before, or 0.

    Raises:
        StreamdocsError: That cannot be looked for, or something cannot be read.
    """
    of = stream_of(opened, stream)
    pattern, until = re.compile(re.escape(text), re.IGNORECASE), monotonic() + _SECONDS
    if where == "documents":
        numbers = of.sources.numbers
        hits, at = list[Hit](), start
        while at < len(numbers) and len(hits) < MOST_FOUND and (at == start or monotonic() < until):
            document = int(numbers[at])
            hits += _hits(pattern, of.corpus.text(document), document)
            at += 1
        return Search(of.name, hits, min(at, len(numbers)), len(numbers), at if at < len(numbers) else None)
    scope = next((each.scope for each in opened.run.synthetic if each.name == of.name), None)
    if scope is None:
        raise ConfigError(f"stream {of.name}: nothing is written for web text; look in documents")
    if where == "rejected":
        texts = list(read_rejected(opened.store, scope))
        found = [
            hit for each in texts for hit in _hits(pattern, each.text, each.document, each.round, None, each.cause)
        ]
        return Search(of.name, found, len(texts), len(texts), None)
    with opened.store.read() as snapshot:
        return _generations(snapshot, scope, pattern, start, until)


def _generations(
    snapshot: Snapshot, scope: GenerationScope, pattern: re.Pattern[str], start: int, until: float
) -> Search:
    """What is found in generations, block by block from the ``start``-th on."""
    order, hits, looked = scope.generation_order, list[Hit](), 0
    for at, number in enumerate(_blocks(snapshot, scope, start)):
        if at and (len(hits) >= MOST_FOUND or monotonic() > until):
            return Search(scope.stream, hits, looked, None, number)
        block = order.block(number)
        for document in order.sources_of(block).tolist():
            for each in stored_of(snapshot, scope, document, block.round):
                if each.text is not None:
                    hits += _hits(pattern, each.text, document, block.round, each.number)
        looked = order.first_item(number + 1)
    return Search(scope.stream, hits, looked, looked, None)


def _blocks(snapshot: Snapshot, scope: GenerationScope, start: int) -> Iterator[int]:
    """Numbers of the resolved blocks from one on."""
    for key in snapshot.keys("blocks", scope.id + start.to_bytes(8, "big")):
        if not key.startswith(scope.id):
            return
        yield int.from_bytes(key[-8:], "big")


def _hits(
    pattern: re.Pattern[str],
    text: str,
    document: int,
    round: int | None = None,
    number: int | None = None,
    cause: str | None = None,
) -> Iterator[Hit]:
    """The first place in a text, if there is one."""
    if found := pattern.search(text):
        begin, end = found.span()
        cut = "…" if begin > AROUND else "", "…" if len(text) - end > AROUND else ""
        before, after = cut[0] + text[max(begin - AROUND, 0) : begin], text[end : end + AROUND] + cut[1]
        yield Hit(document, round, number, cause, before, found[0], after)
