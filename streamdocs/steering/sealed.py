"""What is known of a window once it is sealed, and what was lost in it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from streamdocs.schedule.mixture import Mixture
from streamdocs.steering.controllers import Arms
from streamdocs.steering.reports import Losses
from streamdocs.steering.rewards import Lost


class SealedRows(NamedTuple):
    """What a stream's manifest of a window says.

    stream: Its number. rows: Sequences made of units; those after them are web text in their place.
    decision: The decision on the window, packed.
    """

    stream: int
    rows: int
    decision: bytes


#: What is sealed of a window, stream by stream.
Consult = Callable[[int], Sequence[SealedRows]]


def nothing_sealed(window: int) -> Sequence[SealedRows]:
    """What is known of windows where nobody says."""
    return ()


def arms_of(mixture: Mixture) -> tuple[list[int], Arms]:
    """The synthetic streams of a mixture: their numbers, and as arms."""
    streams = _synthetic(mixture)
    shares = [mixture.shares[number] for number in streams]
    total = float(mixture.fraction) or 1.0
    begun = np.array([float(share.fraction) / total for share in shares])
    return streams, Arms(tuple(share.name for share in shares), begun)


def synthetic_in(mixture: Mixture, window: int) -> int:
    """Synthetic sequences of a window."""
    first = window * mixture.window
    return mixture.synthetic_before(first + mixture.window) - mixture.synthetic_before(first)


def lost_in(mixture: Mixture, window: int, losses: Losses, sealed: Sequence[SealedRows]) -> Lost | None:
    """What was lost in a window, by arm, where what fills a stream's place says nothing of it; None for nothing.

    Args:
        mixture, window: Which.
        losses: float32 (window, bins), NaN where none is known.
        sealed: What is sealed of the window.
    """
    stream, losses = mixture.streams(window), losses.copy()
    for each in sealed:
        here = np.flatnonzero(stream == each.stream)
        if each.rows < len(here):
            losses[here[mixture.order(each.stream, window, len(here)) >= each.rows]] = np.nan
    return Lost.of(window, losses, stream, _synthetic(mixture))


def _synthetic(mixture: Mixture) -> list[int]:
    return [number for number, share in enumerate(mixture.shares) if share.synthetic]
