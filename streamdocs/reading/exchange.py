"""Memory in which DataLoader workers hand tokens to their trainer, so that only numbers go through PyTorch's queue.

That queue is a pipe: it would copy every token six times, and is full after two batches. A segment is anonymous memory
of the worker (memfd): it needs no room in /dev/shm, has no name, and is gone with the last process that maps it.
"""

import mmap
import os
import secrets
from collections import deque
from typing import NamedTuple
from weakref import ref

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Bools, Ints, Tokens
from streamdocs.errors import WorkerGoneError
from streamdocs.reading.cursor import Dealt

#: Before the rows of a segment: how many of the batches that were sent the trainer has taken.
_HEADER_BYTES = 64


class Sequences(NamedTuple):
    """Sequences as they are read.

    tokens: uint16 or uint32 (sequences, max_seq_len). synthetic: bool (sequences,). stream: uint8 (sequences,).
    position: int64 (sequences,), of the run.
    document: uint16 or uint32 (sequences, max_seq_len), each token's document, counted within its sequence; None unless
        asked.
    masked: bool (sequences, max_seq_len), tokens that are not to be learned; None unless asked.
    dealt: Which epoch of which dataset they are; None where they were asked for by position.
    lease: Of the rows that they lie in, where a trainer shares them; there are others around them then.
    """

    tokens: Tokens
    synthetic: Bools
    stream: npt.NDArray[np.uint8]
    position: Ints
    document: Tokens | None = None
    masked: Bools | None = None
    lease: "Lease | None" = None
    dealt: Dealt | None = None

    @property
    def rows(self) -> Ints:
        """int64 (sequences,): in which row each lies."""
        return self.lease.rows if self.lease else np.arange(len(self.tokens))


