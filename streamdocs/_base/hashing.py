"""Digests, canonical bytes and permutations that are the same on every machine and library version."""

import hashlib
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt
import xxhash

from streamdocs._base.arrays import Ints

TEXT_DIGEST_BYTES = 24


def digest128(data: bytes | memoryview) -> bytes:
    """xxh3-128 of ``data``, 16 bytes."""
    return xxhash.xxh3_128_digest(data)


def text_digest(text: bytes) -> bytes:
    """The identity of a text, 24 bytes: its xxh3-128, and 64 bits of BLAKE2b.

    Text comes from anywhere, and two that have the same xxh3 can be made on purpose; not such that both are the same.
    """
    return digest128(text) + hashlib.blake2b(text, digest_size=TEXT_DIGEST_BYTES - 16).digest()


def canonical(value: Any) -> bytes:
    """Canonical msgpack: mappings sorted by key, so that equal values give equal bytes."""
    return msgpack.packb(_sorted(value), use_bin_type=True)


def fingerprint(value: Any) -> str:
    """xxh3-128 of the canonical bytes of ``value``, as 32 hexadecimal digits."""
    return digest128(canonical(value)).hex()


def mix64(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64-bit integers (the finaliser of SplitMix64, Steele et al. 2014); wraps around silently."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def seeded_numbers(indexes: Ints, *seed: int | str) -> npt.NDArray[np.uint64]:
    """A pseudo-random 64-bit integer for each index, a pure function of index and ``seed``."""
    start = np.uint64(xxhash.xxh3_64_intdigest(canonical(seed)))
    steps = (indexes.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return mix64(steps + start)


def permutation(size: int, *seed: int | str) -> Ints:
    """Permutation of ``range(size)``, a pure function of ``size`` and ``seed``.

    NumPy's generators may change their streams between versions, and a sealed window must not.
    """
    return np.argsort(seeded_numbers(np.arange(size), *seed), kind="stable")


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return value
