"""The layout of a corpus folder: names, dtypes, digests, and what reads them back.

corpus.json      format, tokenizer with the tokens of marks, splits, report, and a checksum of all that
tokenizer.json   a Hugging Face tokenizers file
train/           MDS shards, index.json and documents.npy; holdout/ is the same, where there is any
train/columns/   a file for each column that is kept of the input's rows, where any is

Every byte that is read is covered: corpus.json has a checksum and the digests of the tokenizer, of each split's two
indexes and of each column; documents.npy has a checksum of every document's tokens and the digest of its text. Columns
are no part of a split's identity: a corpus with them has the same as one without.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from streamdocs._base.hashing import TEXT_DIGEST_BYTES, digest128, text_digest
from streamdocs._base.untrusted import load_json
from streamdocs.corpus.schema import check_index
from streamdocs.errors import CorpusError, reason

FORMAT = 2
INDEX_FILE = "corpus.json"
TOKENIZER_FILE = "tokenizer.json"
DOCUMENTS_FILE = "documents.npy"
SHARDS_FILE = "index.json"
COLUMNS_FOLDER = "columns"
#: What is wrong with a corpus is repaired in one way; without --overwrite what is there would be left as it is.
PREPARE_AGAIN = "fetch it again, or make it again with `streamdocs prepare --overwrite`"
DOCUMENT_DTYPE = np.dtype(
    [("tokens", "<u4"), ("text_bytes", "<u4"), ("digest", f"V{TEXT_DIGEST_BYTES}"), ("checksum", "<u8")]
)


def document_digest(text: str) -> bytes:
    """The identity of a document, 24 bytes: see ``text_digest``, of its UTF-8 text."""
    return text_digest(text.encode())


def tokens_checksum(tokens: memoryview) -> int:
    """xxh3-64 of a document's tokens, as they lie in its shard."""
    return xxhash.xxh3_64_intdigest(tokens)


def is_held_out(digest: bytes, share: float) -> bool:
    """Whether a document belongs to the hold-out; depends on its text alone, not on its place in the input."""
    return int.from_bytes(digest[:8], "big") / 2**64 < share


def split_digest(folder: Path, tokenizer_digest: str) -> str:
    """The identity of a split, as 32 hexadecimal digits: its documents, how they lie in shards, and the tokenizer."""
    indexes = [np.memmap(folder / file, mode="r") for file in (DOCUMENTS_FILE, SHARDS_FILE)]
    return digest128(b"".join(digest128(each.data) for each in indexes) + bytes.fromhex(tokenizer_digest)).hex()


def check_split(corpus: Path, split: str, index: dict[str, Any]) -> None:
    """Make sure that the indexes of a split are those that ``corpus.json`` was written with.

    Raises:
        CorpusError: They are missing, damaged, or another corpus's.
    """
    folder = corpus / split
    try:
        found = split_digest(folder, index["tokenizer"]["digest"])
    except (OSError, ValueError) as error:
        raise CorpusError(f"{folder} cannot be read ({reason(error)}): {PREPARE_AGAIN}") from error
    if found != index["splits"][split]["digest"]:
        raise CorpusError(
            f"{folder}: {DOCUMENTS_FILE} or {SHARDS_FILE} is damaged, or from another corpus than {INDEX_FILE}: "
            f"{PREPARE_AGAIN}"
        )


def load_documents(corpus: str | Path, split: str = "train") -> npt.NDArray[np.void]:
    """One row of ``DOCUMENT_DTYPE`` a document, in shard order, mapped from the file and read-only.

    Raises ``CorpusError`` where the split is missing or is not what this version writes.
    """
    path = Path(corpus) / split / DOCUMENTS_FILE
    try:
        documents: npt.NDArray[np.void] = np.load(path, mmap_mode="r")
    except Exception as error:  # NumPy parses its header as Python, which raises whatever comes up
        raise CorpusError(f"{path} cannot be read ({reason(error)}): {PREPARE_AGAIN}") from error
    if not isinstance(documents, np.ndarray) or documents.ndim != 1:  # an archive of arrays, say
        raise CorpusError(f"{path} is not a row of documents: {PREPARE_AGAIN}")
    if documents.dtype != DOCUMENT_DTYPE:
        raise CorpusError(f"{path} has columns {documents.dtype}, not {DOCUMENT_DTYPE}: {PREPARE_AGAIN}")
    return documents


def save_index(corpus: Path, index: dict[str, Any]) -> None:
    """Write ``corpus.json``, with a checksum of what is in it."""
    (corpus / INDEX_FILE).write_text(json.dumps({**index, "checksum": _checksum(index)}, indent=2))


def load_index(corpus: str | Path) -> dict[str, Any]:
    """The contents of ``corpus.json``; ``CorpusError`` where it is missing, damaged or of another format."""
    path = Path(corpus) / INDEX_FILE
    try:
        index = load_json(path.read_bytes())
    except FileNotFoundError as error:
        raise CorpusError(f"{corpus} is not a corpus (no {INDEX_FILE}): make one with `streamdocs prepare`") from error
    except NotADirectoryError as error:
        raise CorpusError(f"{corpus} is a file, and a corpus a folder: name what `streamdocs prepare` made") from error
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read ({reason(error)}): {PREPARE_AGAIN}") from error
    found = index.get("format") if isinstance(index, dict) else None
    if not isinstance(index, dict) or found != FORMAT:
        raise CorpusError(f"{path} has format {found!r}, this version reads {FORMAT}: {PREPARE_AGAIN}")
    if index.pop("checksum", None) != _checksum(index):
        raise CorpusError(f"{path} is damaged, or was changed by hand: {PREPARE_AGAIN}")
    try:
        check_index(index)
    except ValueError as error:
        raise CorpusError(f"{path} is not what `streamdocs prepare` writes ({error}): {PREPARE_AGAIN}") from error
    return index


def _checksum(index: dict[str, Any]) -> str:
    return digest128(json.dumps(index, sort_keys=True).encode()).hex()


def info(corpus: str | Path) -> dict[str, Any]:
    """What a corpus holds: ``corpus.json``, plus ``path``, ``disk_bytes``, and ``mean_tokens`` of each split.

    Each column that was kept has a number of ``values``, beside those that are ``missing``.
    """
    index = load_index(corpus)
    for split in index["splits"].values():
        split["mean_tokens"] = split["tokens"] / split["documents"]
        for column in split.get("columns", {}).values():
            column["values"] = split["documents"] - column["missing"]
    disk_bytes = sum(path.stat().st_size for path in Path(corpus).rglob("*") if path.is_file())
    return {"path": str(corpus), **index, "disk_bytes": disk_bytes}
