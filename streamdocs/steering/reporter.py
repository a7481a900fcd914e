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
from streamdocs.steering.decisions import Decisions
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
        batches: After how many that were read it is kept. Until then nothing waits for the device.
        decisions: Those that are made by what is reported, if any are.
    """

    def __init__(
        self, reports: Reports, mixture: Mixture, rank: int, batches: int, decisions: Decisions | None = None
    ) -> None:
        self._reports = reports
        self._mixture = mixture
        self._rank = rank
        self._batches = max(batches, 1)
        self._said: list[_Said] = []
        self._since = time.monotonic()
        self._read = 0
        self._decisions = decisions
        self._warned: set[str] = set()
        # Not a method itself: that would keep this alive, and with it the store open.
        flush = WeakMethod(self.flush)
        atexit.register(lambda: (found := flush()) and found())

    def add(
        self,
        position: torch.Tensor,
        stream: torch.Tensor,
        labels: torch.Tensor,
        losses: torch.Tensor,
        every: int = 1,
    ) -> None:
        """Take what was lost on a batch.

        Args:
            position, stream, labels: The columns of the batch, on any device.
            losses: (sequences,), mean losses; or (sequences, max_seq_len) or one less, of each token, the first of
                which has none.
            every: Of how many batches that were read it is one.

        Raises:
            ConfigError: They are of another shape.
        """
        if not len(position):
            return
        with torch.no_grad():
            self._said.append(_Said(position, stream, self._in_bins(labels, losses.detach())))
        self._read += every
        if self._read >= self._batches or time.monotonic() - self._since > _MOST_SECONDS:
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
        said, self._said, self._read, self._since = self._said, [], 0, time.monotonic()
        if not said:
            return
        columns = ([each.to(column[0].device) for each in column] for column in zip(*said, strict=True))
        position, stream, losses = (torch.cat(column).cpu().numpy() for column in columns)
        finite = is_loss(losses)
        if not finite.all(axis=1).all() and (unusable := int((~finite.any(axis=1)).sum())):
            self._warn(
                "losses",
                "the losses of %d of %d sequences are no numbers: they do not count, nor will others like them, of "
                "which nothing more is said",
                *(unusable, len(losses)),
            )
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
            return window >= 0 and bool((self._mixture.streams(window)[places] == stream).all())
        except StoreError:  # it was not decided on
            return False

    def held_out(self, position: int, loss: float) -> None:
        """Keep the loss of what is held out, after so many sequences of the run."""
        self.flush()
        if not is_loss(np.array(loss)):
            log.warning("the held-out loss at position %d is no number: it does not count", position)
            return
        if self._decisions:
            self._check_place(self._decisions, position)
        self._reports.add_held_out(position, loss)

    def _check_place(self, decisions: Decisions, position: int) -> None:
        """Tell once each: an evaluation that comes too late to be decided by, and one where the run did not come."""
        try:
            evaluated = decisions.evaluated()
        except StoreError:  # a damaged one, which its readers tell
            return
        if position <= evaluated:
            self._warn(
                "late",
                "the held-out loss at position %d was reported after that at %d: whatever was decided by that one "
                "does not count this one; a position is how many sequences of the run were trained on",
                *(position, evaluated),
            )
        window = (position - 1) // self._mixture.window
        if position and not self._is_decided(decisions, window):
            self._warn(
                "ahead",
                "the held-out loss at position %d is of window %d, to which the run did not come yet: it does not "
                "count before; a position is how many sequences of the run were trained on, not tokens",
                *(position, window),
            )

    @staticmethod
    def _is_decided(decisions: Decisions, window: int) -> bool:
        try:
            return bool(decisions.of(window))
        except StoreError:
            return False

    def _warn(self, what: str, message: str, *values: int) -> None:
        """Say what is wrong, the first time."""
        if what not in self._warned:
            self._warned.add(what)
            log.warning(message, *values)
