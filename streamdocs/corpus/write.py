"""Writes one split of a corpus: MDS shards, ``documents.npy``, and the columns that are kept."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from streaming import MDSWriter

from streamdocs._base.arrays import Tokens
from streamdocs._base.hashing import TEXT_DIGEST_BYTES
from streamdocs.corpus.columns.file import ColumnWriter
from streamdocs.corpus.columns.values import Keeping, Value
from streamdocs.corpus.files import COLUMNS_FOLDER, DOCUMENT_DTYPE, DOCUMENTS_FILE, split_digest, tokens_checksum

_ROW = f"<II{TEXT_DIGEST_BYTES}sQ"  # of DOCUMENT_DTYPE


class _Shards(MDSWriter):
    def flush_shard(self) -> None:
        # The base class writes an empty shard before a first document that is larger than a shard.
        if self.new_samples:
            super().flush_shard()


class SplitWriter:
    """Writes documents in the order in which they come; ``finish`` completes the split, ``close`` always ends it.

    Args:
        folder: Where to.
        dtype: Of tokens.
        shard_bytes: Most bytes of a shard.
        keeping: The columns that are kept.
    """

    def __init__(self, folder: Path, dtype: str, shard_bytes: int, keeping: Keeping) -> None:
        self._folder = folder
        self._keeping = keeping
        columns = {"text": "str", "tokens": f"ndarray:{dtype}"}
        self._shards = _Shards(columns=columns, out=str(folder), size_limit=shard_bytes, max_workers=1)
        # Named by number: a field may be called whatever it likes.
        self._columns = [
            ColumnWriter(folder / COLUMNS_FOLDER / f"{number}.arrow") for number in range(len(keeping.names))
        ]
        if self._columns:
            (folder / COLUMNS_FOLDER).mkdir()
        self._rows = bytearray()
        self._tokens = self._text_bytes = 0

    def write(self, text: str, tokens: Tokens, digest: bytes, kept: Sequence[Value]) -> None:
        """Write one document, with what its row has in each column."""
        text_bytes = len(text.encode())
        self._shards.write({"text": text, "tokens": tokens})
        self._rows += struct.pack(_ROW, len(tokens), text_bytes, digest, tokens_checksum(tokens.data))
        for column, value in zip(self._columns, self._keeping.take(kept), strict=True):
            column.write(value)
        self._tokens += len(tokens)
        self._text_bytes += text_bytes

    def finish(self, tokenizer_digest: str) -> dict[str, Any]:
        """Write what is left and the indexes; the split's section of ``corpus.json``.

        Raises:
            CorpusError: Some column has no value in any split.
        """
        self._shards.finish()
        documents = np.frombuffer(self._rows, DOCUMENT_DTYPE)
        np.save(self._folder / DOCUMENTS_FILE, documents)
        counts = {"documents": len(documents), "tokens": self._tokens, "text_bytes": self._text_bytes}
        section = {**counts, "digest": split_digest(self._folder, tokenizer_digest)}
        if self._columns:
            named = zip(self._keeping.names, self._columns, self._keeping.kinds, strict=True)
            section["columns"] = {name: column.finish(kind) for name, column, kind in named}
        return section

    def close(self) -> None:
        """Stop the writer's threads and close its files; without ``finish`` the split stays incomplete."""
        self._shards.cancel_future_jobs()
        for column in self._columns:
            column.close()
