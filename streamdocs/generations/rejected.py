"""A sample of the texts that were not accepted, so that somebody can judge what judged them."""

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from itertools import groupby

import msgpack
import zstandard
from pydantic import TypeAdapter

from streamdocs._base.arrays import Count
from streamdocs._base.untrusted import decompress, unpack
from streamdocs.store import Change, Changes, Store
from streamdocs.streams import GenerationScope

#: Texts that are kept of each cause, the newest ones, and characters of each.
MOST_TEXTS, MOST_CHARS = 32, 4000
_MOST_BYTES = 1 << 22


@dataclass(frozen=True)
class RejectedText:
    """A text that a model wrote and that was not accepted.

    Args:
        document, round: What it was written for.
        cause: Why it was not accepted.
        text: Its beginning, as it came.
    """

    document: Count
    round: Count
    cause: str
    text: str


_TEXTS = TypeAdapter(list[tuple[Count, Count, str, str]])


def rejections(scope: GenerationScope, texts: Iterable[RejectedText]) -> Changes:
    """What to change in a store to add some to the sample of a scope; the oldest of each cause leave it."""
    by_cause = groupby(sorted(texts, key=lambda each: each.cause), key=lambda each: each.cause)
    return {_prefix(scope) + cause.encode(): _add(list(group)) for cause, group in by_cause}


def read_rejected(store: Store, scope: GenerationScope) -> Iterator[RejectedText]:
    """The sample of a scope, by cause, the oldest first. What is damaged is left out: it is only a sample."""
    with store.read() as snapshot:
        notes = [value for _, value in snapshot.scan("notes", _prefix(scope))]
    for note in notes:
        yield from _unpack(note)


def _add(texts: list[RejectedText]) -> Change:
    def change(old: bytes | None) -> bytes:
        kept = [*_unpack(old), *texts][-MOST_TEXTS:]
        return zstandard.compress(msgpack.packb([astuple(each) for each in kept]))

    return change


def _unpack(note: bytes | None) -> list[RejectedText]:
    if note is None:
        return []
    try:
        return [RejectedText(*each) for each in _TEXTS.validate_python(unpack(decompress(note, _MOST_BYTES)))]
    except ValueError:
        return []


def _prefix(scope: GenerationScope) -> bytes:
    return b"rejected/" + scope.id + b"/"
