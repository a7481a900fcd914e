"""What the page of a position shows: the sequence, and where each of its tokens comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamdocs.auditing.looking import check_sealed
from streamdocs.errors import ConfigError, MissingGenerationError
from streamdocs.ledger.ledgers import sealed_positions
from streamdocs.reading.assembly import Segment, with_steps
from streamdocs.streams import GenerationScope, Stream
from streamdocs.view.opening import Opened

#: Tokens of a sequence on one page.
MOST_TOKENS = 8192
#: What stands for a character of which some tokens are missing, and by how many of these a place can be wrong.
_CUT, _NEAR = "\N{REPLACEMENT CHARACTER}", 8


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
        sources: That document's text, or those that a walk is about, by their numbers.
        marked: Where in that text the stretch begins and ends; None where it is not part of it, or all of it.
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
    sources: Mapping[int, str]
    marked: tuple[int, int] | None
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
    stream, stop, length = section.stream, start + MOST_TOKENS, run.mixture.max_seq_len
    if start >= length:
        raise ConfigError(f"token {start:,} of position {position}: a sequence has those from 0 to {length - 1:,}")
    here = [(number, each) for number, each in enumerate(segments) if each.stop > start and each.start < stop]
    told = with_steps(opened.store, run, [each for _, each in here])
    try:
        read = opened.assembler.read([position]).tokens[0]
    except MissingGenerationError:
        read = None
    stretches, decode = [], run.corpus.tokenizer.decode
    for (number, _), segment in zip(here, told, strict=True):
        found = None if read is None else read[segment.start : segment.stop]
        if found is None and segment.kind == "web":
            found = stream.corpus.tokens(segment.document)[segment.offset :][: segment.stop - segment.start]
        pieces = [decode(found[at : at + 1]) for at in range(len(found))] if tokens and found is not None else None
        stretches.append(Stretch(number, segment, None if found is None else decode(found), pieces))
    of = next((each for each in stretches if each.number == chosen), None)
    if chosen is not None and of is None:
        there = f"{stretches[0].number} to {stretches[-1].number}" if stretches else "none"
        raise ConfigError(f"stretch {chosen} of position {position}: of the tokens that are shown there are {there}")
    of = of or next((each for each in stretches if each.segment.generation), stretches[0] if stretches else None)
    digest, sources, marked = "", dict[int, str](), None
    if of:
        digest = stream.corpus.document_digest(of.segment.document).hex()
        sources = _sources(opened, stream, of.segment)
        if of.segment.kind == "web" and of.text is not None:
            before = decode(stream.corpus.tokens(of.segment.document)[: of.segment.offset])
            marked = place_of(of.text, sources[of.segment.document], len(before))
    return Shown(
        position=position,
        stream=stream.name,
        filler=stream.label != stream.name,
        window=window,
        place=place,
        length=length,
        start=start,
        stretches=stretches,
        chosen=of,
        digest=digest,
        sources=sources,
        marked=marked,
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


def sources_of(scope: GenerationScope, document: int, round: int, number: int | None = None) -> dict[int, str]:
    """The documents that an item, or one of its generations, is about: their texts, by their numbers."""
    if scope.plans is None:
        numbers = [scope.about(document, round)[0]]
    else:
        walks = scope.walks(document, round)
        chosen = walks if number is None else walks[number : number + 1]
        numbers = list(dict.fromkeys(each for drawn in chosen for each in drawn.walk.documents))
    return {each: scope.sources.text(each) for each in numbers}


def _sources(opened: Opened, stream: Stream, segment: Segment) -> dict[int, str]:
    """What a segment is of, or about."""
    if segment.generation and (scope := scope_of(opened, segment.stream)):
        return sources_of(scope, segment.document, *segment.generation)
    return {segment.document: stream.corpus.text(segment.document)}


def place_of(part: str, text: str, near: int) -> tuple[int, int] | None:
    """Where a decoded part of a text stands in it: None where it is all of it, or not there.

    Args:
        part, text: Characters of which only some tokens are there are not as they are in the text.
        near: Where it begins, but for those.
    """
    whole = part.strip(_CUT)
    begin = near if text.startswith(whole, near) else text.find(whole, max(near - _NEAR, 0), near + _NEAR + len(whole))
    if not whole or begin < 0 or (begin == 0 and len(whole) == len(text)):
        return None
    return begin, begin + len(whole)
