"""A change of a store that somebody wants, and whose turn it is."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

from streamdocs.errors import StoreError
from streamdocs.store.base import Table
from streamdocs.store.shared.replica import View

_T = TypeVar("_T")


class Ticket(Generic[_T]):
    """A change that somebody wants, and maybe does not wait for."""

    def __init__(self, change: Callable[[View], _T], *, alone: bool = False) -> None:
        self.change = change
        self.alone = alone
        self.done = False
        self.found: _T | None = None
        self.error: Exception | None = None

    def evaluate(self, view: View) -> None:
        """Note in a view what it changes."""
        try:
            self.found = self.change(view)
        except Exception as error:
            self.error = error


def adding(table: Table, entries: Mapping[bytes, bytes]) -> Callable[[View], int]:
    """The change that writes those entries whose key is not there yet."""
    return lambda view: view.add(table, entries)


@contextmanager
def held(lock: threading.Lock, seconds: float, location: str) -> Iterator[None]:
    """Hold a lock of a store, for which other threads wait at most so many seconds."""
    if not lock.acquire(timeout=seconds):
        raise StoreError(f"store {location}: another thread has been writing for {seconds:.0f} s")
    try:
        yield
    finally:
        lock.release()
