"""Bytes that came from elsewhere, made into values: in memory and time that their own size bounds, or a ValueError."""

import json
from typing import Any

import msgpack
import yaml
import zstandard
from pydantic import ValidationError

#: Most bytes of a record or manifest once it is decompressed.
MOST_BYTES = 1 << 28
#: Of a run file.
_MOST_YAML_BYTES, _MOST_YAML_VALUES = 1 << 18, 10_000


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


def load_json(data: bytes) -> Any:
    """The value that some JSON says.

    Raises:
        ValueError: It is none.
    """
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


class _Loader(yaml.SafeLoader):
    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # Merged mappings of merged mappings grow as a power of what was written.
        super().flatten_mapping(node)
        if len(node.value) > _MOST_YAML_VALUES:
            raise ValueError(f"more than {_MOST_YAML_VALUES:,} values are merged")


def load_yaml(data: bytes) -> Any:
    """The value that some YAML says, made of plain types alone.

    Raises:
        ValueError: It is none, or more than any run file.
    """
    if len(data) > _MOST_YAML_BYTES:
        raise ValueError(f"larger than {_MOST_YAML_BYTES:,} bytes")
    try:
        value = yaml.load(data.decode(), _Loader)
    except Exception as error:  # from the parser, and of any kind from int(), datetime and their like on what is tagged
        raise ValueError(f"not YAML: {error}" if str(error) else f"not YAML: {error!r}") from error
    # An alias stands for all that it names, so that a few lines can say billions of values.
    waiting, values = [value], 0
    while waiting:
        each = waiting.pop()
        values += 1
        if values > _MOST_YAML_VALUES:
            raise ValueError(f"more than {_MOST_YAML_VALUES:,} values")
        if isinstance(each, dict):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple | set):
            waiting += each
    return value


def faults(error: ValidationError, most: int | None = None) -> str:
    """Each field that is wrong and why, in one line. Not its value: that may be huge, or a secret in the wrong place.

    Args:
        error: What pydantic found.
        most: Fields to name; default all of them.
    """
    found = [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors(include_input=False)[:most]]
    plain = [(field, message.removeprefix("Value error, ")) for field, message in found]
    return "; ".join(f"{field}: {message}" if field else message for field, message in plain)
