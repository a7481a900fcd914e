"""Generations as they are stored, each with what it was written for and what was made of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from streamdocs.generations.encoding import decode_text
from streamdocs.generations.rejected import read_rejected
from streamdocs.store import Snapshot, Store
from streamdocs.streams import GenerationScope


@dataclass(frozen=True)
class Generation:
    """A generation and what was made of it.

    Args:
        stream, document, round: What it was written for.
        about: The document that it is about, where that is a hard one in the place of ``document``; otherwise None.
        number: Which of the round, where it is stored; None for a text of the sample of rejected ones.
        cause: Why it was rejected; None where it was accepted.
        text: As it is read, or as it came where it was rejected; None where that was not kept.
    """

    stream: str
    document: int
    round: int
    number: int | None
    cause: str | None
    text: str | None
    about: int | None = None


def generations_of(store: Store, scope: GenerationScope) -> Iterator[Generation]:
    """What is stored, in the order in which it was written, then the sample of rejected texts."""
    with store.read() as snapshot:
        for key, _ in snapshot.scan("blocks", scope.id):
            block = scope.generation_order.block(int.from_bytes(key[-8:], "big"))
            for document in scope.generation_order.sources_of(block).tolist():
                yield from stored_of(snapshot, scope, document, block.round)
    for each in read_rejected(store, scope):
        about = _about(scope, each.document, each.round)
        yield Generation(scope.stream, each.document, each.round, None, each.cause, each.text, about)


def stored_of(snapshot: Snapshot, scope: GenerationScope, document: int, round: int) -> Iterator[Generation]:
    """The generations of a (document, round) item; none where it retired or is damaged."""
    key = scope.key(document, round)
    if record := decode_text(key, snapshot.get("texts", key.digest)):
        for number, (text, cause) in enumerate(zip(record.texts, record.causes, strict=True)):
            yield Generation(scope.stream, document, round, number, cause, text, _about(scope, document, round))


def _about(scope: GenerationScope, document: int, round: int) -> int | None:
    about, repeat = scope.about(document, round)
    return about if repeat else None
