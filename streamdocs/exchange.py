"""Memory in which DataLoader workers hand tokens to their trainer, so that only numbers go through PyTorch's queue.

That queue is a pipe: it would copy every token six times, and is full after two batches. A segment is anonymous memory
of the worker (memfd): it needs no room in /dev/shm, has no name, and is gone with the last process that maps it.
"""

import mmap
import os
import secrets
from typing import NamedTuple
from weakref import ref

from streamdocs.errors import WorkerGoneError

#: Before the body of a segment: how many of the batches that were sent the trainer has taken.
_HEADER_BYTES = 64
#: One is read from while the next one is filled; a third for a batch that reaches from one into the next.
_MOST_SEGMENTS = 3


class Address(NamedTuple):
    """Where another process finds a segment: the file descriptor of a process. ``name`` is never used twice."""

    name: int
    process: int
    descriptor: int


class Segment:
    """Memory that one process writes and another one reads.

    Args:
        descriptor: Of a memory file.
        address: Where others find it.
    """

    def __init__(self, descriptor: int, address: Address) -> None:
        self.address = address
        #: Batches in it that were sent, known where they are written; those that were taken, to both.
        self.sent = 0
        self.lease: ref[Lease] | None = None
        memory = memoryview(mmap.mmap(descriptor, 0))
        self.taken = memory[:8].cast("q")
        self.body = memory[_HEADER_BYTES:]

    @property
    def free(self) -> bool:
        """Whether it may be written: nothing that was read into it is in use here or still to be taken."""
        return (self.lease is None or self.lease() is None) and self.sent == self.taken[0]


class Lease:
    """The use of a segment, for as long as this is alive."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        segment.lease = ref(self)


class Exchange:
    """The segments of a worker.

    Args:
        size: Bytes of each; they take memory as they are used.
    """

    def __init__(self, size: int) -> None:
        self._size = size if _is_possible() else 0
        self._segments: list[Segment] = []

    def lease(self, size: int) -> Lease | None:
        """A segment to read ``size`` bytes into; None where there is no free one, or this system has none."""
        if size > self._size:
            return None
        for segment in self._segments:
            if segment.free:
                return Lease(segment)
        if len(self._segments) == _MOST_SEGMENTS:
            return None
        name = secrets.randbits(63)
        descriptor = os.memfd_create(_file_name(name))  # stays open: the trainer finds the segment by it
        os.ftruncate(descriptor, _HEADER_BYTES + self._size)
        self._segments.append(Segment(descriptor, Address(name, os.getpid(), descriptor)))
        return Lease(self._segments[-1])


def _is_possible() -> bool:
    """Whether this is Linux, and a process and its parent may open each other's files."""
    try:
        os.listdir(f"/proc/{os.getppid()}/fd")
    except OSError:
        return False
    return hasattr(os, "memfd_create")


_attached: dict[int, Segment] = {}


def attach(address: Address) -> Segment:
    """The segment of a worker, in its trainer.

    Raises:
        WorkerGoneError: The worker was killed after it had sent a batch, and before that was taken.
    """
    segment = _attached.get(address.name)
    if segment is None:
        for name, other in list(_attached.items()):
            if not os.path.exists(f"/proc/{other.address.process}"):
                del _attached[name]
        descriptor = _open(address)
        segment = _attached[address.name] = Segment(descriptor, address)
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
