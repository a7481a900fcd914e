"""Manifests: what sealing a window gives, and the states of the stream before and after it."""

from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import zstandard
from pydantic import TypeAdapter

from streamdocs._base.arrays import Count, Ints
from streamdocs._base.untrusted import decompress, unpack
from streamdocs.schedule.packing import Unit, Units

_NO_ROUND = 1 << 31


@dataclass(frozen=True)
class State:
    """Where the synthetic stream stands before a window.

    Args:
        window: The window to seal next.
        sweep, cursor: The next document to consider: the ``cursor``-th in the order of this sweep.
        carry: Units begun in the window before.
        skip: Tokens of the first of them that were read there.
        filler_rows: Sequences read from the filler stream so far.
        generated_tokens, synthetic_rows: Read so far: tokens of generations, sequences made of units.
        history: Digest of the text of all units read so far, in order: a manifest speaks for all before it.
    """

    window: Count = 0
    sweep: Count = 0
    cursor: Count = 0
    carry: tuple[Unit, ...] = ()
    skip: Count = 0
    filler_rows: Count = 0
    generated_tokens: Count = 0
    synthetic_rows: Count = 0
    history: bytes = b""

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "State":
        """From what msgpack makes of its fields.

        Raises:
            ValueError: They are not a state's.
        """
        return _STATE.validate_python(fields)


_STATE = TypeAdapter(State)
_REST = TypeAdapter(tuple[Count, Count] | tuple[Count, Count, bytes])


@dataclass(frozen=True)
class Manifest:
    """A sealed window.

    Args:
        before, after: State before and after it.
        units: What its synthetic sequences are cut from, after the first ``before.skip`` tokens.
        checksums: int64 (generations,), 32 bits of the checksum of each one's tokens: what is read is held against it.
            None at all in a window that was sealed before they were kept.
        unit_rows: Synthetic sequences made of units; the rest of them is filled with web text.
        watermark: What existed: items resolved when it was sealed.
        decision: The decision on the window, packed, where shares are steered.
    """

    before: State
    after: State
    units: Units
    checksums: Ints
    unit_rows: int
    watermark: int
    decision: bytes = b""

    @property
    def oldest_round(self) -> int:
        """The oldest round that this window, or what is left over for the next, refers to."""
        carried = [generation.round for unit in self.after.carry for generation in unit.generations]
        return min([*self.units.rounds.tolist(), *carried], default=_NO_ROUND)

    def pack(self) -> bytes:
        """Compressed msgpack."""
        columns = {**vars(self.units), "checksums": self.checksums}
        arrays = {name: array.astype("<u4").tobytes() for name, array in columns.items()}
        decision = [self.decision] if self.decision else []
        fields = [vars(self.before), vars(self.after), arrays, self.unit_rows, self.watermark, *decision]
        return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(msgpack.packb(fields))

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> "Manifest":
        """The manifest that ``pack`` wrote.

        Raises:
            ValueError: It did not.
        """
        try:
            before, after, arrays, *rest = unpack(decompress(data))
            columns = {name: np.frombuffer(array, "<u4").astype(np.int64) for name, array in arrays.items()}
            checksums = columns.pop("checksums", np.zeros(0, np.int64))
            units = Units(**columns)
            unit_rows, watermark, *decision = _REST.validate_python(tuple(rest))
        except (AttributeError, TypeError) as error:
            raise ValueError(f"not a manifest: {error}") from error
        return cls(State.of(before), State.of(after), units, checksums, unit_rows, watermark, *decision)
