"""What the page of a position shows: the sequence, and where each of its tokens comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamdocs.auditing.looking import check_sealed
from streamdocs.errors import ConfigError, MissingGenerationError
from streamdocs.ledger.ledgers import sealed_positions
from streamdocs.reading.assembly import Segment, with_steps
from streamdocs.streams import GenerationScope, Stream
from streamdocs.view.looking import Opened

#: Tokens of a sequence on one page.
MOST_TOKENS = 8192


class Stretch(NamedTuple):
    """A stretch of a sequence. number: From 0 on. text: None where it is gone. tokens: The same, token by token."""

    number: int
    segment: Segment
    text: str | None
    tokens: Sequence[str] | None


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A sequence, or tokens ``start`` to ``stop`` of it.

    Args:
        position: Of the run.
        stream: Name of its stream.
        filler: Whether it is web text in the place of units that there were not.
        window, place: Which window, and where in that.
        length: Tokens in all.
        stretches: Of the part that is shown.
        chosen: One of these, which is told more of; None for none.
        digest: Of the document that this is of.
        source: That document's text, or those of a walk's.
        last: The last position that is sealed.
    """

    position: int
    stream: str
    filler: bool
    window: int
    place: int
    length: int
    start: int
    stretches: Sequence[Stretch]
    chosen: Stretch | None
    digest: str
    source: str
    last: int


def sequence(opened: Opened, position: int, chosen: int | None, start: int, *, tokens: bool) -> Shown:
    """A sequence of a run.

    Args:
        opened: The run.
        position: Which; it has to be sealed.
        chosen: The stretch to tell more of; default the first that is a generation's.
        start: The first token to show.
        tokens: Whether to show where each token ends.

    Raises:
        StreamdocsError: It is not sealed yet, or cannot be read.
    """
    run = opened.run
    check_sealed(run, opened.ledgers, position)
    segments = opened.assembler.explain(position)
    window, place = divmod(position, run.mixture.window)
    ((section, _, _),) = opened.assembler.window(window).locate(np.array([place]))
    stream, stop = section.stream, start + MOST_TOKENS
    here = [(number, each) for number, each in enumerate(segments) if each.stop > start and each.start < stop]
    told = with_steps(opened.store, run, [each for _, each in here])
    try:
        read = opened.assembler.read([position]).tokens[0]
    except MissingGenerationError:
        read = None
    stretches = []
    for (number, _), segment in zip(here, told, strict=True):
        found = None if read is None else read[segment.start : segment.stop]
        if found is None and segment.kind == "web":
            found = stream.corpus.tokens(segment.document)[segment.offset :][: segment.stop - segment.start]
        decode = run.corpus.tokenizer.decode
        pieces = [decode(found[at : at + 1]) for at in range(len(found))] if tokens and found is not None else None
        stretches.append(Stretch(number, segment, None if found is None else decode(found), pieces))
    of = next((each for each in stretches if each.number == chosen), None)
    of = of or next((each for each in stretches if each.segment.generation), stretches[0] if stretches else None)
    digest, source = "", ""
    if of:
        digest = stream.corpus.document_digest(of.segment.document).hex()
        source = _source(opened, stream, of.segment)
    return Shown(
        position=position,
        stream=stream.name,
        filler=stream.label != stream.name,
        window=window,
        place=place,
        length=run.mixture.max_seq_len,
        start=start,
        stretches=stretches,
        chosen=of,
        digest=digest,
        source=source,
        last=(sealed_positions(opened.ledgers, run.mixture.window) or 0) - 1,
    )


def stream_of(opened: Opened, name: str | None) -> Stream:
    """A stream by its name; without one, the first that is synthetic.

    Raises:
        ConfigError: There is none of this name.
    """
    streams = opened.run.streams
    found = [each for each in streams if each.name == name] if name else opened.run.synthetic
    if not found:
        raise ConfigError(f"stream {name}: those of this run are {', '.join(each.name for each in streams)}")
    return found[0]


def scope_of(opened: Opened, name: str) -> GenerationScope | None:
    """What is written for a stream; None for web text."""
    return next((each.scope for each in opened.run.synthetic if each.name == name), None)


def _source(opened: Opened, stream: Stream, segment: Segment) -> str:
    """What a segment is of, or about."""
    if segment.generation and (scope := scope_of(opened, segment.stream)):
        return scope.text(segment.document, segment.generation[0])
    return stream.corpus.text(segment.document)
