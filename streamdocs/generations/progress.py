"""How far generation is: resolved blocks, and what each of them holds. Written by servers, read by everyone."""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

import msgpack
from pydantic import TypeAdapter

from streamdocs._base.arrays import Count
from streamdocs._base.untrusted import unpack
from streamdocs.errors import StoreError
from streamdocs.store import Notes, Snapshot, Store
from streamdocs.streams import GenerationScope

log = logging.getLogger(__name__)

_SAMPLED_BLOCKS = 256
_COUNT = TypeAdapter(Count)
_PACKED = TypeAdapter(tuple[Count, Count, Count, Count, dict[str, Count], Count])


@dataclass
class Tally:
    """What some resolved (round, document) items hold.

    Args:
        items: How many they are.
        generations, tokens, text_bytes: Accepted generations, their tokens and the bytes of their text.
        rejected: Rejected generations by cause.
        cut: Items whose document was too long for the generator, and cut.
    """

    items: int = 0
    generations: int = 0
    tokens: int = 0
    text_bytes: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    cut: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(*(ours + theirs for ours, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))

    def pack(self) -> bytes:
        """As msgpack."""
        return msgpack.packb([*vars(self).values()])

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> "Tally":
        """What ``pack`` wrote; nothing, where that is damaged: what is resolved does not hang on it."""
        try:
            items, generations, tokens, text_bytes, rejected, cut = _PACKED.validate_python(unpack(data))
        except ValueError:
            log.warning("what a resolved block holds cannot be read; it is counted as empty")
            return cls()
        return cls(items, generations, tokens, text_bytes, Counter(rejected), cut)


def block_key(scope: GenerationScope, number: int) -> bytes:
    """Key of a resolved block."""
    return scope.id + number.to_bytes(8, "big")


def read_watermark(snapshot: Snapshot, scope: GenerationScope, known: int = 0) -> int:
    """Items resolved without a gap, in the order of generation; ``known`` of them are known to be."""
    number = scope.generation_order.block_of_item(known)
    for key in snapshot.keys("blocks", block_key(scope, number)):
        if key != block_key(scope, number):
            break
        number += 1
    return scope.generation_order.first_item(number)


def retired_key(scope: GenerationScope) -> bytes:
    """Of the note that says how many rounds left the store."""
    return b"retired/" + scope.id


def leaving_key(scope: GenerationScope) -> bytes:
    """Of the note that says how many rounds have left the store, or are about to: no new window may refer to them."""
    return b"leaving/" + scope.id


def read_retired(store: Store, scope: GenerationScope) -> int:
    """How many rounds left the store, the oldest ones.

    Raises:
        StoreError: The note of it is damaged.
    """
    with store.read() as snapshot:
        return read_rounds(snapshot, retired_key(scope))


def read_rounds(notes: Notes | Snapshot, key: bytes) -> int:
    """The number of rounds that a note says; 0 where there is none.

    Raises:
        StoreError: It is damaged.
    """
    found = notes.get("notes", key)
    try:
        return 0 if found is None else _COUNT.validate_python(unpack(found))
    except ValueError as error:
        raise StoreError(f"how many rounds left the store cannot be read ({error}): restore the store") from error


def read_tallies(store: Store, scope: GenerationScope) -> dict[int, Tally]:
    """Every resolved block of a scope, by round added up: also those beyond a gap."""
    rounds: dict[int, Tally] = {}
    with store.read() as snapshot:
        for key, value in snapshot.scan("blocks", scope.id):
            round = scope.generation_order.block(int.from_bytes(key[-8:], "big")).round
            rounds[round] = rounds.get(round, Tally()) + Tally.unpack(value)
    return rounds


class Tallies:
    """What ``read_tallies`` finds, for whoever asks again and again: what was added up is not looked at twice.

    So what changes in old blocks, where rejected generations are asked for again, is not seen.

    Args:
        scope: Of what.
    """

    def __init__(self, scope: GenerationScope) -> None:
        self._scope = scope
        self._known: dict[int, Tally] = {}
        self._next = 0

    def read(self, store: Store) -> dict[int, Tally]:
        """Every resolved block, by round added up."""
        order, beyond = self._scope.generation_order, dict[int, Tally]()
        self._next = max(self._next, read_retired(store, self._scope) * order.blocks_per_round)
        with store.read() as snapshot:
            for key in snapshot.keys("blocks", block_key(self._scope, self._next)):
                if not key.startswith(self._scope.id):
                    break
                number = int.from_bytes(key[-8:], "big")
                into = self._known if number == self._next else beyond
                self._next += number == self._next
                round = order.block(number).round
                into[round] = into.get(round, Tally()) + Tally.unpack(snapshot.get("blocks", key) or b"")
        rounds = sorted({*self._known, *beyond})
        return {round: self._known.get(round, Tally()) + beyond.get(round, Tally()) for round in rounds}


def sample_tally(store: Store, scope: GenerationScope) -> tuple[Tally, bool]:
    """The first resolved blocks of a scope added up, and whether there are no others: quick however many there are."""
    with store.read() as snapshot:
        found = [Tally.unpack(value) for _, value in islice(snapshot.scan("blocks", scope.id), _SAMPLED_BLOCKS + 1)]
    return total(found[:_SAMPLED_BLOCKS]), len(found) <= _SAMPLED_BLOCKS


def total(tallies: Iterable[Tally]) -> Tally:
    """All of them together."""
    return sum(tallies, Tally())
