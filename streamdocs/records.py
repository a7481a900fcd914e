"""Records: one round of generations of one document, as text and as tokens.

Both carry the second hash of their key (a collision is noticed) and a checksum (a flipped bit is noticed). Decoding
gives None for either, which callers count as a miss: never a crash, never wrong text.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import msgpack
import numpy as np
import numpy.typing as npt
import xxhash
import zstandard

from streamdocs.arrays import Tokens
from streamdocs.keys import Key

Buffer = bytes | memoryview

# Before both kinds of record: what it is, the second hash of the key, a checksum of what follows.
_HEADER = struct.Struct("<4s4x8s8s")
_TOKENS, _TEXT = b"sdk1", b"sdx1"
# Of a token record, what the checksum is of: bytes of a token, number of generations; length and checksum of each.
_SHAPE = struct.Struct("<II")
_GENERATION = np.dtype([("tokens", "<u4"), ("checksum", "<u8")])


class TokenRecord:
    """Tokens of a round of one document, as views into the record.

    Every generation has a checksum of its own, so that reading one costs no look at the others.

    Args:
        table: Length and checksum of each generation.
        tokens: All of them end to end.
    """

    def __init__(self, table: npt.NDArray[np.void], tokens: Tokens) -> None:
        self.lengths: list[int] = table["tokens"].tolist()
        self._ends: list[int] = np.cumsum(table["tokens"]).tolist()
        self._checksums: list[int] = table["checksum"].tolist()
        self._tokens = tokens

    def generation(self, number: int) -> Tokens | None:
        """Tokens of a generation, none where it was rejected; None where they are damaged."""
        tokens = self._tokens[self._ends[number] - self.lengths[number] : self._ends[number]]
        return tokens if xxhash.xxh3_64_intdigest(tokens.data) == self._checksums[number] else None


def encode_tokens(key: Key, generations: Sequence[Tokens]) -> bytes:
    """Tokens of a round: one array for each generation, empty where it was rejected. All of one dtype."""
    shape = _SHAPE.pack(generations[0].dtype.itemsize, len(generations))
    bodies = [tokens.tobytes() for tokens in generations]
    table = [(len(tokens), xxhash.xxh3_64_intdigest(body)) for tokens, body in zip(generations, bodies, strict=True)]
    return b"".join([_seal(_TOKENS, key, shape + np.array(table, _GENERATION).tobytes()), *bodies])


def decode_tokens(key: Key, record: Buffer | None) -> TokenRecord | None:
    """A round's tokens; None where the record is missing, damaged before its tokens, or another key's."""
    if record is None or len(record) < _HEADER.size + _SHAPE.size:
        return None
    item_size, count = _SHAPE.unpack_from(record, _HEADER.size)
    end = _HEADER.size + _SHAPE.size + count * _GENERATION.itemsize
    head = _unseal(_TOKENS, key, memoryview(record)[:end])
    if head is None:
        return None
    body = memoryview(record)[end:]
    table = np.frombuffer(head, _GENERATION, count, _SHAPE.size)
    if int(table["tokens"].sum()) * item_size != len(body):
        return None
    return TokenRecord(table, np.frombuffer(body, f"<u{item_size}"))


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
