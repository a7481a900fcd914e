"""What training reports, in a store: the loss at each position of a window, and what was held out at some positions."""

import logging
import math
import time
from collections.abc import Iterator
from itertools import takewhile
from typing import Annotated, Any, NamedTuple

import msgpack
import numpy as np
import numpy.typing as npt
import zstandard
from pydantic import Field, TypeAdapter

from streamdocs._base.arrays import Count, Ints
from streamdocs._base.untrusted import decompress, unpack
from streamdocs.store import Store

log = logging.getLogger(__name__)

Losses = npt.NDArray[np.float32]

#: Bins of a sequence, of each of which the loss is kept: a style's or a document's is told apart by them.
BINS = 8

#: Of a loss, in nats a token; e to this power is no vocabulary.
_MOST_LOSS = 1000.0

_ROW = TypeAdapter(tuple[Annotated[int, Field(ge=1, le=BINS)], bytes, bytes, bytes])
_HELD_OUT = TypeAdapter(tuple[float, float])


def is_loss(losses: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.bool_]:
    """Which of some numbers can be a mean loss."""
    with np.errstate(invalid="ignore"):
        found: npt.NDArray[np.bool_] = (losses >= 0) & (losses <= _MOST_LOSS)
    return found


def bin_edges(length: int, bins: int) -> Ints:
    """int64 (bins + 1,): the first token of each bin of a sequence, and where all end; the last may be shorter."""
    return np.minimum(np.arange(bins + 1) * -(-length // bins), length)


class HeldOut(NamedTuple):
    """The loss of what is held out, in nats a token, after so many sequences of the run were trained on."""

    position: Count
    loss: float


class Reports:
    """The reports of one run.

    They are kept by what was read, so that a trainer that reads a window again replaces its report, whatever its number
    of ranks; where two say something of a position, the newer one counts. Nothing that cannot be a loss is kept.

    Args:
        store: Where they are.
        run: Id of the run.
        window: Sequences a window.
        length: Tokens a sequence.
    """

    def __init__(self, store: Store, run: bytes, window: int, length: int) -> None:
        self._store = store
        self._run = run
        self._window = window
        self.bins = min(BINS, length)

    def add(self, rank: int, window: int, places: Ints, losses: Losses) -> None:
        """Keep what a rank lost at some places of a window.

        Args:
            rank, window: Whose, and of which window.
            places: int64 (sequences,), of the window.
            losses: float32 (sequences, bins), mean loss in nats a token; NaN for a bin without any to be learned.
        """

        def change(old: bytes | None) -> bytes:
            times, found = (self._unpacked(window, old) if old else None) or self._empty()
            found[places], times[places] = losses, time.time()
            return self._packed(times, found)

        self._store.update_soon(self._key(window) + rank.to_bytes(4, "big"), change)

    def losses(self, window: int) -> Losses | None:
        """float32 (window, bins): the loss at each place of a window, NaN where none is known; None without any."""
        newest, found = self._empty()
        with self._store.read() as snapshot:
            for _, packed in snapshot.scan("notes", self._key(window)):
                times, losses = self._unpacked(window, packed) or self._empty()
                newer = times > newest
                np.copyto(newest, times, where=newer)
                np.copyto(found, losses, where=newer[:, np.newaxis])
        return found if newest.any() else None

    def windows(self, first: int = 0) -> list[int]:
        """Those from the ``first`` on of which something was reported, in order."""
        prefix = self._key(0)[:-8]
        with self._store.read() as snapshot:
            keys = takewhile(lambda key: key.startswith(prefix), snapshot.keys("notes", self._key(first)))
            return list(dict.fromkeys(int.from_bytes(key[len(prefix) :][:8], "big") for key in keys))

    def add_held_out(self, position: int, loss: float) -> None:
        """Keep the loss of what is held out, in the place of what was said of this position before."""
        self._store.update_soon(self._held_out_key(position), lambda _: msgpack.packb([time.time(), loss]))

    def held_out(self, after: int, until: int) -> list[HeldOut]:
        """Those of positions after one, and up to another, in order."""
        return [each for each in self._all_held_out() if after < each.position <= until]

    def _all_held_out(self) -> Iterator[HeldOut]:
        prefix = self._held_out_key(0)[:-8]
        with self._store.read() as snapshot:
            for key, packed in snapshot.scan("notes", prefix):
                position = int.from_bytes(key[len(prefix) :], "big")
                try:
                    _, loss = _HELD_OUT.validate_python(unpack(packed))
                except ValueError:
                    loss = math.nan
                if is_loss(np.array(loss)):
                    yield HeldOut(position, loss)
                else:
                    log.warning("what is held out at position %d has no number for a loss: it does not count", position)

    def _empty(self) -> tuple[npt.NDArray[np.float64], Losses]:
        """Nothing, at no time."""
        return np.zeros(self._window), np.full((self._window, self.bins), np.nan, np.float32)

    def _packed(self, times: npt.NDArray[np.float64], losses: Losses) -> bytes:
        places = np.flatnonzero(times)
        columns = (places.astype("<u4"), times[places].astype("<f8"), losses[places].astype("<f4"))
        row = [self.bins, *(column.tobytes() for column in columns)]
        return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(msgpack.packb(row))

    def _unpacked(self, window: int, packed: bytes | memoryview) -> tuple[npt.NDArray[np.float64], Losses] | None:
        """When something was reported of each place of a window, and what; None where that cannot be one."""
        times, found = self._empty()
        try:
            bins, places, said, losses = _ROW.validate_python(unpack(decompress(packed)))
            at = np.frombuffer(places, "<u4").astype(np.int64)
            rows = np.frombuffer(losses, "<f4").reshape(len(at), bins)
            if bins != self.bins or (at >= self._window).any():
                raise ValueError("it is of sequences or windows of another size")
            times[at] = np.nan_to_num(np.frombuffer(said, "<f8").reshape(len(at)))
        except ValueError as error:
            log.warning("a report of window %d does not count (%s)", window, error)
            return None
        found[at] = np.where(is_loss(rows), rows, np.nan)
        return times, found

    def _key(self, window: int) -> bytes:
        return b"report/" + self._run + window.to_bytes(8, "big")

    def _held_out_key(self, position: int) -> bytes:
        return b"held out/" + self._run + position.to_bytes(8, "big")
