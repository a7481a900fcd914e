"""Bytes that came from elsewhere, made into values: in memory and time that their own size bounds, or a ValueError."""

import json
import re
from typing import Any

import msgpack
import yaml
import zstandard
from pydantic import ValidationError
from pydantic_core import ErrorDetails

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
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark)
            seen.add((key.tag, key.value))
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # Merged mappings of merged mappings grow as a power of what was written.
        super().flatten_mapping(node)
        if len(node.value) > _MOST_YAML_VALUES:
            raise ValueError(f"more than {_MOST_YAML_VALUES:,} values are merged")


# Plain values are those of YAML 1.2: yes and off are text, 1e3 is a number, 0100 and 12:30 are no other numbers.
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("merge", r"<<", "<"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9_]*)|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
):
    # The empty string, which is null, has no first character.
    _starts = [character.strip("\0") for character in _first]
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"({_pattern})\\Z"), _starts)


def load_yaml(data: bytes) -> Any:
    """The value that some YAML says, made of plain types alone.

    Raises:
        ValueError: It is none, says a key twice, or is more than any run file; in one line.
    """
    if len(data) > _MOST_YAML_BYTES:
        raise ValueError(f"larger than {_MOST_YAML_BYTES:,} bytes")
    try:
        value = yaml.load(data.decode("utf-8-sig"), _Loader)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8: save the file in this encoding") from error
    except yaml.MarkedYAMLError as error:
        raise ValueError(f"not YAML: {_told(error)}") from error
    except Exception as error:  # of any kind from int(), datetime and their like on what is tagged
        raise ValueError(f"not YAML: {' '.join(str(error).split()) or repr(error)}") from error
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


def _told(error: yaml.MarkedYAMLError) -> str:
    """What is wrong and where, in one line."""
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    said = ", ".join(filter(None, (error.problem, error.context)))
    return f"{where}{said}" + (" (indent with spaces)" if "\\t" in said else "")


def faults(error: ValidationError, most: int | None = None) -> str:
    """Each field that is wrong and why, in one line. Not its value: that may be huge, or a secret in the wrong place.

    Args:
        error: What pydantic found.
        most: Fields to name; default all of them.
    """
    found = [(".".join(map(str, each["loc"])), each["msg"] + _hint(each)) for each in error.errors()[:most]]
    plain = [(field, " ".join(message.removeprefix("Value error, ").split())) for field, message in found]
    return "; ".join(f"{field}: {message}" if field else message for field, message in plain)


def _hint(error: ErrorDetails) -> str:
    """What helps where a plain word or number is taken for what was not meant."""
    if error["type"] == "string_type" and isinstance(error["input"], bool | int | float):
        return ": without quotes this is a number, true or false; quote it"
    return ""
