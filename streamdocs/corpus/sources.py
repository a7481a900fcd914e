"""Reads documents from files, folders and Hugging Face datasets, one row at a time."""

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, TypeAlias
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from streamdocs._base.compressed import READ_ERRORS, open_compressed
from streamdocs.corpus.inputs import (
    ARROW_KINDS,
    DATASET_PREFIX,
    JSON_KINDS,
    TEXT_KINDS,
    find_inputs,
    kind_of,
    missing,
    pick_field,
)
from streamdocs.errors import ConfigError, CorpusError, some

# Half of what leaves room for a document's text and tokens within MDS's 32-bit offsets.
MAX_TEXT_BYTES = 1 << 30
# JSON escapes may take more room than the text; past this a line is skipped without holding it in memory.
MAX_LINE_BYTES = 2 * MAX_TEXT_BYTES
UNREADABLE = "unreadable rest of file"
# Of the fields that a row has.
_MOST_NAMES = 8


@dataclass(frozen=True, slots=True)
class Document:
    """A text that can be used, and the file and row (from 1) that it came from."""

    text: str
    file: str
    row: int


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used, and why; ``hint`` is what may help."""

    file: str
    row: int
    cause: str
    hint: str = field(default="", compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class UnreadableRest(BadRow):
    """This row of a file and all after it, of which nobody knows how many they are; ``error`` says what went wrong."""

    error: str


Row: TypeAlias = Document | BadRow
Reader: TypeAlias = Callable[[str, str], Iterator[Row]]


def read_documents(inputs: Sequence[str], *, text_field: str = "text") -> Iterator[Row]:
    """Every row of the inputs in order, as a ``Document`` or a ``BadRow``; an ``UnreadableRest`` is the last of a file.

    An input is a file (JSON lines, Parquet, Arrow, or one document of plain text), a folder of such files (see
    ``find_inputs``), or a dataset as ``hf://NAME[:SPLIT][?OPTION=VALUE&...]``, the options being arguments of
    ``datasets.load_dataset``; one that is given several times is a list.
    Raises ``CorpusError`` at once where an input does not exist or has no files of these kinds.
    """
    return chain.from_iterable(read_file(file, text_field) for file in find_inputs(inputs, text_field).files)


def read_file(file: str, text_field: str) -> Iterator[Row]:
    """The rows of one of the files or datasets that inputs consist of."""
    if reason := missing(file):
        return iter([UnreadableRest(file, 1, UNREADABLE, reason)])
    reader = _read_dataset if file.startswith(DATASET_PREFIX) else READERS[kind_of(Path(file))]
    return reader(file, text_field)


def _open(file: str) -> io.BufferedReader:
    return open_compressed(file, Path(file).suffix.lower())


def _check(value: object, file: str, row: int) -> Row:
    if not isinstance(value, str):
        return BadRow(file, row, "not a string")
    if not value or value.isspace():
        return BadRow(file, row, "empty")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:  # JSON can escape half a surrogate pair
        return BadRow(file, row, "invalid UTF-8")
    return BadRow(file, row, "too long") if size > MAX_TEXT_BYTES else Document(value, file, row)


def _unreadable(file: str, row: int, error: Exception) -> UnreadableRest:
    return UnreadableRest(file, row, UNREADABLE, str(error) or type(error).__name__)


def _no_field(text_field: str, file: str, row: int, names: Iterable[str]) -> BadRow:
    hint = f"it has {some(sorted(names), _MOST_NAMES)}: see --text-field"
    return BadRow(file, row, f"no text field {text_field!r}", hint=hint)


def _pick(fields: object, text_field: str, file: str, row: int) -> Row:
    if not isinstance(fields, dict):
        hint = "`jq -c '.[]'` makes JSON lines of an array" if isinstance(fields, list) else ""
        return BadRow(file, row, "not an object", hint=hint)
    try:
        return _check(pick_field(fields, text_field), file, row)
    except KeyError:
        return _no_field(text_field, file, row, map(str, fields))


def _read_text(file: str, text_field: str) -> Iterator[Row]:
    try:
        with _open(file) as stream:
            data = stream.read(MAX_TEXT_BYTES + 1)
        yield _check(data.decode("utf-8-sig"), file, 1)
    except READ_ERRORS as error:
        yield _unreadable(file, 1, error)
    except UnicodeDecodeError:
        yield BadRow(file, 1, "invalid UTF-8")


def _read_json_lines(file: str, text_field: str) -> Iterator[Row]:
    row = 0
    try:
        with _open(file) as stream:
            for row, line in enumerate(_lines(stream), 1):
                if line is None:
                    yield BadRow(file, row, "too long")
                elif line.strip():
                    yield _parse(line, text_field, file, row)
    except READ_ERRORS as error:
        yield _unreadable(file, row + 1, error)


def _lines(stream: io.BufferedReader) -> Iterator[bytes | None]:
    while line := stream.readline(MAX_LINE_BYTES):
        too_long = False
        while len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            too_long = True
            line = stream.readline(MAX_LINE_BYTES)
        yield None if too_long else line


def _parse(line: bytes, text_field: str, file: str, row: int) -> Row:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return BadRow(file, row, "invalid UTF-8", hint="`iconv -t utf-8` makes UTF-8 of another encoding")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):  # the second from deeply nested brackets
        return BadRow(file, row, "not JSON", hint="`jq -c` makes a line of each value")
    return _pick(fields, text_field, file, row)


def _read_parquet(file: str, text_field: str) -> Iterator[Row]:
    row = 0
    try:
        # Arrow itself cannot open a file whose name is not UTF-8.
        with open(file, "rb") as stream, pq.ParquetFile(stream) as table:
            if not _has_column(table.schema_arrow, text_field):
                for row in range(1, table.metadata.num_rows + 1):
                    yield _no_field(text_field, file, row, table.schema_arrow.names)
                return
            # Small batches: the rows of web text are large.
            for batch in table.iter_batches(batch_size=256, columns=[text_field]):
                yield from _column_rows(batch, text_field, file, row)
                row += batch.num_rows
    except READ_ERRORS as error:
        yield _unreadable(file, row + 1, error)


def _read_arrow(file: str, text_field: str) -> Iterator[Row]:
    """Arrow IPC: streams, as ``datasets.save_to_disk`` and its caches write them, and files, as Feather."""
    row = 0
    try:
        with open(file, "rb") as stream:
            for batch in _arrow_batches(stream):
                if _has_column(batch.schema, text_field):
                    yield from _column_rows(batch, text_field, file, row)
                else:
                    for number in range(row + 1, row + batch.num_rows + 1):
                        yield _no_field(text_field, file, number, batch.schema.names)
                row += batch.num_rows
    except READ_ERRORS as error:
        yield _unreadable(file, row + 1, error)


def _arrow_batches(stream: IO[bytes]) -> Iterator[pa.RecordBatch]:
    is_file = stream.read(6) == b"ARROW1"
    end = stream.seek(-4, os.SEEK_END) and stream.read()
    stream.seek(0)
    if is_file:
        file = pa.ipc.open_file(stream)
        yield from map(file.get_batch, range(file.num_record_batches))
        return
    yield from pa.ipc.open_stream(stream)
    if end != bytes(4):  # Arrow takes the end of the file for that of the stream
        raise EOFError("the file ends before its stream does")


def _has_column(schema: pa.Schema, text_field: str) -> bool:
    """Whether a table has a column, or one of structs that have a field, and so on: see ``pick_field``."""
    if text_field in schema.names:
        return True
    outer, _, inner = text_field.partition(".")
    if not inner or schema.names.count(outer) != 1:
        return False
    kind = schema.field(outer).type
    return bool(pa.types.is_struct(kind)) and _has_column(pa.schema(list(kind)), inner)


def _column_rows(batch: pa.RecordBatch, text_field: str, file: str, row: int) -> Iterator[Row]:
    outer = text_field if text_field in batch.schema.names else text_field.partition(".")[0]
    column = batch.column(batch.schema.names.index(outer))
    plain = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}.get(column.type)
    column = column.cast(plain) if plain else column  # valid as bytes: each row is decoded by itself
    column.validate(full=True)  # else what a file says could lead anywhere in memory
    for number, value in enumerate(column, row + 1):
        yield _check_arrow(value, outer, text_field, file, number)


def _check_arrow(value: pa.Scalar, outer: str, text_field: str, file: str, row: int) -> Row:
    try:
        found = pick_field({outer: value.as_py()}, text_field)
        return _check(found.decode() if isinstance(found, bytes) else found, file, row)
    except UnicodeDecodeError:
        return BadRow(file, row, "invalid UTF-8")
    except KeyError:  # a struct that is null
        return BadRow(file, row, "not a string")


def _read_dataset(source: str, text_field: str) -> Iterator[Row]:
    name, split, options = _parse_address(source)
    try:
        import datasets  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise ConfigError(f"{source} needs the datasets package: pip install datasets") from error
    try:
        rows = datasets.load_dataset(name, split=split, streaming=True, **options)
    except Exception as error:  # whatever the libraries raise that it opens things with
        raise CorpusError(f"the dataset {source} cannot be opened: {error}") from error
    row = 0
    try:
        for row, fields in enumerate(rows, 1):
            yield _pick(fields, text_field, source, row)
    except Exception as error:  # as above
        yield _unreadable(source, row + 1, error)


def _parse_address(source: str) -> tuple[str, str, dict[str, str | list[str]]]:
    """Name, split and options of a dataset. Not as of a form: a + is a +, and what is given twice is a list."""
    address, _, query = source.removeprefix(DATASET_PREFIX).partition("?")
    name, _, split = address.partition(":")
    options: dict[str, str | list[str]] = {}
    for each in filter(None, query.split("&")):
        option, given, value = map(unquote, each.partition("="))
        if not given or option in ("path", "split", "streaming"):
            raise ConfigError(f"{source}: {each!r} is no OPTION=VALUE of load_dataset; the split is NAME:SPLIT")
        known = options.get(option, [])
        options[option] = [*([known] if isinstance(known, str) else known), value] if known else value
    return name, split or "train", options


READERS: dict[str, Reader] = {
    **dict.fromkeys(JSON_KINDS, _read_json_lines),
    ".parquet": _read_parquet,
    **dict.fromkeys(ARROW_KINDS, _read_arrow),
    **dict.fromkeys(TEXT_KINDS, _read_text),
}
