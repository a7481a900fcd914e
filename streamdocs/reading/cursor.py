"""Where iteration stands, shared between a trainer process and its DataLoader workers."""

import secrets
import threading
import time
from typing import NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch.utils.data import get_worker_info

from streamdocs._base.unfinished import is_alive
from streamdocs.errors import ConfigError

#: Most DataLoader workers of one rank.
MAX_WORKERS = 1024

#: Batches that a DataLoader asks of each worker ahead of the trainer, unless told otherwise.
READ_AHEAD = 2
#: Seconds that workers which stay wait for the first one: it ends its last epoch at the same time as they do.
_PATIENCE = 300

_EPOCH, _SAMPLE, _START, _END = range(4)
_PROCESS_BITS = 32  # of an entry of ``_begun``; the others count epochs, so that both change at once


class Dealt(NamedTuple):
    """Of sequences that a dataset handed out: whose they are, and in batches of how many they should come.

    cursor: Its name. attempt: How often epochs were begun, since one may be begun again. epoch, batch_size: Theirs.
    stands_for: Of how many workers it tells how much was read: the first one of all, whose batches are never ahead of
        the trainer by more than those of the others, and the others of none.
    looks: Whether one batch is but a look: not where a worker went on within the epoch by itself.
    """

    cursor: int
    attempt: int
    epoch: int
    batch_size: int
    stands_for: int
    looks: bool


class Delivery(NamedTuple):
    """What the trainer was handed last: in which attempt and epoch, how many sequences, and how many are but a look."""

    attempt: int
    epoch: int
    sequences: int
    look: int


