"""The ledger: which generations each window of a run is made of, sealed once and then read by everyone."""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import msgpack

from streamdocs._base.caching import remember
from streamdocs._base.hashing import canonical, digest128
from streamdocs.errors import ConfigError, StoreError, WaitTimeoutError, some
from streamdocs.generations.heartbeat import register_scope
from streamdocs.generations.progress import leaving_key, read_retired, read_rounds
from streamdocs.generations.record_cache import RecordCache
from streamdocs.generations.records import Records, StoreShelf
from streamdocs.ledger.consistency import unpack_manifest
from streamdocs.ledger.manifest import Manifest, State
from streamdocs.ledger.meter import MixtureMeter
from streamdocs.ledger.sealing import MOST_READS_IN_FIRST_WINDOW, NotYet, Sealer
from streamdocs.ledger.waiting import Wait
from streamdocs.ledger.windows import (
    Reseal,
    add_reseals,
    count_windows,
    marks_key,
    read_reseals,
    reseal_of,
    unpack_marks,
    window_key,
)
from streamdocs.run import Run
from streamdocs.steering.sealed import SealedRows
from streamdocs.store import Notes, Snapshot, Store
from streamdocs.streams import SyntheticStream

log = logging.getLogger(__name__)

#: Manifests that were sealed here whose rows are remembered: decisions ask for them a few windows later.
_MOST_ROWS = 4
_FILLED = "window %d of stream %s is filled with web text: %s"
_MUCH_REUSE = "window %d: what exists was read %.0f times on average, with more to come; max_reuse limits that"


