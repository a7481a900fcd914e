"""Sequences that were read together."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamdocs._base.arrays import Bools, Ints, Tokens

if TYPE_CHECKING:
    from streamdocs.reading.exchange import Lease


class Sequences(NamedTuple):
    """Sequences as they are read.

    tokens: uint16 or uint32 (sequences, max_seq_len). synthetic: bool (sequences,).
    document: uint16 or uint32 (sequences, max_seq_len), each token's document, counted within its sequence; None unless
        asked.
    lease: Of the rows that they lie in, where a trainer shares them; there are others around them then.
    """

    tokens: Tokens
    synthetic: Bools
    document: Tokens | None = None
    lease: "Lease | None" = None

    @property
    def rows(self) -> Ints:
        """int64 (sequences,): in which row each lies."""
        return self.lease.rows if self.lease else np.arange(len(self.tokens))


class SequencesShape(NamedTuple):
    """What sequences take in memory.

    rows, length: Sequences, and tokens of each. token_type: Their dtype. documents: Whether they have ``document``.
    """

    rows: int
    length: int
    token_type: str
    documents: bool

    @property
    def nbytes(self) -> int:
        """Bytes in all."""
        per_token = np.dtype(self.token_type).itemsize + self.documents * np.dtype(self._document_type).itemsize
        return self.rows * (self.length * per_token + 1)

    def over(self, memory: memoryview, first: int = 0, count: int | None = None) -> Sequences:
        """The ``count`` sequences from the ``first`` on (default all) of those that lie in ``memory``."""
        shape, size = (self.rows - first if count is None else count, self.length), np.dtype(self.token_type).itemsize
        begin = self.rows * self.length * size  # of the next column
        tokens: Tokens = np.ndarray(shape, self.token_type, memory, first * self.length * size)
        document: Tokens | None = None
        if self.documents:
            size = np.dtype(self._document_type).itemsize
            document = np.ndarray(shape, self._document_type, memory, begin + first * self.length * size)
            begin += self.rows * self.length * size
        return Sequences(tokens, np.ndarray(shape[:1], np.bool_, memory, begin + first), document)

    @property
    def _document_type(self) -> str:
        return "uint16" if self.length <= 1 << 16 else "uint32"
