"""Bytes that came from elsewhere, made into values: in memory and time that their own size bounds, or a ValueError."""

from typing import Any

import msgpack
import zstandard

#: Most bytes of a record or manifest once it is decompressed.
MOST_BYTES = 1 << 28


def unpack(data: bytes | memoryview) -> Any:
    """What msgpack packed.

    Raises:
        ValueError: It did not, or not all of it is here.
    """
    # A few kilobytes can announce lists in lists in lists of a million items each, and unpackb makes room for all of
    # them before it misses the first. What is walked over once, which makes nothing, is known to be here.
    walker = msgpack.Unpacker(max_buffer_size=max(len(data), 1))
    walker.feed(data)
    try:
        walker.skip()
        return msgpack.unpackb(data)
    except (msgpack.exceptions.UnpackException, TypeError, RecursionError) as error:
        raise ValueError(f"not msgpack: {error!r}") from error


def decompress(data: bytes | memoryview, most: int = MOST_BYTES) -> bytes:
    """What zstd compressed, its size being in the frame.

    Raises:
        ValueError: It did not, or it would be more than ``most`` bytes.
    """
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= most:
            raise ValueError(f"{size:,} bytes, of at most {most:,}" if size >= 0 else "it does not say its size")
        # So much room is made, and a frame that holds more is an error.
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as error:
        raise ValueError(f"not zstd: {error}") from error
