"""Where the sealed windows of a run are in a store, and from which of them on it was sealed anew."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import msgpack
from pydantic import Field, TypeAdapter

from streamdocs._base.arrays import Count
from streamdocs._base.untrusted import unpack
from streamdocs.errors import StoreError
from streamdocs.ledger.manifest import Manifest, State
from streamdocs.store import Snapshot, Store
from streamdocs.streams import GenerationScope


@dataclass(frozen=True)
class Reseal:
    """A run sealed anew from a window on. What was replaced stays in the store, but nobody reads it any more.

    Args:
        window: The first window that was replaced.
        before: The state that it is sealed from: that after the window before, without units that were lost.
        replaced: Digests of the manifests that were replaced, from ``window`` on.
        time: When, in Unix seconds.
        reason: Why.
    """

    window: Count
    before: State
    replaced: tuple[bytes, ...]
    time: Annotated[int, Field(ge=0, lt=1 << 35)]
    reason: str

    def pack(self) -> bytes:
        """As msgpack."""
        return msgpack.packb([self.window, vars(self.before), self.replaced, self.time, self.reason])

    @classmethod
    def unpack(cls, data: bytes) -> "Reseal":
        """What ``pack`` wrote.

        Raises:
            ValueError: It did not.
        """
        try:
            return _RESEAL.validate_python(dict(zip(_FIELDS, unpack(data), strict=True)))
        except TypeError as error:
            raise ValueError(f"not a reseal: {error}") from error

    def replaces(self, window: int, digest: str) -> bool:
        """Whether this replaced a window whose manifest had this digest."""
        at = window - self.window
        return 0 <= at < len(self.replaced) and self.replaced[at].hex() == digest

    def __str__(self) -> str:
        """One line."""
        when = datetime.fromtimestamp(self.time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        replaced = ", ".join(digest.hex()[:8] for digest in self.replaced[:3])
        more = ", …" if len(self.replaced) > 3 else ""
        last = self.window + len(self.replaced) - 1
        which = f"windows {self.window} to {last} ({replaced}{more})"
        return f"{which} were sealed anew on {when}: {self.reason}"


_RESEAL = TypeAdapter(Reseal)
_PACKED = TypeAdapter(list[bytes])
_MARKS = TypeAdapter(tuple[Annotated[int, Field(ge=1)], list[Count]])
_FIELDS = [field.name for field in fields(Reseal)]


def read_reseals(snapshot: Snapshot, ledger_id: bytes) -> tuple[Reseal, ...]:
    """Every time that a run was sealed anew, in order.

    Raises:
        StoreError: The note of it is damaged: which windows are in use is not known.
    """
    packed = snapshot.get("notes", _reseals_key(ledger_id))
    return tuple(map(Reseal.unpack, _unpack_reseals(packed))) if packed else ()


def _unpack_reseals(packed: bytes | memoryview) -> list[bytes]:
    try:
        reseals = _PACKED.validate_python(unpack(packed))
        for reseal in reseals:
            Reseal.unpack(reseal)
    except ValueError as error:
        raise StoreError(f"the note of what was sealed anew is damaged ({error}): restore the store") from error
    return reseals


def add_reseals(store: Store, ledger_id: bytes, known: tuple[Reseal, ...], more: tuple[Reseal, ...]) -> None:
    """Note ``more`` after those that are ``known``, unless somebody else was faster."""

    def change(old: bytes | None) -> bytes:
        packed = _unpack_reseals(old) if old else []
        return msgpack.packb(packed if len(packed) > len(known) else [*packed, *(reseal.pack() for reseal in more)])

    store.update(_reseals_key(ledger_id), change)


def reseal_of(window: int, reseals: tuple[Reseal, ...]) -> int:
    """How many reseals there had been when a window was sealed that is read today: the last that reaches it, or 0."""
    return max((number for number, reseal in enumerate(reseals, 1) if reseal.window <= window), default=0)


def window_key(ledger_id: bytes, window: int, reseals: tuple[Reseal, ...]) -> bytes:
    """Where a sealed window is. Sealed anew it has another key, so that nobody can mistake one for the other."""
    number = reseal_of(window, reseals)
    return ledger_id + window.to_bytes(8, "big") + (number.to_bytes(4, "big") if number else b"")


def count_windows(snapshot: Snapshot, ledger_id: bytes, reseals: tuple[Reseal, ...]) -> int:
    """One more than the highest window that is there, whatever may be missing below it."""
    found = 0
    for key, _ in snapshot.scan("windows", ledger_id):
        window = int.from_bytes(key[len(ledger_id) :][:8], "big")
        if key == window_key(ledger_id, window, reseals):
            found = max(found, window + 1)
    return found


def last_window(snapshot: Snapshot, ledger_id: bytes, reseals: tuple[Reseal, ...]) -> int:
    """The newest window that was sealed, -1 for none; they are sealed in order, so a search by halves finds it."""

    def is_sealed(window: int) -> bool:
        return snapshot.get("windows", window_key(ledger_id, window, reseals)) is not None

    low, high = -1, 1
    while is_sealed(high - 1):
        low, high = high - 1, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_sealed(middle) else (low, middle)
    return low


def newest_windows(store: Store, scope: GenerationScope) -> Iterator[tuple[bytes, Callable[[], Manifest]]]:
    """The newest sealed window of every run over a scope, whatever its name, mixture and windows."""
    with store.read() as snapshot:
        prefix = marks_key(scope, b"")
        for ledger_id in [name[len(prefix) :] for name, _ in snapshot.scan("notes", prefix)]:
            reseals = read_reseals(snapshot, ledger_id)
            if (window := last_window(snapshot, ledger_id, reseals)) >= 0:
                key = window_key(ledger_id, window, reseals)
                yield key, partial(Manifest.unpack, snapshot.get("windows", key) or b"")


def marks_key(scope: GenerationScope, ledger_id: bytes) -> bytes:
    """Where it is noted which windows checkpoints of a run may come back to."""
    return b"marks/" + scope.id + ledger_id


def unpack_marks(packed: bytes | memoryview) -> tuple[int, list[int]] | None:
    """How many checkpoints of a run count, and the windows of those that were taken; None where that is damaged."""
    try:
        return _MARKS.validate_python(unpack(packed))
    except ValueError:
        return None


def windows_in_use(store: Store, scope: GenerationScope) -> Iterator[tuple[bytes, Callable[[], Manifest]]]:
    """The sealed windows that may be read again, of every run over a scope: from its oldest checkpoint on.

    And the one before it, which holds what it carries over into a window that may not be sealed yet.
    """
    with store.read() as snapshot:
        prefix = marks_key(scope, b"")
        for name, value in snapshot.scan("notes", prefix):
            ledger_id = name[len(prefix) :]
            reseals = read_reseals(snapshot, ledger_id)
            keep, windows = unpack_marks(value) or (1, [])  # where they are damaged, all windows may be read again
            window = max(0, min(windows) - 1) if len(windows) >= keep else 0
            while (packed := snapshot.get("windows", key := window_key(ledger_id, window, reseals))) is not None:
                yield key, partial(Manifest.unpack, packed)
                window += 1


def _reseals_key(ledger_id: bytes) -> bytes:
    return b"reseals/" + ledger_id
