"""Compressed files as streams of bytes: each is read to its very end, and one that is cut short is an error."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Any, TypeAlias

import pyarrow as pa
import zstandard

#: What a damaged file raises while it is read, whichever library reads it.
READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, pa.ArrowException)

# So much is decompressed at a time: a few bytes of zstd may stand for the largest block there is, 128 KiB.
_ZSTD_BYTES = 1 << 13
# What `zstd --long=31` makes, its longest. Memory is taken by those frames alone that have such a window.
_ZSTD_WINDOW_BYTES = 1 << 31

Opener: TypeAlias = Callable[..., Any]


class _Zstd(io.RawIOBase):
    """Frames of zstd, one after another. Unlike zstandard's own reader, it raises where the last one is cut short."""

    def __init__(self, file: str) -> None:
        self._file = open(file, "rb")  # noqa: SIM115  (closed with this)
        self._frames = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if not (packed := self._file.read(_ZSTD_BYTES)):
                if self._frame is not None:
                    raise EOFError("the file ends within a zstd frame")
                return 0
            self._ready = memoryview(self._decompress(packed))
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _decompress(self, packed: bytes) -> bytes:
        parts = []
        while packed:
            frame = self._frame = self._frame or self._frames.decompressobj()
            parts.append(frame.decompress(packed))
            packed = frame.unused_data if frame.eof else b""
            self._frame = None if frame.eof else frame
        return b"".join(parts)

    def close(self) -> None:
        self._file.close()
        super().close()


def _lz4(file: str) -> IO[bytes]:
    return pa.CompressedInputStream(open(file, "rb"), "lz4")


#: By the ending of a file's name, in lower case.
COMPRESSIONS: dict[str, Opener] = {
    ".gz": gzip.open,  # which knows that blocks of a tape are filled up with zeros
    ".zst": _Zstd,
    ".zstd": _Zstd,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".lz4": _lz4,
}


def open_compressed(file: str, ending: str) -> io.BufferedReader:
    """The bytes of a file, decompressed as an ending says that is one of ``COMPRESSIONS``; as they are for others.

    Raises:
        OSError: It cannot be opened; while it is read, one of ``READ_ERRORS`` where it is damaged or cut short.
    """
    opener = COMPRESSIONS.get(ending)
    return io.BufferedReader(opener(file)) if opener else open(file, "rb")