class Cursor:
    """Epochs begun by each worker, and where a resumed run goes on. An example: docs/worked-example.md.

    It lives in anonymous shared memory, which goes with its last process. Each worker writes only its own entries, so
    there is nothing to lock and nobody to wait for.

    Args:
        epoch_sequences: Sequences an epoch, a multiple of ``global_batch``.
        global_batch: Sequences a batch, over all ranks.
    """

    def __init__(self, epoch_sequences: int, global_batch: int) -> None:
        self.name = secrets.randbits(63)
        _cursors[self.name] = self
        self._dealt = torch.tensor([epoch_sequences, global_batch]).share_memory_()  # type: ignore[no-untyped-call]
        self._resume = torch.tensor([0, 0, 0, epoch_sequences]).share_memory_()  # type: ignore[no-untyped-call]
        self._begun = torch.zeros(MAX_WORKERS, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._waited = torch.zeros(MAX_WORKERS, dtype=torch.float64).share_memory_()  # type: ignore[no-untyped-call]
        self._delivered = torch.zeros(4, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        # Epoch and attempt that the first worker began last.
        self._announced = torch.zeros(2, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        # What was delivered goes along with a fork: all workers know what it was before the first of them began.
        self._inherited: Delivery | None = Delivery(0, 0, 0, 0)

    def deal(self, epoch_sequences: int, global_batch: int) -> bool:
        """Go on with another number of ranks; False where an epoch was begun with what it was before.

        Every worker of a loader may do this, with the same result.
        """
        begun = int(self._begun.max()) >> _PROCESS_BITS  # first: what another worker of this loader began comes after
        if self._dealt.tolist() != [epoch_sequences, global_batch]:
            if begun > int(self._resume[_EPOCH]):
                return False
            self._dealt[:] = torch.tensor([epoch_sequences, global_batch])
            self._set_resume(*self._resume[:_END].tolist())
        return True

    def deliver(self, dealt: Dealt, sequences: int) -> None:
        """Note in the trainer that it is handed some sequences."""
        if not dealt.stands_for:
            return
        last = self._inherited or Delivery(0, 0, 0, 0)
        before = last.sequences if last[:2] == (dealt.attempt, dealt.epoch) else 0
        # The first worker's first batch is the first that a loader takes in, and its next ones come later, unless a
        # thread of the loader takes in, and pins, whatever is there.
        pinned = threading.current_thread() is not threading.main_thread()
        look = dealt.batch_size * dealt.stands_for * (1 + READ_AHEAD * pinned) if dealt.looks else 0
        self._inherited = Delivery(dealt.attempt, dealt.epoch, before + sequences * dealt.stands_for, look)
        self._delivered.numpy()[:] = self._inherited

    def last_delivery(self) -> Delivery:
        """What the trainer was handed before an epoch begins."""
        found = self._inherited or Delivery(*self._delivered.tolist())
        if get_worker_info():
            self._inherited = None  # of the next epoch of a worker that stays
        return found

    def announce(self, attempt: int, epoch: int) -> None:
        """Tell workers that stay from one epoch to the next which one the first of them has begun."""
        self._announced.numpy()[:] = epoch, attempt  # the attempt last: it is what they wait for

    def announced(self, after: int) -> tuple[int, int]:
        """The attempt after that one, and its epoch: a worker that stays begins what the first of them began.

        Each would find its own answer to whether an epoch was but looked at, as its trainer takes in what they had
        read ahead while they begin.

        Raises:
            ConfigError: The first worker does not begin.
        """
        until = time.monotonic() + _PATIENCE
        while (attempt := int(self._announced[1])) <= after:
            if time.monotonic() > until:
                raise ConfigError(f"worker 0 began no epoch for {_PATIENCE} s, while another one of its loader does")
            time.sleep(0.001)
        return attempt, int(self._announced[0])

    @property
    def is_read_by_workers(self) -> bool:
        """Whether DataLoader workers have begun an epoch."""
        return bool((self._begun.numpy() % (1 << _PROCESS_BITS)).any())

    def is_in(self, epoch: int) -> bool:
        """Whether that is the epoch that was begun last."""
        return int(self._begun[0]) >> _PROCESS_BITS == epoch + 1

    def begin_epoch(self, worker: int, process: int, again: int | None = None) -> tuple[int, int, int]:
        """Begin the next epoch in a worker: its number, and the positions that it spans, from where it goes on.

        Args:
            worker: Number of the worker within its rank.
            process: Process id of a DataLoader worker, 0 for the trainer itself.
            again: An epoch that is begun once more instead of the one after it.
        """
        if worker >= MAX_WORKERS:
            raise ConfigError(f"num_workers={worker + 1} or more; at most {MAX_WORKERS} are supported")
        epoch = self._next_epoch(worker)
        epoch -= epoch - 1 == again
        self._begun[worker] = (epoch + 1 << _PROCESS_BITS) + process
        return epoch, self.epoch_start(epoch) + self._offset(epoch), self.epoch_start(epoch + 1)

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
        return start if epoch <= resumed else end + (epoch - resumed - 1) * int(self._dealt[0])

    def sequences_in(self, epoch: int) -> int:
        """Sequences that an epoch has, or had from where it was resumed."""
        return self.epoch_start(epoch + 1) - self.epoch_start(epoch) - self._offset(epoch)

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

    def resume(self, epoch: int, sample: int, start: int, worker: int | None = None) -> None:
        """Go on at ``sample`` of ``epoch``, which began at position ``start``: all workers, or one that is told so.

        What is left of the epoch is rounded up to whole global batches, which may have another size than before.
        """
        self._set_resume(epoch, sample, start)
        self._begun[slice(None) if worker is None else worker] = epoch << _PROCESS_BITS
        self._inherited = Delivery(0, 0, 0, 0)
        self._delivered[:] = 0

    def _set_resume(self, epoch: int, sample: int, start: int) -> None:
        epoch_sequences, global_batch = self._dealt.tolist()
        batches_left = -(-max(epoch_sequences - sample, 0) // global_batch)
        self._resume[:] = torch.tensor([epoch, sample, start, start + sample + batches_left * global_batch])

    def add_waited(self, worker: int, seconds: float) -> None:
        """Note that a worker waited for generations."""
        self._waited[worker] += seconds

    @property
    def waited_seconds(self) -> float:
        """Seconds that the worker that waited longest did so."""
        return float(self._waited.max())

    def _offset(self, epoch: int) -> int:
        return int(self._resume[_SAMPLE]) if epoch == int(self._resume[_EPOCH]) else 0


#: Those of this process, by name: batches that arrive from workers say whose they are.
_cursors: "WeakValueDictionary[int, Cursor]" = WeakValueDictionary()


def deliver(dealt: Dealt | None, sequences: int) -> None:
    """Note in the trainer that sequences arrived from a worker."""
    if dealt and (cursor := _cursors.get(dealt.cursor)):
        cursor.deliver(dealt, sequences)
