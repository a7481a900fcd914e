"""The log of a shared store: numbered objects, each created by one of all who tried."""

import copy
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from streamdocs.errors import StoreError
from streamdocs.store.objects.reliable import ReliableObjects
from streamdocs.store.shared.cache import Cache
from streamdocs.store.shared.entry import FOLD, Entry, damaged, pack_values, unpack_fold
from streamdocs.store.shared.replica import Replica

_A = TypeVar("_A")
_B = TypeVar("_B")

#: Entries that are asked for at a time. Who asks for so many is far behind.
_MOST = 32
# Anything else of such a prefix is somebody else's.
_NUMBER = re.compile(r"[0-9]{16}")


class Log:
    """Reads and appends entries.

    Args:
        objects: Where they are.
    """

    def __init__(self, objects: ReliableObjects) -> None:
        self._objects = objects
        #: Numbers of folds that may have to be written: whose last entry was appended here, or that were missed.
        self.unfolded: set[int] = set()

    def within(self, patience: float) -> "Log":
        """The same, of requests that are repeated for so long."""
        found = copy.copy(self)
        found._objects = self._objects.within(patience)
        return found

    def create(self, number: int, entry: Entry) -> bool:
        """Append an entry; False where there is one of that number: somebody else's, or this after all."""
        return self._objects.create(_name(number), entry.pack())

    def read(self, number: int, most: int) -> tuple[list[Entry], bool]:
        """The entries from a number on, about so many or a fold, and whether there may be more."""
        most = min(most, _MOST, FOLD - number % FOLD)
        packed = self._read_fold(number) if most == _MOST and number % FOLD == 0 else None
        if packed is None:
            packed = _whole(self._get_all(range(number, number + most)))
        return [self._entry(number + place, each) for place, each in enumerate(packed)], len(packed) >= most

    def length(self) -> int:
        """One more than the highest number of an entry that is there, from a listing of all: of many, many requests."""
        names = (each.name.removeprefix("log/") for each in self._objects.list("log/"))
        return max((int(name) + 1 for name in names if _NUMBER.fullmatch(name)), default=0)

    def check_whole(self, head: int, length: int) -> None:
        """Whether the entry after those that could be read is missing although there are later ones.

        Raises:
            StoreError: It is: what was appended now would stand before them.
        """
        if head < length:
            raise StoreError(
                f"store {self._objects.location}: entry {head} of its log is missing, and {length - 1} is there: "
                f"restore {_name(head)} and whatever else was deleted; no lifecycle rule may delete objects of a store"
            )

    def fold(self, head: int) -> None:
        """Keep the entries of each whole fold before a head as one object, where that is still to be done."""
        for number in sorted(self.unfolded):
            if (number + 1) * FOLD > head:
                continue
            if self._read_fold(number * FOLD) is None:
                packed = _whole(self._get_all(range(number * FOLD, (number + 1) * FOLD)))
                if len(packed) == FOLD:
                    self._objects.create(_fold_name(number), pack_values(packed))
            self.unfolded.discard(number)

    def _read_fold(self, number: int) -> Sequence[bytes] | None:
        name = _fold_name(number // FOLD)
        if (data := self._objects.get(name)) is None:
            self.unfolded.add(number // FOLD)  # who was to write it was killed, or it is not whole yet
            return None
        try:
            return unpack_fold(data)
        except ValueError as error:
            raise damaged(self._objects.location, name, error) from error

    def _get_all(self, numbers: range) -> Iterable[bytes | None]:
        return in_parallel(self._objects.get, list(map(_name, numbers)))

    def _entry(self, number: int, data: bytes) -> Entry:
        try:
            return Entry.unpack(data)
        except ValueError as error:
            raise damaged(self._objects.location, _name(number), error) from error


class Replay:
    """Replays a log in the replica of a node.

    Args:
        objects: Of the log.
        log: What is replayed.
        replica: Where.
        cache: Of the node.
        seen: How far the log was seen already.
    """

    def __init__(self, objects: ReliableObjects, log: Log, replica: Replica, cache: Cache, seen: int) -> None:
        self.replica = replica
        self.seen = seen
        self._objects, self._log, self._cache = objects, log, cache
        self._catching = threading.Lock()

    def catch_up(self, reading: Log | None = None) -> None:
        """Replay what is new; the first time also make sure that its beginning is there."""
        reading = reading or self._log
        with held(self._catching, 2 * self._objects.patience, self._objects.location):
            length = None if self.replica.is_whole else reading.length()
            most, is_more = 1, True
            while is_more:
                number = self.replica.head()
                entries, is_more = reading.read(number, most)
                if entries:
                    self.apply(number, entries)
                most *= 2
            if length is not None:
                reading.check_whole(self.replica.head(), length)
                self.replica.mark_whole()
            self._cache.followed()

    def apply(self, number: int, entries: Sequence[Entry]) -> None:
        """Replay entries that were read, or written, the first of which has a number."""
        self.replica.apply(number, entries)
        self.seen = max(self.seen, number + len(entries))


def in_parallel(work: Callable[[_A], _B], each: Sequence[_A]) -> list[_B]:
    """``work`` of each, some at a time."""
    if len(each) < 2:
        return list(map(work, each))
    # Not kept: its threads would be missing in a process that is forked from this one.
    with ThreadPoolExecutor(min(len(each), 16)) as pool:
        try:
            found = pool.map(work, each)
        except RuntimeError:  # this process ends, and begins no thread any more
            return list(map(work, each))
        return list(found)


@contextmanager
def held(lock: threading.Lock, seconds: float, location: str) -> Iterator[None]:
    """Hold a lock of a store, for which other threads wait at most so many seconds."""
    if not lock.acquire(timeout=seconds):
        raise StoreError(f"store {location}: another thread has been writing for {seconds:.0f} s")
    try:
        yield
    finally:
        lock.release()


def _whole(found: Iterable[bytes | None]) -> list[bytes]:
    """What is there without a gap."""
    packed = []
    for each in found:
        if each is None:
            break
        packed.append(each)
    return packed


def _name(number: int) -> str:
    return f"log/{number:016d}"


def _fold_name(number: int) -> str:
    return f"fold/{number:016d}"
