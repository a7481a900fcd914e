"""Names for the arrays that are passed around."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Bools: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.int64]
#: uint16 or uint32, by the size of the vocabulary.
Tokens: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
