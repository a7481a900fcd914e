"""A change of a store that somebody wants."""

from collections.abc import Callable
from typing import Generic, TypeVar

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
