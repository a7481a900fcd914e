"""Reads documents from files, folders and Hugging Face datasets, one row at a time."""

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

from streamdocs._base.compressed import READ_ERRORS, open_compressed
from streamdocs.corpus.columns.values import MISSING, OTHER, NoValue, Value, usable
from streamdocs.corpus.inputs import (
    ARROW_KINDS,
    DATASET_PREFIX,
    EVERY_STRING,
    JSON_KINDS,
    TEXT_KINDS,
    find_inputs,
    kind_of,
    missing,
    parse_address,
    pick_field,
)
from streamdocs.corpus.tables import Batch, arrow_batches, parquet_batches
from streamdocs.errors import ConfigError, CorpusError, some

# Half of what leaves room for a document's text and tokens within MDS's 32-bit offsets.
MAX_TEXT_BYTES = 1 << 30
# JSON escapes may take more room than the text; past this a line is skipped without holding it in memory.
MAX_LINE_BYTES = 2 * MAX_TEXT_BYTES
UNREADABLE = "unreadable rest of file"
# Of the fields that a row has.
_MOST_NAMES = 8
# Of a file, for a field that may be absent from some.
_ROWS_LOOKED_INTO = 1000


@dataclass(frozen=True, slots=True)
class Document:
    """A text that can be used, the file and row (from 1) that it came from, and the values of the fields to keep."""

    text: str
    file: str
    row: int
    kept: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used, and why; ``hint`` is what may help.

    names: Where the field is not there that was asked for, those that are.
    """

    file: str
    row: int
    cause: str
    hint: str = field(default="", compare=False, kw_only=True)
    names: Sequence[str] = field(default=(), compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class UnreadableRest(BadRow):
    """This row of a file and all after it, of which nobody knows how many they are; ``error`` says what went wrong."""

    error: str


Row: TypeAlias = Document | BadRow


class _Fields(NamedTuple):
    """The field of a row that holds its text, and those whose values are kept."""

    text: str
    keep: tuple[str, ...]


_Reader: TypeAlias = Callable[[str, _Fields], Iterator[Row]]
_Batches: TypeAlias = Callable[[IO[bytes], Sequence[str]], Iterator[Batch]]


def read_documents(inputs: Sequence[str], *, text_field: str = "text") -> Iterator[Row]:
    """Every row of the inputs in order, as a ``Document`` or a ``BadRow``; an ``UnreadableRest`` is the last of a file.

    An input is a file (JSON lines, Parquet, Arrow, or one document of plain text), a folder of such files (see
    ``find_inputs``), or a dataset as ``hf://NAME[:SPLIT][?OPTION=VALUE&...]``, the options being arguments of
    ``datasets.load_dataset``; one that is given several times is a list.
    The text field ``*`` stands for every string of a row, also in lists and objects: each is a ``Document``.
    Raises ``CorpusError`` at once where an input does not exist or has no files of these kinds.
    """
    return chain.from_iterable(read_file(file, text_field) for file in find_inputs(inputs, text_field).files)


def read_file(file: str, text_field: str, keep: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of one of the files or datasets that inputs consist of, with the values of the fields to keep."""
    if reason := missing(file):
        return iter([UnreadableRest(file, 1, UNREADABLE, reason)])
    reader = _read_dataset if file.startswith(DATASET_PREFIX) else READERS[kind_of(Path(file))]
    return reader(file, _Fields(text_field, tuple(keep)))


def check_fields(files: Sequence[str], text_field: str, keep: Sequence[str]) -> None:
    """Make sure that each field to keep may have values that can be, by the first rows of all files.

    Nothing is known, and nothing refused, where no document is among them, or an input is a pipe, which is read once.

    Raises:
        ConfigError: A field is not there, and the message names those that are; or it is a list or an object.
    """
    there = [file for file in files if not missing(file)]
    if not keep or not all(file.startswith(DATASET_PREFIX) or os.path.isfile(file) for file in there):
        return
    tables = [each for each in there if each.startswith(DATASET_PREFIX) or kind_of(Path(each)) not in TEXT_KINDS]
    # Texts have no fields, and need not be read for that.
    causes: dict[str, set[NoValue]] = {name: {MISSING} if len(tables) < len(there) else set() for name in keep}
    for row in chain.from_iterable(islice(read_file(file, text_field, keep), _ROWS_LOOKED_INTO) for file in tables):
        for name, value in zip(keep, row.kept if isinstance(row, Document) else (), strict=False):
            if isinstance(value, NoValue) and name in causes:
                causes[name].add(value)
            else:
                causes.pop(name, None)
        if not causes:
            return
    for name, found in causes.items():
        if found == {MISSING}:
            rows = chain.from_iterable(islice(read_file(file, name), 1) for file in tables)
            names = {each for row in rows if isinstance(row, BadRow) for each in row.names}
            known = f"they have {some(sorted(names), _MOST_NAMES)}" if names else "they have none"
            raise ConfigError(
                f"--keep {name}: the inputs have no such field; {known} (OUTER.INNER is one within another)"
            )
        if found and found <= {MISSING, OTHER}:
            raise ConfigError(f"--keep {name}: neither numbers nor strings; OUTER.INNER is a field within another")


def _open(file: str) -> io.BufferedReader:
    return open_compressed(file, Path(file).suffix.lower())


