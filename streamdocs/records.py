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

# Before both kinds of record: what it is, the second hash of the key, the checksum of all that follows.
_HEADER = struct.Struct("<4s4x8s8s")
_TOKENS, _TEXT = b"sdk1", b"sdx1"
# Before tokens: bytes of a token, number of generations; then the length of each, then the tokens of all.
_SHAPE = struct.Struct("<II")


def encode_tokens(key: Key, generations: Sequence[Tokens]) -> bytes:
    """Tokens of a round: one array for each generation, empty where it was rejected. All of one dtype."""
    shape = _SHAPE.pack(generations[0].dtype.itemsize, len(generations))
    lengths = np.array([len(tokens) for tokens in generations], "<u4")
    return _seal(_TOKENS, key, b"".join([shape, lengths.tobytes(), *(tokens.tobytes() for tokens in generations)]))


def decode_tokens(key: Key, record: Buffer | None) -> list[Tokens] | None:
    """Tokens of a round, as views into ``record``; None where the record is missing, damaged or another key's."""
    body = _unseal(_TOKENS, key, record)
    if body is None:
        return None
    item_size, count = _SHAPE.unpack_from(body)
    lengths = np.frombuffer(body, "<u4", count, _SHAPE.size)
    tokens: Tokens = np.frombuffer(body[_SHAPE.size + 4 * count :], f"<u{item_size}")
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
    """Texts of a round, compressed."""
    packed = msgpack.packb([record.texts, record.causes, record.attempts])
    return _seal(_TEXT, key, zstandard.compress(packed, level=9))


def decode_text(key: Key, record: Buffer | None) -> TextRecord | None:
    """Texts of a round; None where the record is missing, damaged or another key's."""
    body = _unseal(_TEXT, key, record)
    return None if body is None else TextRecord(*msgpack.unpackb(zstandard.decompress(body)))


def _seal(kind: bytes, key: Key, body: bytes) -> bytes:
    return _HEADER.pack(kind, key.check, xxhash.xxh3_64_digest(body)) + body


def _unseal(kind: bytes, key: Key, record: Buffer | None) -> memoryview | None:
    if record is None or len(record) < _HEADER.size:
        return None
    found, check, checksum = _HEADER.unpack_from(record)
    body = memoryview(record)[_HEADER.size :]
    intact = found == kind and check == key.check and xxhash.xxh3_64_digest(body) == checksum
    return body if intact else None
