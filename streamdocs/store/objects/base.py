"""What an object store has to do, and how it says that it did not."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

#: The object that every store has, which says what it is.
FORMAT = "format"


class Listed(NamedTuple):
    """An object that is there: its name, and its bytes."""

    name: str
    size: int


class BusyError(Exception):
    """A request was not answered, or with "later": it may be sent again, and may have been carried out."""


class RefusedError(Exception):
    """A request was answered with "no": sent again, it would be once more. The message says what to do."""


class Objects(Protocol):
    """The objects of a store, each of one request. For any number of threads; usable after a fork.

    Every method may raise BusyError, or RefusedError.
    """

    location: str

    def prepare(self) -> None:
        """Make where objects go, where that can be made, for a store that is begun."""

    def create(self, name: str, data: bytes) -> bool:
        """Create an object unless one of that name is there; whether this did."""

    def get(self, name: str) -> bytes | None:
        """All of an object; None where there is none."""

    def list(self, prefix: str) -> Iterator[Listed]:
        """Those whose names begin with a prefix that ends in "/", in the order of their names."""

    def delete(self, names: Sequence[str]) -> None:
        """Delete these, as far as they are there."""