class SequencesShape(NamedTuple):
    """What sequences take in memory.

    rows, length: Sequences, and tokens of each. token_type: Their dtype. documents, masks: Whether they have
    ``document`` and ``masked``.
    """

    rows: int
    length: int
    token_type: str
    documents: bool
    masks: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes in all."""
        per_token = np.dtype(self.token_type).itemsize + self.documents * np.dtype(self._document_type).itemsize
        per_token += self.masks
        return self.rows * (self.length * per_token + 10)

    def over(self, memory: memoryview, first: int = 0, count: int | None = None) -> Sequences:
        """The ``count`` sequences from the ``first`` on (default all) of those that lie in ``memory``."""
        shape, size = (self.rows - first if count is None else count, self.length), np.dtype(self.token_type).itemsize
        begin = self.rows * self.length * size  # of the next column
        tokens: Tokens = np.ndarray(shape, self.token_type, memory, first * self.length * size)
        document: Tokens | None = None
        masked: Bools | None = None
        if self.documents:
            size = np.dtype(self._document_type).itemsize
            document = np.ndarray(shape, self._document_type, memory, begin + first * self.length * size)
            begin += self.rows * self.length * size
        if self.masks:
            masked = np.ndarray(shape, np.bool_, memory, begin + first * self.length)
            begin += self.rows * self.length
        synthetic: Bools = np.ndarray(shape[:1], np.bool_, memory, begin + first)
        stream: npt.NDArray[np.uint8] = np.ndarray(shape[:1], np.uint8, memory, begin + self.rows + first)
        position: Ints = np.ndarray(shape[:1], np.int64, memory, begin + 2 * self.rows + 8 * first)
        return Sequences(tokens, synthetic, stream, position, document, masked)

    @property
    def _document_type(self) -> str:
        return "uint16" if self.length <= 1 << 16 else "uint32"


class Address(NamedTuple):
    """Where another process finds a segment: the file descriptor of a process. ``name`` is never used twice."""

    name: int
    process: int
    descriptor: int


class MemoryFile:
    """Memory that one process writes and another one reads.

    Args:
        descriptor: Of a memory file.
        address: Where others find it.
    """

    def __init__(self, descriptor: int, address: Address) -> None:
        self.address = address
        memory = memoryview(mmap.mmap(descriptor, 0))
        self.taken = memory[:8].cast("q")
        self.body = memory[_HEADER_BYTES:]

    @classmethod
    def make(cls, size: int) -> "MemoryFile":
        """One of this process, with ``size`` bytes, which take memory as they are used."""
        name = secrets.randbits(63)
        descriptor = os.memfd_create(_file_name(name))  # stays open: the trainer finds the segment by it
        os.ftruncate(descriptor, _HEADER_BYTES + size)
        return cls(descriptor, Address(name, os.getpid(), descriptor))


class Lease:
    """The use of some rows of a ring, for as long as this is alive.

    Args:
        ring: Whose.
        first: The first of them, counted from the beginning.
        count: How many there are.
    """

    def __init__(self, ring: "Ring", first: int, count: int) -> None:
        self._ring = ring
        self._first = first
        self.shape = ring.shape
        #: int64 (rows,): where in the ring each is.
        self.rows: Ints = np.arange(first, first + count) % ring.shape.rows

    @property
    def sequences(self) -> Sequences:
        """What is in the ring, of which these rows may be written."""
        return self.shape.over(self._ring.segment.body)._replace(lease=self)

    def send(self, row: int) -> Address:
        """Note that a batch is sent which begins in this row of the ring; where the trainer finds it."""
        self._ring.sent.append(self._first + (row - self._first) % self.shape.rows)
        return self._ring.segment.address


class Ring:
    """Memory of a worker for some sequences, round and round: it goes on after those that the trainer has yet to take.

    Args:
        shape: What it holds.
    """

    def __init__(self, shape: SequencesShape) -> None:
        self.shape = shape
        self.segment = MemoryFile.make(shape.nbytes)
        #: The first row of each batch that was sent, less those that were seen to be taken; counted from the beginning.
        self.sent: deque[int] = deque()
        self._seen = 0
        self._next = 0
        self._lease: ref[Lease] | None = None

    def lease(self, most: int) -> Lease | None:
        """At most ``most`` rows to write; None where what is in them is needed, here or by the trainer."""
        if self._lease and self._lease():
            return None
        while self._seen < self.segment.taken[0]:
            self.sent.popleft()
            self._seen += 1
        count = min(most, self.shape.rows - (self._next - min(self.sent, default=self._next)))
        if not count:
            return None
        lease = Lease(self, self._next, count)
        self._lease = ref(lease)
        self._next += count
        return lease


def can_share() -> bool:
    """Whether this is Linux, and a process and its parent may open each other's files."""
    try:
        os.listdir(f"/proc/{os.getppid()}/fd")
    except OSError:
        return False
    return hasattr(os, "memfd_create")


_attached: dict[int, MemoryFile] = {}


def attach(address: Address) -> MemoryFile:
    """The segment of a worker, in its trainer.

    Raises:
        WorkerGoneError: The worker was killed after it had sent a batch, and before that was taken.
    """
    segment = _attached.get(address.name)
    if segment is None:
        for name, other in list(_attached.items()):
            if not os.path.exists(f"/proc/{other.address.process}"):
                _attached.pop(name, None)  # another thread may have been faster
        descriptor = _open(address)
        segment = _attached[address.name] = MemoryFile(descriptor, address)
        os.close(descriptor)
    return segment


def _open(address: Address) -> int:
    path = f"/proc/{address.process}/fd/{address.descriptor}"
    try:
        # Another process may have that number by now.
        if _file_name(address.name) in os.readlink(path):
            return os.open(path, os.O_RDWR)
    except OSError:
        pass
    raise WorkerGoneError(
        f"DataLoader worker {address.process} was killed before a batch that it had read was taken from it: look for "
        "what killed it (most often too little memory), and go on from the last checkpoint"
    )


def _file_name(name: int) -> str:
    return f"streamdocs-{name:016x}"
