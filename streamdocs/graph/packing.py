"""Editions as bytes."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgpack
import numpy as np
import zstandard
from pydantic import TypeAdapter

from streamdocs._base.arrays import Int32s
from streamdocs._base.untrusted import decompress, unpack
from streamdocs.graph.edition import Edition
from streamdocs.graph.rows import Rows

#: Documents that are packed together: some megabytes.
TOGETHER = 1 << 16
_VERSION = 1
_HEAD = TypeAdapter(tuple[int, bytes, tuple[str, ...], tuple[str, ...]])
_PART = TypeAdapter(tuple[bytes, bytes, bytes])


def pack_edition(edition: Edition) -> Iterator[bytes]:
    """An edition in parts of some megabytes: one of its names, and one for so many documents each."""
    documents, nodes = edition.documents, edition.nodes
    yield _pack([_VERSION, edition.digest, edition.topics, edition.concepts])
    for start in range(0, len(documents), TOGETHER):
        stop = min(start + TOGETHER, len(documents))
        columns = nodes.columns[nodes.starts[start] : nodes.starts[stop]]
        yield _pack([_lean(each) for each in (documents[start:stop], nodes.sizes[start:stop], columns)])


def unpack_edition(parts: Iterable[bytes | memoryview]) -> Edition:
    """The edition that was packed.

    Raises:
        ValueError: These are not all its parts in order, or not as they were.
    """
    head, *others = (unpack(decompress(part)) for part in parts)
    version, digest, topics, concepts = _HEAD.validate_python(head)
    if version != _VERSION:
        raise ValueError(f"an edition of version {version}; this is {_VERSION}")
    packed = zip(*map(_PART.validate_python, others), strict=True) if others else [[b""]] * 3
    documents, sizes, columns = (np.concatenate([_full(each) for each in parts]) for parts in packed)
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    edition = Edition(topics, concepts, documents, Rows(starts, columns))
    if not _is_whole(edition) or edition.digest != digest:
        raise ValueError("an edition that is damaged, or lacks a part")
    return edition


def _is_whole(edition: Edition) -> bool:
    """Whether nothing of it leads to what is not there."""
    documents, nodes = edition.documents, edition.nodes
    if len(nodes.sizes) != len(documents) or (nodes.sizes < 1).any() or nodes.starts[-1] != len(nodes.columns):
        return False
    ascending = np.diff(nodes.columns.astype(np.int64)) > 0
    ascending[nodes.starts[1:-1] - 1] = True
    inside = (nodes.columns >= 0) & (nodes.columns < len(edition.names))
    return bool(ascending.all() and inside.all() and (np.diff(documents) > 0).all() and (documents[:1] >= 0).all())


def _pack(value: Any) -> bytes:
    return zstandard.compress(msgpack.packb(value), level=1)


def _lean(numbers: np.ndarray[Any, np.dtype[np.signedinteger[Any]]]) -> bytes:
    """Numbers as their differences, first the low bytes of all of them: a quarter less when they are compressed."""
    steps = np.diff(numbers.astype("<i4"), prepend=np.zeros(1, "<i4"))
    return steps.view(np.uint8).reshape(-1, 4).T.tobytes()


def _full(packed: bytes) -> Int32s:
    if len(packed) % 4:
        raise ValueError("not a row of numbers")
    steps = np.frombuffer(packed, np.uint8).reshape(4, -1).T.tobytes()
    return np.cumsum(np.frombuffer(steps, "<i4"), dtype=np.int32)
