"""Writes one split of a corpus: MDS shards and ``documents.npy``."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from streaming import MDSWriter

from streamdocs._base.arrays import Tokens
from streamdocs._base.hashing import TEXT_DIGEST_BYTES
from streamdocs.corpus.files import DOCUMENT_DTYPE, DOCUMENTS_FILE, split_digest, tokens_checksum

_ROW = f"<II{TEXT_DIGEST_BYTES}sQ"  # of DOCUMENT_DTYPE


class _Shards(MDSWriter):
    def flush_shard(self) -> None:
        # The base class writes an empty shard before a first document that is larger than a shard.
        if self.new_samples:
            super().flush_shard()


class SplitWriter:
    """Writes documents in the order in which they come; ``finish`` completes the split, ``close`` always ends it."""

    def __init__(self, folder: Path, dtype: str, shard_bytes: int) -> None:
        self._folder = folder
        columns = {"text": "str", "tokens": f"ndarray:{dtype}"}
        self._shards = _Shards(columns=columns, out=str(folder), size_limit=shard_bytes, max_workers=1)
        self._rows = bytearray()
        self._tokens = self._text_bytes = 0

    def write(self, text: str, tokens: Tokens, digest: bytes) -> None:
        """Write one document."""
        text_bytes = len(text.encode())
        self._shards.write({"text": text, "tokens": tokens})
        self._rows += struct.pack(_ROW, len(tokens), text_bytes, digest, tokens_checksum(tokens.data))
        self._tokens += len(tokens)
        self._text_bytes += text_bytes

    def finish(self, tokenizer_digest: str) -> dict[str, Any]:
        """Write what is left and the indexes; the split's section of ``corpus.json``."""
        self._shards.finish()
        documents = np.frombuffer(self._rows, DOCUMENT_DTYPE)
        np.save(self._folder / DOCUMENTS_FILE, documents)
        counts = {"documents": len(documents), "tokens": self._tokens, "text_bytes": self._text_bytes}
        return {**counts, "digest": split_digest(self._folder, tokenizer_digest)}

    def close(self) -> None:
        """Stop the writer's threads; without ``finish`` the split stays incomplete."""
        self._shards.cancel_future_jobs()
