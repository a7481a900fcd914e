"""Records: one round of generations of one document, as text and as tokens.

Both carry the second hash of their key (a collision is noticed) and a checksum (a flipped bit is noticed). Decoding
gives None for either, which callers count as a miss: never a crash, never wrong text.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import msgpack
import numpy as np
import numpy.typing as npt
import xxhash
import zstandard
from pydantic import TypeAdapter

from streamdocs._base.arrays import Bools, Count, Ints, Tokens
from streamdocs._base.untrusted import decompress, unpack
from streamdocs.recipes.keys import Key
from streamdocs.store import Values

Buffer = bytes | memoryview
Checksums = npt.NDArray[np.uint64]

# Before both kinds of record: what it is, the second hash of the key, a checksum of what follows.
_HEADER = struct.Struct("<4s4x8s8s")
_TOKENS, _TEXT = b"sdk1", b"sdx1"
# Two keys' second hashes differ in this many bits or fewer 4 times in 1e14: damage is more likely.
_DAMAGED_BITS = 4
# Of a token record, what the checksum is of: bytes of a token, number of generations; length and checksum of each.
_SHAPE = struct.Struct("<II")
_GENERATION = np.dtype([("tokens", "<u4"), ("checksum", "<u8")])


@dataclass(frozen=True)
class TokenTable:
    """Some token records, what they hold, and where in them.

    Every generation has a checksum of its own, so that reading one costs no look at the others.

    Args:
        values: They themselves.
        intact: bool (records,), False where one is missing, damaged before its tokens, or another key's.
        lengths: int64 (records, generations), tokens of each; 0 where it was rejected or its record is not intact.
        ends: int64 (records, generations), tokens up to the end of each; 0 where its record is not intact.
        checksums: uint64 (records, generations); 0 where its record is not intact.
        token_bytes: int64 (records,), bytes of a token: 2 or 4 where the record is intact.
    """

    values: Values
    intact: Bools
    lengths: Ints
    ends: Ints
    checksums: Checksums
    token_bytes: Ints

    def places(self, records: Ints, generations: Ints) -> tuple[Ints, Ints]:
        """For pairs of record and generation, the first byte of the generation in its buffer, and the one after it."""
        begins, token_bytes = self.values.starts[records], self.token_bytes[records]
        begins += _table_dtype(self.lengths.shape[1]).itemsize
        stops = begins + self.ends[records, generations] * token_bytes
        return stops - self.lengths[records, generations] * token_bytes, stops

    def whole(self, records: Ints, generations: Ints) -> Bools:
        """For pairs of record and generation, whether the generation is there as it was written, to the last token."""
        buffers = [self.values.buffers[each] or b"" for each in records.tolist()]
        parts = zip(buffers, *(column.tolist() for column in self.places(records, generations)), strict=True)
        found = [xxhash.xxh3_64_intdigest(buffer[start:stop]) for buffer, start, stop in parts]
        whole: Bools = np.array(found, np.uint64) == self.checksums[records, generations]
        return whole & self.intact[records]


def short_checksums(checksums: Checksums) -> Ints:
    """int64: the lower 32 bits of each, which sealed windows keep."""
    return (checksums & np.uint64(0xFFFFFFFF)).astype(np.int64)


def known_table(lengths: Ints, checksums: Checksums, records: Values, token_bytes: int) -> TokenTable:
    """What ``read_table`` found of some records at another time, where they are now: intact where they are as large."""
    ends = np.cumsum(lengths, axis=1)
    intact: Bools = records.sizes == _table_dtype(lengths.shape[1]).itemsize + ends[:, -1] * token_bytes
    return TokenTable(records, intact, lengths, ends, checksums, np.full(len(lengths), token_bytes))


@dataclass(frozen=True)
class TokenRecord:
    """Tokens of a round of one document.

    Args:
        table: Of this record alone.
    """

    table: TokenTable

    @property
    def lengths(self) -> list[int]:
        """How many each generation has, 0 where it was rejected."""
        return self.table.lengths[0].tolist()

    def generation(self, number: int) -> Tokens | None:
        """Tokens of a generation, none where it was rejected; None where they are damaged."""
        at = np.array([0]), np.array([number])
        if not self.table.whole(*at)[0]:
            return None
        (start,), (stop,) = self.table.places(*at)
        record = memoryview(self.table.values.buffers[0] or b"")
        return np.frombuffer(record[start:stop], f"<u{self.table.token_bytes[0]}")


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
    _, generations = _SHAPE.unpack_from(record, _HEADER.size)
    if not generations or len(record) < _HEADER.size + _SHAPE.size + generations * _GENERATION.itemsize:
        return None
    table = read_table([key.check], Values.of([record]), generations)
    return TokenRecord(table) if table.intact[0] else None


def read_table(checks: Sequence[bytes], records: Values, generations: int) -> TokenTable:
    """What the token records under some keys hold, without a look at the tokens.

    Args:
        checks: The second hash of each key.
        records: The record under each.
        generations: How many a record has.
    """
    dtype = _table_dtype(generations)
    size, blank = dtype.itemsize, bytes(dtype.itemsize)
    parts = zip(records.buffers, records.starts.tolist(), (records.sizes >= size).tolist(), strict=True)
    heads = [bytes(buffer[start : start + size]) if buffer and long else blank for buffer, start, long in parts]
    table = np.frombuffer(b"".join(heads), dtype)
    # Item by item only what has to be: there may be thousands.
    found = np.fromiter((xxhash.xxh3_64_intdigest(head[_HEADER.size :]) for head in heads), np.uint64, len(heads))
    lengths = table["generations"]["tokens"].astype(np.int64)
    ends = np.cumsum(lengths, axis=1)
    token_bytes = table["token_bytes"].astype(np.int64)
    intact: Bools = (
        (table["kind"] == int.from_bytes(_TOKENS, "little"))
        & (table["check"] == np.frombuffer(b"".join(checks), "<u8"))
        & (table["checksum"] == found)
        & (table["count"] == generations)
        & ((token_bytes == 2) | (token_bytes == 4))
        & (records.sizes == size + ends[:, -1] * token_bytes)
    )
    lengths[~intact] = ends[~intact] = 0
    checksums = np.where(intact[:, None], table["generations"]["checksum"], np.uint64(0))
    return TokenTable(records, intact, lengths, ends, checksums, token_bytes)


@lru_cache
def _table_dtype(generations: int) -> np.dtype[np.void]:
    """A token record up to its tokens."""
    header = [("kind", "<u4"), ("unused", "<u4"), ("check", "<u8"), ("checksum", ">u8")]
    return np.dtype([*header, ("token_bytes", "<u4"), ("count", "<u4"), ("generations", _GENERATION, (generations,))])


@dataclass(frozen=True)
class TextRecord:
    """Texts of a round.

    Args:
        texts: One for each generation; None where it was rejected.
        causes: Why, for those that were rejected; None for the others.
        attempts: How often the round was asked for.
        cut: Most characters of the document that a prompt left out because it was too long for the generator.
        steps: Of generations that a program wrote, the digests of the keys of the steps behind each; none of others.
    """

    texts: list[str | None]
    causes: list[str | None]
    attempts: Count = 1
    cut: Count = 0
    steps: list[list[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.causes):
            raise ValueError("every generation has a text or a cause")


_TEXT_RECORD = TypeAdapter(TextRecord)
#: In the order in which they are packed; the last is left out where it says nothing.
_TEXT_FIELDS = ("texts", "causes", "attempts", "cut", "steps")


def encode_text(key: Key, record: TextRecord) -> bytes:
    """Texts of a round, compressed."""
    steps = [record.steps] if record.steps else []
    packed = msgpack.packb([record.texts, record.causes, record.attempts, record.cut, *steps])
    return _seal(_TEXT, key, zstandard.compress(packed, level=7))


def decode_text(key: Key, record: Buffer | None) -> TextRecord | None:
    """Texts of a round; None where the record is missing, damaged or another key's."""
    body = _unseal(_TEXT, key, record)
    if body is None:
        return None
    try:
        found = unpack(decompress(body))
        return _TEXT_RECORD.validate_python(dict(zip(_TEXT_FIELDS[: max(4, len(found))], found, strict=True)))
    except (ValueError, TypeError):  # whole, and yet not what this version writes
        return None


def is_of_another(key: Key, record: Buffer) -> bool:
    """Whether a record says that it is another key's, whose digest is the same.

    Second hashes of two keys differ in some 32 bits of 64; one that differs in a few is this key's, and damaged.
    """
    if len(record) < _HEADER.size:
        return False
    _, check, _ = _HEADER.unpack_from(record)
    return (int.from_bytes(check) ^ int.from_bytes(key.check)).bit_count() > _DAMAGED_BITS


def _seal(kind: bytes, key: Key, body: bytes) -> bytes:
    return _HEADER.pack(kind, key.check, xxhash.xxh3_64_digest(body)) + body


def _unseal(kind: bytes, key: Key, record: Buffer | None) -> memoryview | None:
    if record is None or len(record) < _HEADER.size:
        return None
    found, check, checksum = _HEADER.unpack_from(record)
    body = memoryview(record)[_HEADER.size :]
    intact = found == kind and check == key.check and xxhash.xxh3_64_digest(body) == checksum
    return body if intact else None
