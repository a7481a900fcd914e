"""Reading ahead: sequences of a window share records, so that many of them are read at a time."""

from collections.abc import Iterator
from functools import cached_property

from torch.utils.data import get_worker_info

from streamdocs.arrays import Ints
from streamdocs.assembly import Assembler
from streamdocs.exchange import Exchange
from streamdocs.ledger import Ledger
from streamdocs.run import Run
from streamdocs.sequences import Sequences, SequencesShape
from streamdocs.watchdog import end_with_parent

#: Most tokens that are read at a time, 8 or 16 MB of them.
_READ_AHEAD = 1 << 22


class Reader:
    """Reads the sequences of a process, whole batches of them at a time.

    Args:
        run, ledger: What is read; no ledger where nothing synthetic is.
        batch_size: Sequences a batch.
        documents: Whether also the document of each token is told.
    """

    def __init__(self, run: Run, ledger: Ledger | None, batch_size: int, *, documents: bool) -> None:
        length = run.mixture.max_seq_len
        self.assembler = Assembler(run, ledger)
        self._most = batch_size * max(_READ_AHEAD // (length * batch_size), 1)
        self._shape = SequencesShape(self._most, length, run.corpus.dtype.name, documents)

    def read(self, positions: Ints) -> Iterator[Sequences]:
        """The sequences at some positions, some at a time; in a DataLoader worker, where its trainer can read them."""
        exchange = None
        if get_worker_info():
            exchange = self._exchange
            end_with_parent()
        for first in range(0, len(positions), self._most):
            some = positions[first : first + self._most]
            yield self.assembler.read(some, documents=self._shape.documents, exchange=exchange)

    @cached_property
    def _exchange(self) -> Exchange:
        return Exchange(self._shape.nbytes)
