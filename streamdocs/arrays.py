"""Names for the arrays and numbers that are passed around."""

from typing import Annotated, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field

Bools: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.int64]
#: Where many are kept.
Int32s: TypeAlias = npt.NDArray[np.int32]
#: uint16 or uint32, by the size of the vocabulary.
Tokens: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
#: What is counted: an integer that fits an array, also where it comes from outside.
Count: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 62)]
