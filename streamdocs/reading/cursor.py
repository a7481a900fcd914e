"""Where iteration stands, shared between a trainer process and its DataLoader workers."""

import numpy as np
import torch

from streamdocs._base.unfinished import is_alive
from streamdocs.errors import ConfigError

#: Most DataLoader workers of one rank.
MAX_WORKERS = 1024

_EPOCH, _SAMPLE, _START, _END = range(4)
_PROCESS_BITS = 32  # of an entry of ``_begun``; the others count epochs, so that both change at once


class Cursor:
    """Epochs begun by each worker, and where a resumed run goes on. An example: docs/worked-example.md.

    It lives in anonymous shared memory, which goes with its last process. Each worker writes only its own entries, so
    there is nothing to lock and nobody to wait for.

    Args:
        epoch_sequences: Sequences an epoch, a multiple of ``global_batch``.
        global_batch: Sequences a batch, over all ranks.
    """

    def __init__(self, epoch_sequences: int, global_batch: int) -> None:
        self._epoch_sequences = epoch_sequences
        self._global_batch = global_batch
        self._resume = torch.tensor([0, 0, 0, epoch_sequences]).share_memory_()  # type: ignore[no-untyped-call]
        self._begun = torch.zeros(MAX_WORKERS, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._waited = torch.zeros(MAX_WORKERS, dtype=torch.float64).share_memory_()  # type: ignore[no-untyped-call]

    def begin_epoch(self, worker: int, process: int) -> tuple[int, int]:
        """Begin the next epoch in a worker: the positions that it spans, from where it goes on.

        Args:
            worker: Number of the worker within its rank.
            process: Process id of a DataLoader worker, 0 for the trainer itself.
        """
        if worker >= MAX_WORKERS:
            raise ConfigError(f"num_workers={worker + 1} or more; at most {MAX_WORKERS} are supported")
        epoch = self._next_epoch(worker)
        self._begun[worker] = (epoch + 1 << _PROCESS_BITS) + process
        return self.epoch_start(epoch) + self._offset(epoch), self.epoch_start(epoch + 1)

    def _next_epoch(self, worker: int) -> int:
        """The epoch that begins: the same for all workers, also where some never began one that was broken off."""
        begun, processes = np.divmod(self._begun.numpy(), 1 << _PROCESS_BITS)
        ahead = np.flatnonzero(begun > begun[worker])
        # What a worker that still runs has begun is the epoch in question; what one that is gone had begun is over.
        epochs = [int(begun[other]) - (processes[other] > 0 and is_alive(int(processes[other]))) for other in ahead]
        return max([int(begun[worker]), *epochs])

    def epoch_start(self, epoch: int) -> int:
        """First position of an epoch."""
        resumed, _, start, end = self._resume.tolist()
        return start if epoch <= resumed else end + (epoch - resumed - 1) * self._epoch_sequences

    def locate(self, num_samples: int, from_beginning: bool) -> tuple[int, int]:
        """Epoch and samples in it, after ``num_samples`` of the current epoch (or of its resumed part).

        From the beginning is how Composer counts. It takes an epoch's last checkpoint after its clock moved on: zero
        samples, while an epoch runs, mean that the next one begins. All of them mean that the epoch is still to end.
        """
        epoch = int(self._begun[0]) >> _PROCESS_BITS
        if epoch == int(self._resume[_EPOCH]):  # nothing was read since the start or the last load
            return epoch, num_samples if from_beginning else self._offset(epoch)
        epoch -= 1
        if from_beginning:
            return (epoch, num_samples) if num_samples else (epoch + 1, 0)
        sample = self._offset(epoch) + num_samples
        return (epoch, sample) if self.epoch_start(epoch) + sample < self.epoch_start(epoch + 1) else (epoch + 1, 0)

    def resume(self, epoch: int, sample: int, start: int) -> None:
        """Go on at ``sample`` of ``epoch``, which began at position ``start``.

        What is left of the epoch is rounded up to whole global batches, which may have another size than before.
        """
        batches_left = -(-max(self._epoch_sequences - sample, 0) // self._global_batch)
        end = start + sample + batches_left * self._global_batch
        self._resume[:] = torch.tensor([epoch, sample, start, end])
        self._begun[:] = epoch << _PROCESS_BITS

    def add_waited(self, worker: int, seconds: float) -> None:
        """Note that a worker waited for generations."""
        self._waited[worker] += seconds

    @property
    def waited_seconds(self) -> float:
        """Seconds that the worker that waited longest did so."""
        return float(self._waited.max())

    def _offset(self, epoch: int) -> int:
        return int(self._resume[_SAMPLE]) if epoch == int(self._resume[_EPOCH]) else 0
