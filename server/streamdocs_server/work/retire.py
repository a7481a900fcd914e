"""What leaves the store: rounds that newer ones replaced and nobody refers to, and rejections to be asked for again."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial

import msgpack
import numpy as np

from streamdocs.errors import ConfigError
from streamdocs.generations.encoding import decode_text
from streamdocs.generations.heartbeat import is_only_scope
from streamdocs.generations.progress import Tally, leaving_key, read_retired, read_rounds, read_watermark, retired_key
from streamdocs.generations.records import token_keys
from streamdocs.ledger.windows import windows_in_use
from streamdocs.recipes.keys import Key
from streamdocs.store import Snapshot, Store
from streamdocs.streams import GenerationScope

log = logging.getLogger(__name__)

_CHUNK = 4096
# A trainer may just be sealing a window that it would have to seal again.
_GRACE_SECONDS = 5.0
_NEVER = 1 << 62


class Retirer:
    """Deletes the rounds of a scope that nobody will read again, oldest first.

    Args:
        store, scope: Where, and of what.
        beside: Scopes of the same run's other streams. They use the store too, and what they may share with this one
            stays.
    """

    def __init__(self, store: Store, scope: GenerationScope, beside: Iterable[GenerationScope] = ()) -> None:
        self._store = store
        self._scope = scope
        self._beside = tuple(beside)
        self._oldest_round_of_window: dict[bytes, int] = {}
        self._replaced_since: dict[int, float] = {}
        self._watermark = 0
        self._shared = self._stopped = False

    def stop(self) -> None:
        """Delete no more; what is left of a round is for the next server."""
        self._stopped = True

    @property
    def retired_rounds(self) -> int:
        """How many rounds are gone; StoreError where the note of it is damaged."""
        return read_retired(self._store, self._scope)

    def retire(self) -> int:
        """Delete what can be deleted; how many rounds that was.

        Another recipe, corpus or seed over the same store may share generations: then all of them stay.
        """
        if not is_only_scope(self._store, self._scope, self._beside):
            if not self._shared:
                log.warning(
                    "nothing retires, and no more than %d rounds are written: another recipe, corpus or seed uses the "
                    "store too. Give this run a store of its own",
                    self._scope.recipe.cycle + 1,
                )
            self._shared = True
            return 0
        first = self.retired_rounds
        with self._store.read() as snapshot:
            self._watermark = read_watermark(snapshot, self._scope, self._watermark)
        complete = self._watermark // self._scope.order.sources
        # Round r is replaced everywhere once round r + cycle is complete.
        replaced = range(first, complete - self._scope.recipe.cycle)
        now = time.monotonic()
        ready = [r for r in replaced if now - self._replaced_since.setdefault(r, now) >= _GRACE_SECONDS]
        for number, round in enumerate(ready):
            if not self._may_leave(round) or not self._delete(round):
                return number
            self._store.update(retired_key(self._scope), _replace_by(round + 1))
            log.info("round %d retired", round)
        return len(ready)

    def _may_leave(self, round: int) -> bool:
        """Whether no window refers to a round; then none will, since that is noted for those who seal."""

        def change(old: bytes | None) -> bytes | None:
            return msgpack.packb(round + 1) if round < self._oldest_round_in_use() else old

        if round >= self._oldest_round_in_use():
            return False
        self._store.update(leaving_key(self._scope), change)
        with self._store.read() as snapshot:
            return round < read_rounds(snapshot, leaving_key(self._scope))

    def _oldest_round_in_use(self) -> int:
        """The oldest round that any window from the oldest checkpoint on refers to, of any run over this scope."""
        known, self._oldest_round_of_window = self._oldest_round_of_window, {}
        try:
            for key, manifest in windows_in_use(self._store, self._scope):
                self._oldest_round_of_window[key] = known[key] if key in known else manifest().oldest_round
        except ValueError as error:
            log.warning("nothing retires: a sealed window cannot be read (%s)", error)
            return 0
        return min(self._oldest_round_of_window.values(), default=_NEVER)

    def _delete(self, round: int) -> bool:
        """Delete a round, in steps that others can write between; whether all of it."""
        numbers = self._scope.sources.numbers
        for start in range(0, len(numbers), _CHUNK):
            if self._stopped or self._shared:
                return False
            some = numbers[start : start + _CHUNK]
            keys = self._scope.key_digests(some, np.full(len(some), round))
            steps = self._steps(some.tolist(), round)
            self._store.delete("tokens", _Asked(partial(self._unless_shared, token_keys(self._scope, keys))))
            self._store.delete("texts", _Asked(partial(self._unless_shared, [*steps, *keys])))
        return not self._shared

    def _steps(self, sources: list[int], round: int) -> list[bytes]:
        """The keys of what steps of programs gave for the items of a round, and not also for those that replaced it."""
        if self._scope.recipe.is_plain or any(self._scope.shares_steps_with(other) for other in self._beside):
            return []
        if self._scope.hard and any(step.once for step in self._scope.recipe.steps):
            return []  # what is done once may be of a document that another place is about by now
        found: list[bytes] = []
        with self._store.read() as snapshot:
            for source in sources:
                rounds = (round, round + self._scope.recipe.cycle)
                old, new = (_steps(snapshot, self._scope.key(source, each)) for each in rounds)
                if old and new is not None:  # an item that is lost may have had any of them
                    found += old - new
        return found

    def _unless_shared(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        """None of them, where another scope uses the store by now: it may have found what is still there.

        Asked when the store is locked for writing, so that none can be registered between this and the deletion.
        """
        self._shared = self._shared or not is_only_scope(self._store, self._scope, self._beside)
        return () if self._shared else keys


class _Asked(Iterable[bytes]):
    """What is asked for anew whenever it is iterated."""

    def __init__(self, ask: Callable[[], Sequence[bytes]]) -> None:
        self._ask = ask

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._ask())


def _steps(snapshot: Snapshot, key: Key) -> set[bytes] | None:
    """The keys of the steps behind an item; None where it is not there."""
    record = decode_text(key, snapshot.get("texts", key.digest))
    return {digest for steps in record.steps for digest in steps} if record else None


def _replace_by(number: int) -> Callable[[bytes | None], bytes]:
    return lambda _: msgpack.packb(number)


def reopen(store: Store, scopes: Sequence[GenerationScope], causes: Collection[str]) -> frozenset[str]:
    """Make unresolved again what holds a generation that was rejected for one of some causes, or for any: ``all``.

    What was accepted stays. Rounds that retired do, too. Of all servers of a store, only the one that is told to will
    ask again for what is reopened.

    Returns:
        The causes.

    Raises:
        ConfigError: Nothing was rejected for one of them.
    """
    found: dict[bytes, Counter[str]] = {}
    for scope in scopes:
        retired = Retirer(store, scope).retired_rounds
        with store.read() as snapshot:
            for key, value in snapshot.scan("blocks", scope.id):
                rejected = Tally.unpack(value).rejected
                if rejected and scope.generation_order.block(int.from_bytes(key[-8:], "big")).round >= retired:
                    found[key] = rejected
    known = sum(found.values(), Counter[str]())
    sought = frozenset(known if "all" in causes else causes)
    if unknown := sorted(sought - known.keys()):
        there = ", ".join(f"{cause!r} ({count:,})" for cause, count in known.most_common()) or "nothing"
        raise ConfigError(f"--again {unknown[0]!r}: nothing was rejected for that. There is {there}")
    store.delete("blocks", [key for key, rejected in found.items() if not sought.isdisjoint(rejected)])
    return sought
