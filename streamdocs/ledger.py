"""The ledger: which generations each window of a run is made of, sealed once and then read by everyone."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import msgpack

from streamdocs.errors import FingerprintError, MissingGenerationError, StoreError, WaitTimeoutError
from streamdocs.hashing import digest128
from streamdocs.heartbeat import newest_heartbeat, register_scope
from streamdocs.progress import Tally, block_key, read_watermark
from streamdocs.records import TokenRecord, decode_tokens
from streamdocs.run import GenerationScope, Run
from streamdocs.sealing import Manifest, NotYet, Sealer, State, WhenBehind
from streamdocs.store import Snapshot, Store

log = logging.getLogger(__name__)

#: Seconds without a sign of life after which no generator is taken to be running.
HEARTBEAT_TIMEOUT = 60.0

_POLL_SECONDS = (0.02, 1.0)  # first and longest pause between two looks at the store
_REPORT_SECONDS = 10.0


class StoreShelf:
    """What a snapshot of the store holds for a scope: the Shelf that sealing reads.

    Args:
        known_watermark: A number of items known to be resolved, to begin counting from.
    """

    def __init__(self, snapshot: Snapshot, scope: GenerationScope, known_watermark: int) -> None:
        self._snapshot = snapshot
        self._scope = scope
        self.watermark = read_watermark(snapshot, scope, known_watermark)

    def lengths(self, document: int, round: int) -> list[int]:
        """Tokens of each generation of a round of a document; empty where the record is missing or damaged."""
        record = read_tokens(self._snapshot, self._scope, document, round)
        if record is None:
            log.warning("document %d, round %d: the record is lost or damaged; left out", document, round)
            return []
        return record.lengths


def token_key(scope: GenerationScope, key_digest: bytes) -> bytes:
    """Where the tokens of a generation are: the same text has others for another tokenizer."""
    return bytes.fromhex(scope.corpus.tokenizer_digest[:16]) + key_digest


def read_tokens(snapshot: Snapshot, scope: GenerationScope, document: int, round: int) -> TokenRecord | None:
    """Tokens of a round of a document; None where the record is missing or damaged."""
    key = scope.keyring.key(scope.corpus.document_digest(document), round)
    return decode_tokens(key, snapshot.get("tokens", token_key(scope, key.digest)))


class Ledger:
    """The sealed windows of one run.

    Args:
        run: The run; it reads something synthetic.
        store: Where windows and generations are.
        when_behind: What to do where generations are missing.
        wait_timeout: Seconds that sealing a window waits without any progress.
    """

    def __init__(self, run: Run, store: Store, when_behind: WhenBehind, wait_timeout: float) -> None:
        if run.scope is None:
            raise FingerprintError("a run without a generator has no ledger")
        self.run = run
        self.scope = run.scope
        self.store = store
        self.waited_seconds = 0.0
        self._wait_timeout = wait_timeout
        self._counted = (0, 0)
        arithmetic = (run.mixture, run.recipe, run.order, self.scope.generation_order, run.unit_packer)
        self._sealer = Sealer(*arithmetic, run.corpus.tokens_per_document, when_behind)
        self.manifest = lru_cache(maxsize=4)(self._manifest)

    def sealed(self, window: int) -> bytes | None:
        """The packed manifest of a window, None where it was never sealed."""
        with self.store.read() as snapshot:
            found = snapshot.get("windows", self._key(window))
            return None if found is None else bytes(found)

    def last_sealed(self) -> Manifest | None:
        """The newest window that was sealed; windows are sealed in order, so a search by halves finds it."""
        low, high = -1, 1
        while self.sealed(high - 1) is not None:
            low, high = high - 1, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.sealed(middle) is not None else (low, middle)
        return None if low < 0 else self.manifest(low)

    def seal_digest(self, position: int) -> str:
        """Digest of the newest manifest that sequences before ``position`` were read from, "" for none."""
        packed = self.sealed((position - 1) // self.run.mixture.window) if position else None
        return digest128(packed).hex() if packed else ""

    def check_resume(self, position: int, seal_digest: str) -> None:
        """Make sure that this store sealed what was read before ``position``.

        Raises:
            StoreError: It did not, or sealed something else.
        """
        window = (position - 1) // self.run.mixture.window
        if position and seal_digest and self.seal_digest(position) != seal_digest:
            state = "was never sealed" if self.sealed(window) is None else "was sealed differently"
            raise StoreError(
                f"window {window} {state} in store {self.store.location}: the state comes from another store. "
                "Restore that store, or start a run of another name"
            )

    def mixed(self, manifest: Manifest) -> dict[str, float]:
        """What was mixed until the end of a window, for metrics."""
        after, order = manifest.after, self.scope.generation_order
        sequences = after.window * self.run.mixture.window
        wanted = order.wanted_items(after.sweep, after.cursor)
        stored = self._stored_tokens(manifest.watermark)
        return {
            "synthetic_fraction": after.synthetic_rows / sequences,
            "generations_per_document": order.generations_per_document(manifest.watermark),
            "reuse": after.generated_tokens / stored if stored else 0.0,
            "lead": float(manifest.watermark - wanted),
        }

    def _stored_tokens(self, watermark: int) -> int:
        """Tokens of the generations that existed at a watermark; counted on from the last call."""
        order = self.scope.generation_order
        blocks, tokens = self._counted if self._counted[0] <= order.block_of_item(watermark) else (0, 0)
        with self.store.read() as snapshot:
            while order.first_item(blocks) < watermark:
                packed = snapshot.get("blocks", block_key(self.scope, blocks))
                tokens += Tally.unpack(packed).tokens if packed else 0
                blocks += 1
        self._counted = (blocks, tokens)
        return tokens

    def mark(self, position: int, keep: int) -> None:
        """Note that a checkpoint may come back to ``position``; the newest ``keep`` of these hold generations."""
        window = position // self.run.mixture.window

        def change(old: bytes | None) -> bytes:
            _, windows = msgpack.unpackb(old) if old else (keep, [])
            return _pack([keep, sorted({*windows, window})[-keep:]])

        self.store.update(self._marks_key, change)

    @property
    def _marks_key(self) -> bytes:
        return b"marks/" + self.scope.id + self.run.ledger_id

    def _manifest(self, window: int) -> Manifest:
        """The manifest of a window; it and those before it are sealed first where they are not yet.

        Raises:
            WaitTimeoutError: Generations did not come within the deadline, or no generator is running.
        """
        found = self.sealed(window)
        if found is not None:
            return Manifest.unpack(found)
        first = window
        while first and self.sealed(first - 1) is None:
            first -= 1
        state, known = State(), 0
        if first:
            previous = self.manifest(first - 1)
            state, known = previous.after, previous.watermark
        for number in range(first, window + 1):
            manifest = self._seal(number, state, known)
            state, known = manifest.after, manifest.watermark
        return manifest

    def _seal(self, window: int, state: State, known_watermark: int) -> Manifest:
        started = progressed = time.monotonic()
        parent, pause, next_report, watermark = os.getppid(), _POLL_SECONDS[0], _REPORT_SECONDS, known_watermark
        while True:
            with self.store.read() as snapshot:
                shelf = StoreShelf(snapshot, self.scope, watermark)
                result = self._sealer.seal(state, shelf)
            waited = time.monotonic() - started
            if isinstance(result, Manifest):
                self.waited_seconds += waited if pause > _POLL_SECONDS[0] else 0
                return self._publish(window, result)
            if shelf.watermark > watermark:
                watermark, progressed = shelf.watermark, time.monotonic()
            if os.getppid() != parent:
                raise WaitTimeoutError(f"window {window}: the process that reads it is gone")
            self._check_wait(window, result, time.monotonic() - progressed)
            if waited > next_report:
                next_report += _REPORT_SECONDS
                log.info("waited %.0f s for generations of window %d: %s", waited, window, result.missing)
            time.sleep(pause)
            pause = min(2 * pause, _POLL_SECONDS[1])

    def _publish(self, window: int, manifest: Manifest) -> Manifest:
        key, packed = self._key(window), manifest.pack()
        if not window:  # until enough checkpoints were taken, the run may be started over
            register_scope(self.store, self.scope)
            self.store.update(self._marks_key, lambda old: old or _pack([1, []]))
        if self.store.add("windows", {key: packed}):
            return manifest
        with self.store.read() as snapshot:
            winner = snapshot.get("windows", key)
            if winner is None:
                raise StoreError(f"window {window} vanished from store {self.store.location} while it was read")
            return Manifest.unpack(winner)

    def _check_wait(self, window: int, result: NotYet, silent: float) -> None:
        """Whether to go on waiting, ``silent`` seconds after the last sign of progress."""
        what = f"window {window} waits for generations in store {self.store.location} ({result.missing})"
        if silent > self._wait_timeout:
            raise WaitTimeoutError(f"{what}: none came in {silent:.0f} s; see the server's log, or raise wait_timeout")
        if silent > HEARTBEAT_TIMEOUT < time.time() - newest_heartbeat(self.store, self.scope):
            raise WaitTimeoutError(
                f"{what} and no generator of this corpus, recipe and seed is running: start `streamdocs-server` "
                "with the same run file"
            )

    def _key(self, window: int) -> bytes:
        return window_key(self.run.ledger_id, window)


def windows_in_use(store: Store, scope: GenerationScope) -> Iterator[tuple[bytes, Callable[[], Manifest]]]:
    """The sealed windows that may be read again, of every run over a scope: from its oldest checkpoint on."""
    with store.read() as snapshot:
        prefix = b"marks/" + scope.id
        for name, value in snapshot.scan("notes", prefix):
            keep, windows = msgpack.unpackb(value)
            window = windows[0] if len(windows) >= keep else 0
            while (packed := snapshot.get("windows", key := window_key(name[len(prefix) :], window))) is not None:
                yield key, partial(Manifest.unpack, packed)
                window += 1


def window_key(ledger_id: bytes, window: int) -> bytes:
    """Where a sealed window is."""
    return ledger_id + window.to_bytes(8, "big")


def _pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def lost_generation(window: int, document: int, round: int, location: str) -> MissingGenerationError:
    """The error for a sealed window whose record is gone or damaged."""
    return MissingGenerationError(
        f"window {window} was sealed with round {round} of document {document}, which store {location} no longer holds "
        "intact. Restore the store from a copy, or start a run of another name"
    )
