"""What the pages of a document show: its generations, how one of these came to be, and what was rejected."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

from streamdocs.errors import ConfigError
from streamdocs.generations.encoding import decode_text
from streamdocs.generations.rejected import RejectedText, read_rejected
from streamdocs.generations.steps.replay import Story, story_of
from streamdocs.reading.assembly import WalkSegment, walk_of
from streamdocs.store import Snapshot
from streamdocs.streams import Author, GenerationScope, Stream
from streamdocs.view.inspector import scope_of, sources_of, stream_of
from streamdocs.view.opening import Opened

#: Rounds of a document, and rejected texts, on one page.
MOST_ROUNDS, MOST_REJECTED = 8, 10


class Told(NamedTuple):
    """A generation, and what was made of it. walk: That it is about, if any. about: A hard document, if about one."""

    round: int
    number: int
    key: str
    author: Author
    text: str | None
    cause: str | None
    attempts: int
    cut: int
    walk: WalkSegment | None
    about: int | None


@dataclass(frozen=True, kw_only=True)
class Document:
    """A document of a stream and its generations, those of the newest rounds first.

    Args:
        number, stream: Which.
        digest, text, tokens: Of the document.
        generations: Of the rounds that are shown.
        missing: Rounds of these that are not there: not written yet, retired or damaged.
        older: The newest round that is not shown; None for none.
        documents: How many the corpus has.
    """

    number: int
    stream: str
    digest: str
    text: str
    tokens: int
    generations: Sequence[Told]
    missing: Sequence[int]
    older: int | None
    documents: int


@dataclass(frozen=True, kw_only=True)
class Generated:
    """How a generation came to be. seed: Of the item. slot: Which of a unit. sources: What it is about, by number."""

    document: int
    stream: str
    told: Told
    seed: int
    slot: int
    sources: Mapping[int, str]
    story: Story


class Refused(NamedTuple):
    """A rejected text, whose it may be, what it is about, and how many of the kept texts are of the same item."""

    text: RejectedText
    writers: Sequence[str]
    sources: Mapping[int, str]
    alike: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Some of the texts of a stream that were rejected.

    Args:
        stream: Whose they are.
        causes: Of all that are kept.
        texts: Those that are shown, from the ``start``-th of ``kept`` on.
    """

    stream: str
    causes: Sequence[str]
    texts: Sequence[Refused]
    kept: int
    start: int


def document(opened: Opened, number: int, stream: str | None, round: int | None) -> Document:
    """A document and its generations.

    Args:
        opened: The run.
        number: Of the document.
        stream: Which stream's; default the first synthetic one.
        round: The newest round to show; default the newest that there is.

    Raises:
        StreamdocsError: There is no such stream or document, or it cannot be read.
    """
    of = stream_of(opened, stream)
    _check_document(of, number)
    found: list[Told] = []
    missing: list[int] = []
    older = None
    scope = scope_of(opened, of.name)
    if scope is None and round is not None:
        raise ConfigError(f"round {round}: stream {of.name} is web text, and has none")
    if scope:
        newest = _newest_round(opened, scope)
        if round is not None and round > newest and opened.whole:
            there = f"the newest round of which something is written is {newest}" if newest >= 0 else "nothing is yet"
            raise ConfigError(f"round {round} of document {number} is not written yet: {there}")
        first = newest if round is None else min(round, newest)
        rounds = range(first, max(first - MOST_ROUNDS, -1), -1)
        with opened.store.read() as snapshot:
            for each in rounds:
                told = _told(snapshot, scope, number, each) if opened.whole else []
                found += told
                missing += [] if told else [each]
        older = rounds[-1] - 1 if rounds and rounds[-1] else None
    return Document(
        number=number,
        stream=of.name,
        digest=of.corpus.document_digest(number).hex(),
        text=of.corpus.text(number),
        tokens=int(of.corpus.tokens_per_document[number]),
        generations=found,
        missing=missing,
        older=older,
        documents=len(of.corpus.documents),
    )


