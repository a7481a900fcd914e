"""Names for the arrays and numbers that are passed around, and what is done to them in several places."""

from typing import Annotated, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field

Bools: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
#: Where many are kept.
Int32s: TypeAlias = npt.NDArray[np.int32]
#: uint16 or uint32, by the size of the vocabulary.
Tokens: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
#: What is counted: an integer that fits an array, also where it comes from outside.
Count: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 62)]


def runs(values: Ints) -> tuple[Ints, Ints]:
    """Of numbers from 0 on, where each run of the same one begins, and int64 (values,): which run each is in."""
    begins = np.diff(values, prepend=-1) != 0
    return np.flatnonzero(begins), np.cumsum(begins) - 1
