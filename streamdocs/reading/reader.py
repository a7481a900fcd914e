"""Reading the sequences of a process: whole batches of them at a time, where its trainer finds them."""

from collections.abc import Container, Iterator, Mapping
from functools import cached_property

from torch.utils.data import get_worker_info

from streamdocs._base.arrays import Ints
from streamdocs.ledger.ledger import Ledger
from streamdocs.reading.assembly import Assembler
from streamdocs.reading.exchange import Ring, Sequences, SequencesShape, can_share
from streamdocs.run import Run

#: Most tokens that are read at a time, 8 or 16 MB of them.
_READ_AHEAD = 1 << 22
#: Batches that the trainer may still have to take while the next ones are read: PyTorch asks for two.
_SLACK = 4


class Reader:
    """Reads the sequences of a process, whole batches of them at a time.

    Args:
        run, ledgers: What is read, and the sealed windows of its synthetic streams.
        batch_size, global_batch: Sequences a batch, of this rank and over all ranks that read different ones.
        documents: Whether also the document of each token is told.
        masks: Kinds of tokens that are not to be learned.
    """

    def __init__(
        self,
        run: Run,
        ledgers: Mapping[str, Ledger],
        batch_size: int,
        global_batch: int,
        *,
        documents: bool,
        masks: Container[str],
    ) -> None:
        self.assembler = Assembler(run, ledgers)
        self._run = run
        self._batch_size = batch_size
        self._global_batch = global_batch
        self._documents = documents
        self._masks = masks
        self._most = batch_size * max(_READ_AHEAD // (run.mixture.max_seq_len * batch_size), 1)

    def read(self, positions: Ints) -> Iterator[Sequences]:
        """The sequences at some positions, some at a time: what is read must be let go before the next.

        In a DataLoader worker they lie where its trainer can read them, as long as there is room for them.
        """
        ring = self._ring if get_worker_info() else None
        while len(positions):
            sequences = self._read_some(positions, ring)
            positions = positions[len(sequences.rows) :]
            yield sequences
            del sequences

    def _read_some(self, positions: Ints, ring: Ring | None) -> Sequences:
        lease = ring.lease(min(self._most, len(positions))) if ring else None
        some = positions[: len(lease.rows) if lease else self._most]
        return self.assembler.read(some, documents=self._documents, masks=self._masks, lease=lease)

    @cached_property
    def _ring(self) -> Ring | None:
        """Room for a worker's part of a window; None where no memory can be shared."""
        worker = get_worker_info()
        if not (worker and can_share()):
            return None
        mixture = self._run.mixture
        batches = mixture.window // (self._global_batch * worker.num_workers) + 1
        rows = min(self._most, batches * self._batch_size) + _SLACK * self._batch_size
        return Ring(
            SequencesShape(rows, mixture.max_seq_len, self._run.corpus.dtype.name, self._documents, bool(self._masks))
        )
