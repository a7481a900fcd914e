"""Records: one round of generations of one document, as text and as tokens.

Both carry the second hash of their key (a collision is noticed) and a checksum (a flipped bit is noticed). Decoding
gives None for either, which callers count as a miss: never a crash, never wrong text.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import msgpack
import numpy as np
import xxhash
import zstandard

from streamdocs.arrays import Tokens
from streamdocs.keys import Key

Buffer = bytes | memoryview

_MAGIC = b"sdt1"
# magic, item size, number of generations, second hash of the key, checksum of all that follows
_HEADER = struct.Struct("<4sHH8s8s8x")


def encode_tokens(key: Key, generations: Sequence[Tokens]) -> bytes:
    """Tokens of a round: one array for each generation, empty where it was rejected. All of one dtype."""
    lengths = np.array([len(tokens) for tokens in generations], "<u4")
    body = b"".join([lengths.tobytes(), *(tokens.tobytes() for tokens in generations)])
    item_size = generations[0].dtype.itemsize
    return _HEADER.pack(_MAGIC, item_size, len(generations), key.check, xxhash.xxh3_64_digest(body)) + body


def decode_tokens(key: Key, record: Buffer | None) -> list[Tokens] | None:
    """Tokens of a round, as views into ``record``; None where the record is missing, damaged or another key's."""
    if record is None or len(record) < _HEADER.size:
        return None
    magic, item_size, count, check, checksum = _HEADER.unpack_from(record)
    body = memoryview(record)[_HEADER.size :]
    if magic != _MAGIC or check != key.check or xxhash.xxh3_64_digest(body) != checksum:
        return None
    lengths = np.frombuffer(body, "<u4", count)
    tokens: Tokens = np.frombuffer(body[4 * count :], "<u2" if item_size == 2 else "<u4")
    ends = np.cumsum(lengths).tolist()
    return [tokens[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@dataclass(frozen=True)
class TextRecord:
    """Texts of a round.

    Args:
        texts: One for each generation; None where it was rejected.
        causes: Why, for those that were rejected; None for the others.
        attempts: How often the round was asked for.
    """

    texts: list[str | None]
    causes: list[str | None]
    attempts: int = 1


def encode_text(key: Key, record: TextRecord) -> bytes:
    """Compressed, with a checksum (zstd's own)."""
    packed = msgpack.packb([key.check, record.texts, record.causes, record.attempts])
    return zstandard.ZstdCompressor(level=9, write_checksum=True).compress(packed)


def decode_text(key: Key, record: Buffer | None) -> TextRecord | None:
    """Texts of a round; None where the record is missing, damaged or another key's."""
    if record is None:
        return None
    try:
        check, texts, causes, attempts = msgpack.unpackb(zstandard.decompress(record, max_output_size=1 << 30))
    except (zstandard.ZstdError, msgpack.UnpackException, ValueError):
        return None
    return TextRecord(texts, causes, attempts) if check == key.check else None
