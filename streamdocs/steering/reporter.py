"""Reporting: what a training loop says is gathered on its device, and kept in the store a window at a time."""

import atexit
import logging
import time
from typing import NamedTuple
from weakref import WeakMethod

import numpy as np
import torch
from torch.nn.functional import pad

from streamdocs._base.arrays import Ints
from streamdocs.errors import ConfigError, StoreError
from streamdocs.schedule.mixture import Mixture
from streamdocs.steering.reports import Reports, is_loss

log = logging.getLogger(__name__)

#: Seconds after which what was said is kept, however little it is.
_MOST_SECONDS = 60.0
#: The label of a token that is not to be learned, as PyTorch has it.
_IGNORED = -100


class _Said(NamedTuple):
    """Of a batch: int64 (sequences,) position and stream; float32 (sequences, bins) losses, on any device."""

    position: torch.Tensor
    stream: torch.Tensor
    losses: torch.Tensor


class Reporter:
    """Gathers the losses of one rank.

    Args:
        reports: Where they are kept.
        mixture: Of the run: which stream is at which position.
        rank: Which.
        batches: Of how many batches it is kept at a time. Until then nothing waits for the device.
        steered: Whether anything is decided by what is held out.
    """

    def __init__(self, reports: Reports, mixture: Mixture, rank: int, batches: int, *, steered: bool = False) -> None:
        self._reports = reports
        self._mixture = mixture
        self._rank = rank
        self._batches = max(batches, 1)
        self._said: list[_Said] = []
        self._since = time.monotonic()
        self._warned = False
        self._ordered = steered  # until it was told that evaluations are not
        # Not a method itself: that would keep this alive, and with it the store open.
        flush = WeakMethod(self.flush)
        atexit.register(lambda: (found := flush()) and found())

    def add(self, position: torch.Tensor, stream: torch.Tensor, labels: torch.Tensor, losses: torch.Tensor) -> None:
        """Take what was lost on a batch.

        Args:
            position, stream, labels: The columns of the batch, on any device.
            losses: (sequences,), mean losses; or (sequences, max_seq_len) or one less, of each token, the first of
                which has none.

        Raises:
            ConfigError: They are of another shape.
        """
        if not len(position):
            return
        with torch.no_grad():
            self._said.append(_Said(position, stream, self._in_bins(labels, losses.detach())))
        if len(self._said) >= self._batches or time.monotonic() - self._since > _MOST_SECONDS:
            self.flush()

    def _in_bins(self, labels: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
        bins, (sequences, length) = self._reports.bins, labels.shape
        if losses.shape == (sequences,):
            return losses.float().unsqueeze(1).expand(sequences, bins)
        if losses.shape not in ((sequences, length), (sequences, length - 1)):
            raise ConfigError(
                f"losses of shape {tuple(losses.shape)} for labels of {tuple(labels.shape)}: give one for each "
                "sequence, or one for each token but the first"
            )
        losses = losses[:, 1 - length :]
        skip = length - losses.shape[1]
        learned = labels[:, skip:] != _IGNORED
        shape, around = (sequences, bins, -1), (skip, bins * -(-length // bins) - length)
        sums, counts = (pad(each, around).view(shape).sum(2) for each in (losses.float().where(learned, 0.0), learned))
        return sums / counts  # of none: not a number

    def flush(self) -> None:
        """Keep what was said so far."""
        said, self._said, self._since = self._said, [], time.monotonic()
        if not said:
            return
        position, stream, losses = (torch.cat(column).cpu().numpy() for column in zip(*said, strict=True))
        finite = is_loss(losses)
        if not finite.all(axis=1).all() and not self._warned and (unusable := int((~finite.any(axis=1)).sum())):
            self._warned = True
            log.warning("the losses of %d of %d sequences are no numbers: they do not count", unusable, len(losses))
        losses = np.where(finite, losses, np.nan).astype(np.float32)
        for window in np.unique(position // self._mixture.window).tolist():
            here = position // self._mixture.window == window
            places: Ints = position[here] - window * self._mixture.window
            if self._is_ours(window, places, stream[here]):
                self._reports.add(self._rank, window, places, losses[here])
            else:
                log.warning("what was reported of window %d is of another run: it does not count", window)

    def _is_ours(self, window: int, places: Ints, stream: Ints) -> bool:
        """Whether these streams are at these places, of a window that was read."""
        try:
            return window >= 0 and bool((self._mixture.plan(window).stream[places] == stream).all())
        except StoreError:  # it was not decided on
            return False

    def held_out(self, position: int, loss: float) -> None:
        """Keep the loss of what is held out, after so many sequences of the run."""
        self.flush()
        if not is_loss(np.array(loss)):
            log.warning("the held-out loss at position %d is no number: it does not count", position)
            return
        if self._ordered and (later := self._reports.held_out(position - 1, 1 << 62)):
            self._ordered = False
            log.warning(
                "the held-out loss at position %d was reported after that at %d: whatever was decided by that one "
                "does not count this one; a position is how many sequences of the run were trained on",
                position,
                later[-1].position,
            )
        self._reports.add_held_out(position, loss)
