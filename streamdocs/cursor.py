"""Where iteration stands, shared between a trainer process and its DataLoader workers."""

import torch

from streamdocs.errors import ConfigError

#: Most DataLoader workers of one rank.
MAX_WORKERS = 1024

_EPOCH, _SAMPLE, _START = range(3)


class Cursor:
    """Epochs begun by each worker, and where a resumed run goes on.

    It lives in anonymous shared memory, which goes with its last process. Each worker writes only its own entries, so
    there is nothing to lock and nobody to wait for.

    Args:
        epoch_sequences: Sequences an epoch.
    """

    def __init__(self, epoch_sequences: int) -> None:
        self._epoch_sequences = epoch_sequences
        self._resume = torch.zeros(3, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._begun = torch.zeros(MAX_WORKERS, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._waited = torch.zeros(MAX_WORKERS, dtype=torch.float64).share_memory_()  # type: ignore[no-untyped-call]

    def begin_epoch(self, worker: int) -> tuple[int, int]:
        """Begin the next epoch in a worker: the positions that it spans, from where it goes on."""
        if worker >= MAX_WORKERS:
            raise ConfigError(f"num_workers={worker + 1} or more; at most {MAX_WORKERS} are supported")
        epoch = int(self._begun[worker])
        self._begun[worker] = epoch + 1
        start = self.epoch_start(epoch)
        return start + self._offset(epoch), start + self._epoch_sequences

    def epoch_start(self, epoch: int) -> int:
        """First position of an epoch."""
        return int(self._resume[_START]) + (epoch - int(self._resume[_EPOCH])) * self._epoch_sequences

    def locate(self, num_samples: int, from_beginning: bool) -> tuple[int, int]:
        """Epoch and samples in it, after ``num_samples`` of the current epoch (or of its resumed part).

        Composer takes an epoch's last checkpoint after its clock moved on: zero samples from the beginning, while an
        epoch runs, mean that the next one begins.
        """
        begun = int(self._begun[0])
        if begun == int(self._resume[_EPOCH]):  # nothing was read since the start or the last load
            return begun, num_samples if from_beginning else self._offset(begun) + num_samples
        epoch = begun - 1
        sample = num_samples if from_beginning else self._offset(epoch) + num_samples
        if sample >= self._epoch_sequences or (from_beginning and sample == 0):
            return epoch + 1, 0
        return epoch, sample

    def resume(self, epoch: int, sample: int, start: int) -> None:
        """Go on at ``sample`` of ``epoch``, which began at position ``start``."""
        self._resume[:] = torch.tensor([epoch, sample, start])
        self._begun[:] = epoch

    def add_waited(self, worker: int, seconds: float) -> None:
        """Note that a worker waited for generations."""
        self._waited[worker] += seconds

    @property
    def waited_seconds(self) -> float:
        """Seconds that the worker that waited longest did so."""
        return float(self._waited.max())

    def _offset(self, epoch: int) -> int:
        return int(self._resume[_SAMPLE]) if epoch == int(self._resume[_EPOCH]) else 0