def _check(value: object, file: str, row: int, kept: tuple[Value, ...] = ()) -> Row:
    try:
        text = value.decode() if isinstance(value, bytes) else value
        if not isinstance(text, str):
            return BadRow(file, row, "not a string")
        if not text or text.isspace():
            return BadRow(file, row, "empty")
        size = len(text.encode())
    except UnicodeError:  # JSON can escape half a surrogate pair
        return BadRow(file, row, "invalid UTF-8")
    return BadRow(file, row, "too long") if size > MAX_TEXT_BYTES else Document(text, file, row, kept)


def _unreadable(file: str, row: int, error: Exception) -> UnreadableRest:
    return UnreadableRest(file, row, UNREADABLE, str(error) or type(error).__name__)


def _no_field(text_field: str, file: str, row: int, names: Iterable[str]) -> BadRow:
    found = sorted(names)
    hint = f"it has {some(found, _MOST_NAMES)}: see --text-field"
    return BadRow(file, row, f"no text field {text_field!r}", hint=hint, names=found)


def _pick(row_fields: object, fields: _Fields, file: str, row: int) -> Iterator[Row]:
    if not isinstance(row_fields, dict):
        hint = "`jq -c '.[]'` makes JSON lines of an array" if isinstance(row_fields, list) else ""
        yield BadRow(file, row, "not an object", hint=hint)
        return
    try:
        texts = _strings(row_fields) if fields.text == EVERY_STRING else [pick_field(row_fields, fields.text)]
    except KeyError:
        yield _no_field(fields.text, file, row, map(str, row_fields))
        return
    kept = tuple(_kept(row_fields, name) for name in fields.keep)
    yield from (_check(text, file, row, kept) for text in texts)


def _strings(value: object) -> Iterator[str]:
    """Every string in a value that is not blank, in their order."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text if text and not text.isspace():
                yield text
            case dict() as fields:
                waiting += reversed(fields.values())
            case list() | tuple() as values:  # Arrow makes tuples of a map's pairs
                waiting += reversed(values)


def _kept(row_fields: dict[str, Any], name: str) -> Value:
    try:
        return usable(pick_field(row_fields, name))
    except KeyError:
        return MISSING


def _read_text(file: str, fields: _Fields) -> Iterator[Row]:
    try:
        with _open(file) as stream:
            data = stream.read(MAX_TEXT_BYTES + 1)
        yield _check(data.decode("utf-8-sig"), file, 1, (MISSING,) * len(fields.keep))
    except READ_ERRORS as error:
        yield _unreadable(file, 1, error)
    except UnicodeDecodeError:
        yield BadRow(file, 1, "invalid UTF-8")


def _read_json_lines(file: str, fields: _Fields) -> Iterator[Row]:
    row = 0
    try:
        with _open(file) as stream:
            for row, line in enumerate(_lines(stream), 1):
                if line is None:
                    yield BadRow(file, row, "too long")
                elif line.strip():
                    yield from _parse(line, fields, file, row)
    except READ_ERRORS as error:
        yield _unreadable(file, row + 1, error)


def _lines(stream: io.BufferedReader) -> Iterator[bytes | None]:
    while line := stream.readline(MAX_LINE_BYTES):
        too_long = False
        while len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            too_long = True
            line = stream.readline(MAX_LINE_BYTES)
        yield None if too_long else line


def _parse(line: bytes, fields: _Fields, file: str, row: int) -> Iterator[Row]:
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        yield BadRow(file, row, "invalid UTF-8", hint="`iconv -t utf-8` makes UTF-8 of another encoding")
    except (ValueError, RecursionError):  # the second from deeply nested brackets
        yield BadRow(file, row, "not JSON", hint="`jq -c` makes a line of each value")
    else:
        yield from _pick(value, fields, file, row)


def _read_table(batches: _Batches, file: str, fields: _Fields) -> Iterator[Row]:
    row = 0
    try:
        # Arrow itself cannot open a file whose name is not UTF-8.
        with open(file, "rb") as stream:
            for batch in batches(stream, (fields.text, *fields.keep)):
                yield from _batch_rows(batch, fields, file, row)
                row += batch.rows.num_rows
    except (*READ_ERRORS, UnicodeDecodeError) as error:  # the second from names of columns
        yield _unreadable(file, row + 1, error)
    except MemoryError:  # of damaged files, whose lengths are any numbers
        yield _unreadable(file, row + 1, ValueError("a length in it is more than fits into memory"))


def _batch_rows(batch: Batch, fields: _Fields, file: str, row: int) -> Iterator[Row]:
    if fields.text == EVERY_STRING:
        batch.rows.validate(full=True)
        for number, values in enumerate(batch.rows.to_pylist(), row + 1):
            yield from _pick(values, fields, file, number)
        return
    texts, *others = (batch.values(name) for name in (fields.text, *fields.keep))
    if texts is None:
        for number in range(row + 1, row + batch.rows.num_rows + 1):
            yield _no_field(fields.text, file, number, batch.names)
        return
    kept = [repeat(MISSING) if each is None else map(usable, each) for each in others]
    for number, (text, *values) in enumerate(zip(texts, *kept, strict=False), row + 1):
        yield _check(text, file, number, tuple(values))


def _read_dataset(source: str, fields: _Fields) -> Iterator[Row]:
    name, split, options = parse_address(source)
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
        for row, value in enumerate(rows, 1):
            yield from _pick(value, fields, source, row)
    except Exception as error:  # as above
        yield _unreadable(source, row + 1, error)


READERS: dict[str, _Reader] = {
    **dict.fromkeys(JSON_KINDS, _read_json_lines),
    ".parquet": partial(_read_table, parquet_batches),
    **dict.fromkeys(ARROW_KINDS, partial(_read_table, arrow_batches)),
    **dict.fromkeys(TEXT_KINDS, _read_text),
}
