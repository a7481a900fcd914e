"""Objects whose requests are repeated until they are answered, and counted."""

import copy
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from streamdocs.errors import StoreError
from streamdocs.store.objects.base import BusyError, Listed, Objects, RefusedError

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Seconds: the first and the longest bound below which a pause is drawn.
_PAUSES = (0.1, 5.0)
_TELL_AFTER = 5


class ReliableObjects:
    """The objects of a store, of as many requests as it takes.

    Args:
        objects: Each of one request.
        patience: Seconds for which a request is repeated.

    Raises:
        StoreError: A request was refused, or not answered in time.
    """

    def __init__(self, objects: Objects, patience: float) -> None:
        self.location = objects.location
        self._objects = objects
        self.patience = patience
        #: How many requests there were, by what was asked for and what became of it: "done", "busy" or "refused".
        self.requests: Counter[tuple[str, str]] = Counter()

    def within(self, patience: float) -> "ReliableObjects":
        """The same, of requests that are repeated for so long."""
        found = copy.copy(self)
        found.patience = patience
        return found

    def prepare(self) -> None:
        """Make where objects go, for a store that is begun."""
        self._reliably("create", self._objects.prepare)

    def create(self, name: str, data: bytes) -> bool:
        """Create an object unless one of that name is there; whether this did.

        False as well where a request was carried out without an answer: only what is in it tells whose it is.
        """
        return self._reliably("create", lambda: self._objects.create(name, data))

    def get(self, name: str) -> bytes | None:
        """All of an object; None where there is none."""
        return self._reliably("get", lambda: self._objects.get(name))

    def list(self, prefix: str) -> Iterator[Listed]:
        """Those whose names begin with a prefix, in the order of their names."""
        return iter(self._reliably("list", lambda: list(self._objects.list(prefix))))

    def delete(self, names: Sequence[str]) -> None:
        """Delete these, as far as they are there."""
        self._reliably("delete", lambda: self._objects.delete(names))

    def _reliably(self, what: str, request: Callable[[], _T]) -> _T:
        started, bound, tries = time.monotonic(), _PAUSES[0], 0
        while True:
            tries += 1
            try:
                found = request()
            except BusyError as error:
                self.requests[what, "busy"] += 1
                waited = time.monotonic() - started
                if waited > self.patience:
                    raise StoreError(
                        f"store {error}: not answered for {waited:.0f} s. What was written is in the store or in the "
                        "cache; start this again when the store can be reached"
                    ) from error
                if tries == _TELL_AFTER:
                    log.warning("store %s; trying for up to %.0f s", error, self.patience)
                time.sleep(random.uniform(0, bound))
                bound = min(2 * bound, _PAUSES[1])
            except RefusedError as error:
                self.requests[what, "refused"] += 1
                raise StoreError(f"store {error}") from error
            else:
                self.requests[what, "done"] += 1
                return found
