"""Bytes that came from elsewhere, made into values: in memory and time that their own size bounds, or a ValueError."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgpack
import yaml
import zstandard
from pydantic import BaseModel, RootModel, ValidationError
from pydantic_core import ErrorDetails

#: Most bytes of a record or manifest once it is decompressed.
MOST_BYTES = 1 << 28
#: Of a run file.
_MOST_YAML_BYTES, _MOST_YAML_VALUES = 1 << 18, 10_000
_HAS_TO_BE = "has to be "
#: What pydantic's types of error say in Python's words: what a value has to be, in plain ones.
_WORDS = {
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("list_type", "tuple_type"), "a list"),
    **dict.fromkeys(("dict_type", "mapping_type"), "names, each with its value"),
    **dict.fromkeys(("model_type", "dataclass_type"), "fields, each with its value"),
    "string_type": "text",
    "finite_number": "a finite number",
    "literal_error": "{expected}",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_long": "no longer than {max_length} characters",
}
#: The name of a type, as it ends the place of an error of what may be of several.
_TYPE = re.compile(
    r"(int|float|str|bool|none|literal|constrained-\w+|tuple|list|dict|function-\w+|is-instance)(\[.*\])?"
)


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


def faults(error: ValidationError, most: int | None = None, kind: Any = None) -> str:
    """Each field that is wrong and why, in one line. Not its value: that may be huge, or a secret in the wrong place.

    Args:
        error: What pydantic found.
        most: Fields to name; default all of them.
        kind: The class that was to be made, of whose fields one that is not known may be meant.
    """
    errors = error.errors()
    types = Counter(each["loc"][:-1] for each in errors if _is_of_a_type(each))
    found: list[str] = []
    before: tuple[int | str, ...] | None = None
    for each in errors[:most]:
        place, message = each["loc"], _words(each, kind)
        if place and place[-1] == "[key]":
            place, message = place[:-1], f"the name {message}"
        if _is_of_a_type(each) and types[place[:-1]] > 1:
            place = place[:-1]
            if place == before:
                found[-1] += f", or {message.removeprefix(_HAS_TO_BE)}"
                continue
            before = place
        found.append(f"{'.'.join(map(str, place))}: {message}" if place else message)
    return "; ".join(found)


def _is_of_a_type(error: ErrorDetails) -> bool:
    """Whether it is of one of the types that a value may have: there is one for each, at the type's name."""
    return bool(error["loc"]) and _TYPE.fullmatch(str(error["loc"][-1])) is not None


def _words(error: ErrorDetails, kind: Any) -> str:
    """What is wrong with one field, in words that are not Python's."""
    *path, name = error["loc"] or ("",)
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return _unknown(str(name), path, kind)
    if error["type"] == "missing":
        return "is missing"
    if words := _WORDS.get(error["type"]):
        message = _HAS_TO_BE + words.format(**{name: _plain(each) for name, each in error.get("ctx", {}).items()})
    else:
        message = error["msg"].removeprefix("Value error, ").replace("Input should be ", _HAS_TO_BE)
    return " ".join(message.split()) + _hint(error)


def _plain(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _unknown(name: str, path: Sequence[int | str], kind: Any) -> str:
    """What is said of a field that there is not; ``path``: of what it was given to, within a ``kind``."""
    known, whole = _fields(kind, path), _fields(kind, ())
    if near := get_close_matches(name, known, 1):
        return f"no such field; did you mean {near[0]}?"
    places = [name] * (name in whole) + [f"{each}.{name}" for each, its in whole.items() if name in _fields(its, ())]
    if places and known:
        return f"no such field here; did you mean {places[0]}?"
    return "no such field" + (f"; there are {', '.join(known)}" if known else "")


def _fields(kind: Any, path: Sequence[int | str]) -> dict[str, Any]:
    """The fields of what is at a place of a class, by their names, each with its type; none where it has none."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _fields(inner[0], path)
    if origin in (Union, UnionType):
        return next(filter(None, (_fields(each, path) for each in inner)), {})
    if origin is not None:  # a list of these, or a mapping to them
        return _fields(next((each for each in reversed(inner) if each is not ...), None), path[1:]) if path else {}
    if isinstance(kind, type) and issubclass(kind, RootModel):
        return _fields(kind.model_fields["root"].annotation, path)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        found: dict[str, Any] = {name: each.annotation for name, each in kind.model_fields.items()}
    elif isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        found = {each.name: hints[each.name] for each in fields(kind) if each.init}
    else:
        return {}
    return _fields(found.get(str(path[0])), path[1:]) if path else found


def _hint(error: ErrorDetails) -> str:
    """What helps where a plain word or number is taken for what was not meant."""
    if error["type"] == "string_type" and isinstance(error["input"], bool | int | float):
        return ": without quotes this is a number, true or false; quote it"
    if error["type"] in ("model_type", "dataclass_type") and error["input"] is None:
        return ": leave it out"
    return ""
