"""Decisions: the shares of a window, with all that they were decided by."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import zstandard
from pydantic import Field, TypeAdapter

from streamdocs._base.arrays import Count
from streamdocs._base.hashing import canonical, digest128
from streamdocs._base.untrusted import decompress, unpack
from streamdocs.errors import some
from streamdocs.steering.controllers.base import Floats
from streamdocs.steering.reports import HeldOut
from streamdocs.steering.rewards import Lost

#: Shares are whole numbers of so many parts.
PARTS = 1_000_000
#: More is owed to no arm, however shares change.
_MOST_OWED = 64 * PARTS


@dataclass(frozen=True, kw_only=True)
class Decision:
    """How the synthetic sequences of a window are dealt to their streams, the arms.

    Args:
        window: Which.
        shares: Of each arm, in millionths.
        counts, before: Sequences of each arm in the window, and before it.
        owed: Of each arm, in millionths of a sequence, by how much it had less than its shares until here.
        why: In a few words.
        lost, held_out: What was reported since the decision before.
        taken: The newest windows whose reports were taken into account, by any decision.
        evaluated: Position of the last evaluation that was taken into account, by any decision; -1 for none.
        silent: Windows in a row, up to this, for which nothing was reported.
        state: What the controller, and what makes rewards, remember.
    """

    window: Count
    shares: tuple[Count, ...]
    counts: tuple[Count, ...]
    before: tuple[Count, ...]
    owed: tuple[Annotated[int, Field(ge=-_MOST_OWED, le=_MOST_OWED)], ...]
    why: str
    lost: tuple[Lost, ...] = ()
    held_out: tuple[HeldOut, ...] = ()
    taken: tuple[Count, ...] = ()
    evaluated: Annotated[int, Field(ge=-1, lt=1 << 62)] = -1
    silent: Count = 0
    state: Mapping[str, Any]

    def __str__(self) -> str:
        """Its shares, and why."""
        return f"{' : '.join(f'{share / PARTS:.1%}' for share in self.shares)}, {self.why}"

    def difference(self, other: "Decision") -> str:
        """In what another decision on the window differs, in a few words."""
        if str(self) != str(other):
            return f"{self} and {other}"
        windows = sorted({each.window for each in {*self.lost} ^ {*other.lost}})
        positions = sorted({each.position for each in {*self.held_out} ^ {*other.held_out}})
        reports = [f"losses of windows {some(windows)}"] if windows else []
        reports += [f"held-out losses at positions {some(positions)}"] if positions else []
        what = reports or [name for name, value in vars(self).items() if value != vars(other)[name]]
        return f"{self}, both times; they differ in {' and '.join(what)}"

    @property
    def after(self) -> tuple[int, ...]:
        """Sequences of each arm before the next window."""
        return tuple(before + count for before, count in zip(self.before, self.counts, strict=True))

    @property
    def digest(self) -> str:
        """Of all of it, 32 hexadecimal digits."""
        return digest128(self._body).hex()

    def pack(self) -> bytes:
        """Compressed msgpack."""
        return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(self._body)

    @property
    def _body(self) -> bytes:
        return canonical(vars(self))

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> "Decision":
        """The decision that ``pack`` wrote.

        Raises:
            ValueError: It did not, or what it says cannot be.
        """
        found = _DECISION.validate_python(unpack(decompress(data)))
        of_arms = {len(found.counts), len(found.before), len(found.owed)}
        of_arms |= {len(column) for lost in found.lost for column in (lost.sums, lost.counts, lost.dealt)}
        if of_arms != {len(found.shares)} or sum(found.shares) != PARTS:
            raise ValueError("its arms contradict each other")
        numbers = [each.loss for each in found.held_out] + [each for lost in found.lost for each in lost.sums]
        if not all(map(math.isfinite, numbers)):
            raise ValueError("a loss that is no number")
        return found


_DECISION = TypeAdapter(Decision)


def in_parts(shares: Floats) -> tuple[int, ...]:
    """Shares that add up to 1 as whole numbers of ``PARTS``, each within one of what it was."""
    exact = shares * PARTS
    parts = np.floor(exact).astype(np.int64)
    most = np.argsort(-(exact - parts), kind="stable")[: PARTS - int(parts.sum())]
    parts[most] += 1
    return tuple(parts.tolist())


def deal(sequences: int, shares: Sequence[int], owed: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How many sequences of a window each arm gets by its share and what it is owed; and what it is owed after it.

    Whole numbers, so that what is rounded off in one window comes back in the next, and nothing is ever lost.
    """
    due = [each * sequences + rest for each, rest in zip(shares, owed, strict=True)]
    counts = [max(each // PARTS, 0) for each in due]
    # One at a time, to whom most is still due; or, where an arm had too much before, from whom least is.
    while (left := sequences - sum(counts)) != 0:
        rest = [each - PARTS * count for each, count in zip(due, counts, strict=True)]
        if left > 0:
            counts[rest.index(max(rest))] += 1
        else:
            counts[rest.index(min(each for each, count in zip(rest, counts, strict=True) if count))] -= 1
    return tuple(counts), tuple(each - PARTS * count for each, count in zip(due, counts, strict=True))