class Ledger:
    """The sealed windows of one stream of a run. An example: docs/worked-example.md.

    Args:
        run, stream: The run, and which of its synthetic streams.
        store: Where windows and generations are.
        wait_timeout: Seconds that sealing a window waits without any progress.
    """

    def __init__(self, run: Run, stream: SyntheticStream, store: Store, wait_timeout: float) -> None:
        self.run = run
        self.stream = stream
        self.scope = stream.scope
        run.attach(store)
        self.id = run.ledger_id(stream)
        self.store = store
        #: Those of the run's other streams, if others are read.
        self.others: Sequence[Ledger] = ()
        self.waited_seconds = 0.0
        self.meter = MixtureMeter(stream, store)
        self._wait_timeout = wait_timeout
        #: Above it a warning is due; then above twice as much.
        self._much_reuse: float = MOST_READS_IN_FIRST_WINDOW
        self._cache = RecordCache(len(stream.corpus.documents), stream.recipe.cycle, stream.recipe.round_size)
        self._sealer = Sealer(stream, self.scope.generation_order, stream.when_behind)
        self._cached_manifest = remember(self._manifest, 2)
        #: Of the newest manifests that were sealed here, by their digests.
        self._sealed_rows: dict[bytes, SealedRows] = {}

    def records(self, snapshot: Snapshot) -> Records:
        """The records in a snapshot, with what is known of them from other snapshots."""
        return Records(snapshot, self.scope, deep=False, cache=self._cache)

    @property
    def retired_rounds(self) -> int:
        """Rounds that left the store."""
        return read_retired(self.store, self.scope)

    @property
    def reseals(self) -> tuple[Reseal, ...]:
        """Every time that the run was sealed anew."""
        with self.store.read() as snapshot:
            return read_reseals(snapshot, self.id)

    def sealed(self, window: int, reseals: tuple[Reseal, ...] | None = None) -> bytes | None:
        """The packed manifest of a window, as it is after some (default all) reseals; None where there is none."""
        with self.store.read() as snapshot:
            known = read_reseals(snapshot, self.id) if reseals is None else reseals
            found = snapshot.get("windows", window_key(self.id, window, known))
            return None if found is None else bytes(found)

    def sealed_rows(self, window: int) -> SealedRows | None:
        """What the manifest of a window says to decisions; None where there is none.

        Raises:
            ValueError: It is damaged.
        """
        if not (packed := self.sealed(window)):
            return None
        return self._sealed_rows.get(digest128(packed)) or self._rows_of(Manifest.unpack(packed))

    def _rows_of(self, manifest: Manifest) -> SealedRows:
        return SealedRows(self.stream.number, manifest.unit_rows, manifest.decision)

    def manifest(self, window: int) -> Manifest:
        """The manifest of a window; it and those before it are sealed first where they are not yet.

        Raises:
            WaitTimeoutError: Generations did not come within the deadline, or no generator is running.
        """
        return self._cached_manifest(window, self.reseals)

    def seal_now(self, window: int) -> None:
        """Seal a window, and those before it, if it is not yet and that needs no waiting; not one that was lost."""
        reseals = self.reseals
        if self.sealed(window, reseals) is None and self.sealed(window + 1, reseals) is None:
            with suppress(WaitTimeoutError):
                self._manifest(window, reseals, timeout=-1)  # which is over before the first pause

    def count(self, reseals: tuple[Reseal, ...] | None = None) -> int:
        """Windows that were sealed, as far as any is there, even where one before it is missing."""
        reseals = self.reseals if reseals is None else reseals
        with self.store.read() as snapshot:
            return count_windows(snapshot, self.id, reseals)

    def reseal(self, window: int, reason: str, known: tuple[Reseal, ...] | None = None) -> Reseal:
        """Seal a run anew from a window on, when it is next read; windows before it stay as they are.

        What the window before left unread goes on, but for units of which a generation is lost. Not while others read
        the run: they go on with the windows that they have open.

        Args:
            window: The first to replace.
            reason: To be noted with it.
            known: Reseals when the reason was found; whoever comes first since then wins.

        Raises:
            ConfigError: The window is not sealed.
        """
        known = self.reseals if known is None else known
        sealed = self.count(known)
        if not 0 <= window < sealed:
            raise ConfigError(f"window {window} cannot be sealed anew: {sealed} windows are sealed, from 0 on")
        state = self.read_window(window - 1, known)[1].after if window else State()
        with self.store.read() as snapshot:
            records = Records(snapshot, self.scope)
            carry = tuple(unit for unit in state.carry if not records.lacks(unit))
        now = int(time.time())
        before = replace(
            state,
            carry=carry,
            skip=state.skip if carry[:1] == state.carry[:1] else 0,
            history=digest128(state.history + canonical([window, now, reason])),
        )
        replaced = tuple(digest128(self.sealed(number, known) or b"") for number in range(window, sealed))
        add_reseals(self.store, self.id, known, (Reseal(window, before, replaced, now, reason),))
        return self.reseals[len(known)]

    def mark(self, position: int, keep: int) -> None:
        """Note that a checkpoint may come back to ``position``; the newest ``keep`` of these hold generations."""
        window = position // self.run.mixture.window

        def change(old: bytes | None) -> bytes:
            # Newest by when it was taken: a run may have gone back, and its later windows are older checkpoints then.
            _, windows = (old and unpack_marks(old)) or (keep, [])  # without any, everything is held
            return msgpack.packb([keep, [*(each for each in windows if each != window), window][-keep:]])

        self.store.update_soon(marks_key(self.scope, self.id), change)

    def publish(
        self, window: int, packed: bytes, reseals: tuple[Reseal, ...], oldest_round: int | None = None
    ) -> bytes | None:
        """Write a sealed window, unless somebody else was faster; what is there now.

        None where ``oldest_round``, to which the window refers, began to leave the store meanwhile.
        """

        def is_late(notes: Notes | Snapshot) -> bool:
            return oldest_round is not None and oldest_round < read_rounds(notes, leaving_key(self.scope))

        if not window:  # until enough checkpoints were taken, the run may be started over
            register_scope(self.store, self.scope)
            self.store.update(marks_key(self.scope, self.id), lambda old: old or msgpack.packb([1, []]))
        if self.store.add("windows", {window_key(self.id, window, reseals): packed}, unless=is_late):
            return packed
        if (winner := self.sealed(window, reseals)) is None:
            with self.store.read() as snapshot:
                if is_late(snapshot):
                    return None
            raise StoreError(f"window {window} vanished from store {self.store.location} while it was read")
        return winner

    def read_window(self, window: int, reseals: tuple[Reseal, ...]) -> tuple[bytes, Manifest]:
        """A window that was sealed, packed and unpacked.

        Raises:
            StoreError: It is missing or damaged.
        """
        packed = self.sealed(window, reseals) or b""
        try:
            return packed, unpack_manifest(self.stream, packed, window)
        except ValueError as error:
            state = "damaged: " if packed else "missing: import its exported ledger, "
            raise StoreError(
                f"window {window} in store {self.store.location} is {state}restore the store, or seal anew: "
                f"`streamdocs ledger reseal RUN_YAML --from {window}`"
            ) from error

    def _manifest(self, window: int, reseals: tuple[Reseal, ...], timeout: float | None = None) -> Manifest:
        timeout = self._wait_timeout if timeout is None else timeout
        # Windows are sealed in order, so one that is not there although the next one is has been lost.
        if self.sealed(window + 1, reseals) is not None or self.sealed(window, reseals) is not None:
            return self.read_window(window, reseals)[1]
        first = window
        while first and self.sealed(first - 1, reseals) is None:
            first -= 1
        state, known = State(), 0
        if first:
            previous = self._cached_manifest(first - 1, reseals)
            state, known = previous.after, previous.watermark
        anew = reseal_of(first, reseals)
        if anew and reseals[anew - 1].window == first:
            state = reseals[anew - 1].before
        for number in range(first, window + 1):
            # What is damaged is found when it is read. A run that was sealed anew for that must not take it up again.
            decision, winner = self._decide(number), None
            while winner is None:
                manifest = replace(self._seal(number, state, known, timeout, deep=bool(reseals)), decision=decision)
                packed = manifest.pack()
                winner = self.publish(number, packed, reseals, manifest.oldest_round)
            manifest = manifest if winner == packed else Manifest.unpack(winner)
            state, known = manifest.after, manifest.watermark
            newest = list(self._sealed_rows.items())[1 - _MOST_ROWS :]
            self._sealed_rows = {**dict(newest), digest128(winner): self._rows_of(manifest)}
        return manifest

    def _decide(self, window: int) -> bytes:
        """The decision on a window, packed; it is made first where it is not yet. None where shares do not move."""
        return self.run.decisions.packed(window) if self.run.decisions else b""

    def _seal(self, window: int, state: State, watermark: int, timeout: float, *, deep: bool) -> Manifest:
        wait = Wait(self.store, self.scope, self.id, window, timeout)
        while True:
            with self.store.read() as snapshot:
                shelf = StoreShelf(snapshot, self.scope, watermark, deep=deep, cache=None if deep else self._cache)
                result = self._within_reuse(self._sealer.seal(state, shelf), state, shelf)
                if isinstance(result, NotYet) and result.begins and self._need_not_wait():
                    log.warning(_FILLED, window, self.stream.name, result.missing)
                    result = self._sealer.filled(state, shelf)
            watermark = shelf.watermark
            if isinstance(result, Manifest):
                self.waited_seconds += wait.seconds
                if lost := shelf.lost():
                    log.warning("window %d leaves out what is lost or damaged of documents %s", window, some(lost))
                return result
            wait.go_on(result.missing, watermark)

    def _need_not_wait(self) -> bool:
        """Whether the run can begin without this stream: with "reuse", one of the others has something to read."""
        return self.stream.when_behind == "reuse" and any(other.can_begin() for other in self.others)

    def can_begin(self) -> bool:
        """Whether something was read of this stream, or could be now."""
        packed = self.sealed(max(self.count() - 1, 0))
        state = Manifest.unpack(packed).after if packed else State()
        self._decide(state.window)
        with self.store.read() as snapshot:
            shelf = StoreShelf(snapshot, self.scope, 0, deep=False)
            return state.synthetic_rows > 0 or isinstance(self._sealer.seal(state, shelf), Manifest)

    def _within_reuse(self, found: Manifest | NotYet, state: State, shelf: StoreShelf) -> Manifest | NotYet:
        """A window as it was found, unless it reads what exists too often and there will be more."""
        if isinstance(found, NotYet) or found.watermark == self.scope.generation_order.total_items:
            return found
        reuse = self.meter.until(found)["reuse"]
        within = self._sealer.within(found, state, shelf, reuse, self.stream.max_reuse)
        if within is found and reuse > self._much_reuse:
            self._much_reuse = 2 * reuse
            log.warning(_MUCH_REUSE, state.window, reuse)
        return within
