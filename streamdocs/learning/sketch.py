"""A sketch of what the student has yet to learn: two numbers for each document."""

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Ints
from streamdocs._base.hashing import digest128
from streamdocs.steering.reports import Losses


class Sketch:
    """By how much the loss on each document was above that of its stream, from reports of some windows in a row.

    Args:
        documents: Of the corpus.
        first: The first window.
    """

    def __init__(self, documents: int, first: int) -> None:
        #: The windows that were looked at: from the ``first`` to before ``stop``.
        self.first = self.stop = first
        #: Digest of all reports so far, 16 bytes.
        self.reports = bytes(16)
        # Nats above the mean, added up over tokens; and these tokens.
        self._above = np.zeros(documents, np.float32)
        self._tokens = np.zeros(documents, np.float32)

    def note(self, window: int, losses: Losses) -> None:
        """Note which reports are looked at."""
        self.reports = digest128(self.reports + window.to_bytes(8, "big") + losses.tobytes())

    def add(self, documents: Ints, tokens: Ints, sums: npt.NDArray[np.float64]) -> None:
        """Add what was lost on some tokens of one stream in one window.

        Args:
            documents: int64 (documents,), each once.
            tokens, sums: (documents,), tokens of each, and their losses in nats added up.
        """
        mean = sums.sum() / tokens.sum()
        self._above[documents] += (sums - mean * tokens).astype(np.float32)
        self._tokens[documents] += tokens

    def excess(self, few: float) -> npt.NDArray[np.float32]:
        """float32 (documents,): mean loss of each above that of what was read beside it, NaN where nothing is known.

        It is taken for the less, the fewer tokens are behind it: of ``few`` tokens for half.
        """
        with np.errstate(invalid="ignore"):
            found: npt.NDArray[np.float32] = np.where(self._tokens > 0, self._above / (self._tokens + few), np.nan)
        return found
