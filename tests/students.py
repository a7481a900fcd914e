"""Reports of a student that errs as it is told to."""

from collections.abc import Callable

import numpy as np

from streamdocs.reading.assembly import Segment
from streamdocs.steering.reports import BINS, Reports

LENGTH, WINDOW = 64, 32


def bin_of(token: int) -> int:
    return token * BINS // LENGTH


def lose(dataset, windows: int, loss_of: Callable[[Segment], float], first: int = 0) -> None:
    """Read some windows, and report a loss of each token by the segment that it is of."""
    reports = Reports(dataset.store, dataset.run.id, WINDOW, LENGTH)
    bins = np.array([bin_of(token) for token in range(LENGTH)])
    for window in range(first, first + windows):
        losses = np.full((WINDOW, BINS), np.nan, np.float32)
        for place in range(WINDOW):
            each = np.zeros(LENGTH)
            for segment in dataset.explain(window * WINDOW + place):
                each[segment.start : segment.stop] = loss_of(segment)
            for number in range(BINS):
                losses[place, number] = each[1:][bins[1:] == number].mean()
        reports.add(0, window, np.arange(WINDOW), losses)
