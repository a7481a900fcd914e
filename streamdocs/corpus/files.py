"""The layout of a corpus folder: names, dtypes, digests, and what reads them back.

corpus.json      format, tokenizer, splits, report
tokenizer.json   a Hugging Face tokenizers file
train/           MDS shards, index.json and documents.npy; holdout/ is the same, where there is any
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamdocs.errors import CorpusError
from streamdocs.hashing import digest128

FORMAT = 1
INDEX_FILE = "corpus.json"
TOKENIZER_FILE = "tokenizer.json"
DOCUMENTS_FILE = "documents.npy"
DOCUMENT_DTYPE = np.dtype([("tokens", "<u4"), ("text_bytes", "<u4"), ("digest", "V16")])


def document_digest(text: str) -> bytes:
    """The identity of a document: 16 bytes, xxh3-128 of its UTF-8 text, big-endian."""
    return digest128(text.encode())


def is_held_out(digest: bytes, share: float) -> bool:
    """Whether a document belongs to the hold-out; depends on its text alone, not on its place in the input."""
    return int.from_bytes(digest[:8], "big") / 2**64 < share


def split_digest(folder: Path, tokenizer_digest: str) -> str:
    """The identity of a split, as 32 hexadecimal digits: its documents, their order and the tokenizer."""
    documents = (folder / DOCUMENTS_FILE).read_bytes()
    return digest128(documents + bytes.fromhex(tokenizer_digest)).hex()


def load_documents(corpus: str | Path, split: str = "train") -> npt.NDArray[np.void]:
    """One row of ``DOCUMENT_DTYPE`` a document, in shard order, mapped from the file and read-only.

    Raises ``CorpusError`` where the split is missing or is not what this version writes.
    """
    path = Path(corpus) / split / DOCUMENTS_FILE
    try:
        documents: npt.NDArray[np.void] = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read ({error}): run `streamdocs prepare` again") from error
    if documents.dtype != DOCUMENT_DTYPE:
        raise CorpusError(f"{path} has columns {documents.dtype}, not {DOCUMENT_DTYPE}: run `streamdocs prepare` again")
    return documents


def load_index(corpus: str | Path) -> dict[str, Any]:
    """The contents of ``corpus.json``; ``CorpusError`` where it is missing, damaged or of another format."""
    path = Path(corpus) / INDEX_FILE
    try:
        index = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CorpusError(f"{corpus} is not a corpus (no {INDEX_FILE}): make one with `streamdocs prepare`") from error
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read ({error}): run `streamdocs prepare` again") from error
    found = index.get("format") if isinstance(index, dict) else None
    if not isinstance(index, dict) or found != FORMAT:
        raise CorpusError(f"{path} has format {found!r}, this version reads {FORMAT}: run `streamdocs prepare` again")
    return index


def info(corpus: str | Path) -> dict[str, Any]:
    """What a corpus holds: ``corpus.json``, plus ``path``, ``disk_bytes`` and each split's ``mean_tokens``."""
    index = load_index(corpus)
    for split in index["splits"].values():
        split["mean_tokens"] = split["tokens"] / split["documents"]
    disk_bytes = sum(path.stat().st_size for path in Path(corpus).rglob("*") if path.is_file())
    return {"path": str(corpus), **index, "disk_bytes": disk_bytes}
