"""Remembering what a method returned."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar
from weakref import WeakMethod

_T = TypeVar("_T")


def remember(method: Callable[..., _T], most: int) -> Callable[..., _T]:
    """A bound method that remembers its last ``most`` results.

    Without the cycle of references that ``lru_cache`` would make: an open store, of which a process can have some
    thirty, would otherwise stay open until the garbage collector happens to come by.
    """
    reference = WeakMethod(method)

    def call(*arguments: object) -> _T:
        alive = reference()
        assert alive is not None  # whoever calls this holds its object
        return alive(*arguments)

    return lru_cache(maxsize=most)(call)
