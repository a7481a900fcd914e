"""Dealing: which positions of the run each process reads, in whole batches, and how far that has come."""

import logging
import os
from collections.abc import Iterator
from itertools import groupby

import numpy as np
from streaming.base.world import World
from torch.utils.data import get_worker_info

from streamdocs._base.arrays import Ints
from streamdocs.errors import ConfigError
from streamdocs.reading.cursor import READ_AHEAD, Cursor, Dealt
from streamdocs.reading.ranks import Ranks
from streamdocs.reading.saved_state import Place, SavedState

log = logging.getLogger(__name__)


class Dealer:
    """Deals sequences out: batch after batch to ranks, and those of a rank to its DataLoader workers, in turns.

    Args:
        batch_size: Sequences a batch and rank.
        replication: Consecutive ranks that read the same ones; default 1.
        given: Rank and number of ranks; (None, None) where torch.distributed or the environment say so.
        epoch_size: Sequences an epoch; rounded up to whole global batches, as the run is endless.
        evaluation: Every epoch reads the first sequences.
    """

    def __init__(
        self,
        batch_size: int,
        replication: int | None,
        given: tuple[int | None, int | None],
        epoch_size: int,
        *,
        evaluation: bool,
    ) -> None:
        self._batch_size = batch_size
        self._replication = 1 if replication is None else replication
        self._given = given
        self._wanted_epoch_size = epoch_size
        self._evaluation = evaluation
        self._ranks = self._find_ranks()
        self.cursor = Cursor(self.epoch_size, self.global_batch)
        # Of this process: epoch and position of the global batch that it reads first, and what it has yielded since.
        self._first: tuple[int, int] | None = None
        self._yielded = 0
        self._attempt = 0
        self._process = 0  # that of a DataLoader worker which has begun an epoch
        #: Of what is being read: which dataset and epoch it is, and in which batches it should be collated.
        self.dealt = Dealt(self.cursor.name, 0, 0, batch_size, 0, looks=False)
        # Whether a DataLoader worker, whose loader keeps states of its own, goes on there.
        self._resumed = False

    def _find_ranks(self) -> Ranks:
        found = Ranks.detect(*self._given)
        if self._replication < 1 or found.ranks % self._replication:
            raise ConfigError(f"replication={self._replication} does not divide the {found.ranks} ranks of this run")
        return found

    def look(self) -> None:
        """See again which rank this is: torch.distributed may have begun since.

        Raises:
            ConfigError: What is known contradicts itself, or ranks changed while sequences were read.
        """
        found, before = self._find_ranks(), self._ranks
        # A worker that was not forked knows nothing of torch.distributed, but what its trainer told it.
        if found[:2] == before[:2] or (get_worker_info() and found.source != "torch.distributed"):
            return
        self._ranks = found
        if not self.cursor.deal(self.epoch_size, self.global_batch):
            raise ConfigError(
                f"rank {before.rank} of {before.ranks} began to read, and is rank {found.rank} of {found.ranks} now "
                f"({found.source}): call init_process_group before anything is read"
            )

    @property
    def is_leader(self) -> bool:
        """Whether this is the first rank of all."""
        return self._ranks.rank == 0

    @property
    def world(self) -> World:
        """This process among those that read different sequences."""
        return self._ranks.world().replicate(self._replication).detect_workers()

    @property
    def global_batch(self) -> int:
        """Sequences a batch, over all ranks that read different ones."""
        return self._batch_size * self.world.num_ranks

    @property
    def epoch_size(self) -> int:
        """Sequences an epoch, over all ranks."""
        return -(-self._wanted_epoch_size // self.global_batch) * self.global_batch

    def epoch(self, window: int) -> Iterator[Ints]:
        """The positions of this process in the next epoch, those of some batches at a time.

        They come by the window, of ``window`` sequences, of their last row: batches that are ready do not wait for
        one that reaches into the next window. After a look at one batch, the same epoch begins again.
        """
        self.look()
        world = self.world
        position, stop = self._begin(world)
        starts = range(position + world.rank * self._batch_size, stop, self.global_batch * world.workers_per_rank)
        for _, group in groupby(starts, key=lambda start: (start + self._batch_size - 1) // window):
            yield np.add.outer(list(group), np.arange(self._batch_size)).ravel()

    def _begin(self, world: World) -> tuple[int, int]:
        """Begin the next epoch, or the last one anew: from which global batch to which position to read it."""
        worker, last = world.worker_of_rank, self.cursor.last_delivery()
        of_rank = self.cursor.sequences_in(last.epoch) // world.num_ranks
        process = os.getpid() if get_worker_info() else 0
        stays, self._process = process == self._process > 0, process
        left = 0 < last.sequences < of_rank and last.look > 0 and not self._evaluation
        # What workers that stay had read ahead was taken in since.
        looked = left and last.sequences <= last.look * (1 + READ_AHEAD * stays)
        again = last.epoch if looked else None
        if stays and worker:
            self._attempt, again = self.cursor.announced(after=self._attempt)
        else:
            self._attempt = max(self._attempt, last.attempt) + 1
        epoch, position, stop = self.cursor.begin_epoch(worker, process, again)
        if worker == 0:
            self.cursor.announce(self._attempt, epoch)
        if left and not looked and epoch == last.epoch + 1 and worker == 0:
            log.warning(
                "epoch %d was left after some %d of the %d sequences of this rank. What was left of it is not read: "
                "the next one begins at position %d",
                *(last.epoch, last.sequences, of_rank, position),
            )
        if self._evaluation:
            position, stop = 0, self.epoch_size
        looks = not self._resumed
        if not (self._resumed and self._first):
            self._first = epoch, position + worker * self.global_batch
        self._resumed, self._yielded = False, 0
        stands_for = 0 if worker else world.workers_per_rank
        self.dealt = Dealt(self.cursor.name, self._attempt, self._first[0], self._batch_size, stands_for, looks)
        return self._first[1], stop

    def count(self) -> None:
        """Note that a sequence is handed out by this process."""
        self._yielded += 1
        if not get_worker_info():
            self.cursor.deliver(self.dealt, 1)

    def place(self, num_samples: int | None, from_beginning: bool) -> Place:
        """Where the run stands: by what ``state_dict`` is given, or by what was handed out here.

        Raises:
            ConfigError: A loader counts what another one reads, or workers read ahead of what is counted.
        """
        if num_samples is None:
            return self._place_of_worker() if get_worker_info() else self._place_of_process()
        last = self.cursor.last_delivery()
        if not from_beginning:
            # StreamingDataLoader has multiplied by the ranks of the environment.
            num_samples = num_samples * self._ranks.ranks // World.detect().num_ranks
            if not num_samples and last.sequences > last.look and self.cursor.is_in(last.epoch):
                raise ConfigError(
                    f"the loader counted none of the {last.sequences} sequences that were read: another library made a "
                    "loader of its own of it. Save dataset.state_dict(sequences of this epoch trained on, True) instead"
                )
        epoch, sample = self.cursor.locate(num_samples, from_beginning)
        return Place(epoch, sample, self.cursor.epoch_start(epoch) + sample)

    def _place_of_process(self) -> Place:
        if self.cursor.is_read_by_workers:
            raise ConfigError(
                "DataLoader workers read ahead of what is trained on, so that the dataset cannot say where the run is: "
                "pass num_samples, or ask a loader that counts (StreamingDataLoader, torchdata's StatefulDataLoader)"
            )
        epoch, sample = self.cursor.locate(self._yielded * self.world.num_ranks, False)
        return Place(epoch, sample, self.cursor.epoch_start(epoch) + sample)

    def _place_of_worker(self) -> Place:
        world = self.world
        if self._first is None:
            epoch, sample = self.cursor.locate(0, False)
            position = self.cursor.epoch_start(epoch) + sample + world.worker_of_rank * self.global_batch
        else:
            epoch, position = self._first
            position += self._yielded // self._batch_size * self.global_batch * world.workers_per_rank
        sample = position - self.cursor.epoch_start(epoch)
        return Place(epoch, sample, position, (world.worker_of_rank, world.workers_per_rank))

    def resume(self, state: SavedState) -> None:
        """Go on where a state says.

        Raises:
            ConfigError: It is a DataLoader worker's, and this is another one.
        """
        self.look()
        world = self.world
        mine = (world.worker_of_rank, world.workers_per_rank) if get_worker_info() else None
        if state.worker != mine:
            raise ConfigError(
                f"the state is of {_who(state.worker)}, and this is {_who(mine)}: use the kind of loader that saved "
                "it, with as many workers"
            )
        self._first = None
        if mine:
            self.cursor.resume(state.epoch, 0, state.epoch_start, worker=world.worker_of_rank)
            self._first, self._resumed = (state.epoch, state.position), True
        else:
            self.cursor.resume(state.epoch, state.sample_in_epoch, state.epoch_start)
        self._yielded = 0


def _who(worker: tuple[int, int] | None) -> str:
    return f"DataLoader worker {worker[0]} of {worker[1]}" if worker else "a trainer"