def generated(opened: Opened, number: int, stream: str | None, round: int, which: int) -> Generated:
    """How a generation came to be.

    Raises:
        StreamdocsError: There is none, or the store does not have it.
    """
    of = stream_of(opened, stream)
    scope = scope_of(opened, of.name)
    _check_document(of, number)
    if scope is None:
        raise ConfigError(f"stream {of.name}: nothing is written for web text")
    if not 0 <= which < scope.recipe.round_size:
        raise ConfigError(f"generation {which}: a round has those from 0 to {scope.recipe.round_size - 1}")
    if round > _newest_round(opened, scope):
        raise ConfigError(f"round {round} of document {number} is not written yet")
    with opened.store.read() as snapshot:
        told = _told(snapshot, scope, number, round)
        if not told:
            raise ConfigError(
                f"round {round} of document {number}: the store does not have it: not written yet, retired or damaged"
            )
        story = story_of(snapshot, scope, number, round, which)
    seed, slot = scope.key(number, round).seed, scope.recipe.slots_of_round(round)[which]
    about = sources_of(scope, number, round, which)
    return Generated(
        document=number, stream=of.name, told=told[which], seed=seed, slot=slot, sources=about, story=story
    )


def sample(opened: Opened, stream: str | None, cause: str | None, start: int) -> Sample:
    """Some of the texts that were rejected, from the ``start``-th on: the newest of each cause first.

    Raises:
        StreamdocsError: There is no such stream, or nothing that far, or it cannot be read.
    """
    of = stream_of(opened, stream)
    scope = scope_of(opened, of.name)
    if scope is None:
        raise ConfigError(f"stream {of.name}: nothing is written for web text")
    by_cause: dict[str, list[RejectedText]] = {}
    for each in read_rejected(opened.store, scope):
        by_cause.setdefault(each.cause, []).insert(0, each)
    chosen = {cause: by_cause.get(cause, [])} if cause else by_cause
    kept = [each for row in zip_longest(*chosen.values()) for each in row if each is not None]
    if start and start >= len(kept):
        raise ConfigError(f"rejected text {start:,}: {len(kept):,} are kept, from 0 on")
    alike = Counter((each.document, each.round) for each in kept)
    refused = []
    for each in kept[start : start + MOST_REJECTED]:
        writers = dict.fromkeys(scope.author(each.round, number).writer for number in range(scope.recipe.round_size))
        about = sources_of(scope, each.document, each.round)
        refused.append(Refused(each, list(writers), about, alike[each.document, each.round]))
    return Sample(stream=of.name, causes=sorted(by_cause), texts=refused, kept=len(kept), start=start)


def _check_document(stream: Stream, number: int) -> None:
    most = len(stream.corpus.documents)
    if not 0 <= number < most:
        raise ConfigError(f"document {number}: the corpus {stream.corpus.local} has 0 to {most - 1}")
    if stream.sources.chosen is not None and number not in stream.sources.chosen:
        raise ConfigError(f"document {number}: stream {stream.name} does not read it; it reads {stream.sources}")


def _newest_round(opened: Opened, scope: GenerationScope) -> int:
    """The newest round of which something is written; -1 for none."""
    with opened.store.read() as snapshot:
        step = scope.generation_order.blocks_per_round
        low, high = 0, 1
        while _is_begun(snapshot, scope, high * step):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _is_begun(snapshot, scope, middle * step) else (low, middle)
        return low if _is_begun(snapshot, scope, low * step) else -1


def _is_begun(snapshot: Snapshot, scope: GenerationScope, block: int) -> bool:
    """Whether a block, or one after it, is resolved."""
    key = next(snapshot.keys("blocks", scope.id + block.to_bytes(8, "big")), b"")
    return key.startswith(scope.id)


def _told(snapshot: Snapshot, scope: GenerationScope, document: int, round: int) -> list[Told]:
    """The generations of an item; none where it is not there."""
    key = scope.key(document, round)
    record = decode_text(key, snapshot.get("texts", key.digest))
    if record is None:
        return []
    about, repeat = scope.about(document, round)
    return [
        Told(
            *(round, number, key.digest.hex(), scope.author(round, number), text, cause, record.attempts, record.cut),
            walk_of(scope, document, round, number),
            about if repeat else None,
        )
        for number, (text, cause) in enumerate(zip(record.texts, record.causes, strict=True))
    ]
