"""Reads documents from files, folders and Hugging Face datasets, one row at a time."""

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import pyarrow as pa
import pyarrow.parquet as pq

from streamdocs.errors import ConfigError, CorpusError

# Half of what leaves room for a document's text and tokens within MDS's 32-bit offsets.
MAX_TEXT_BYTES = 1 << 30
# JSON escapes may take more room than the text; past this a line is skipped without holding it in memory.
MAX_LINE_BYTES = 2 * MAX_TEXT_BYTES
DATASET_PREFIX = "hf://"

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}


@dataclass(frozen=True, slots=True)
class Document:
    """A text that can be used, and the file and row (from 1) that it came from."""

    text: str
    file: str
    row: int


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used, and why."""

    file: str
    row: int
    cause: str


@dataclass(frozen=True, slots=True)
class UnreadableRest(BadRow):
    """This row of a file and all after it, of which nobody knows how many they are; ``error`` says what went wrong."""

    error: str


Row: TypeAlias = Document | BadRow
Reader: TypeAlias = Callable[[str, str], Iterator[Row]]


def read_documents(inputs: Sequence[str], *, text_field: str = "text") -> Iterator[Row]:
    """Every row of the inputs in order, as a ``Document`` or a ``BadRow``; an ``UnreadableRest`` is the last of a file.

    An input is a file (JSON lines, Parquet, or one document of plain text), a folder of such files, or a dataset as
    ``hf://NAME[:SPLIT][?OPTION=VALUE&...]``, the options being arguments of ``datasets.load_dataset``.
    Raises ``CorpusError`` at once where an input does not exist or has no files of these kinds.
    """
    files = list_files(inputs)
    return chain.from_iterable(_reader(file)(file, text_field) for file in files)


def list_files(inputs: Iterable[str]) -> list[str]:
    """The absolute paths (and dataset names, as they are) that the inputs stand for, in the order of reading."""
    return [file for each in inputs for file in ([each] if each.startswith(DATASET_PREFIX) else _walk(Path(each)))]


def _walk(path: Path) -> list[str]:
    path = Path(os.path.abspath(path))  # links stay: Hugging Face's cache links NAME.jsonl to a file without a suffix
    if not path.exists():
        raise CorpusError(f"the input {path} does not exist")
    if not path.is_dir():
        _reader(str(path))
        return [str(path)]
    below = sorted(file for file in path.rglob("*") if file.is_file() and _format(file) in READERS)
    # Hidden folders hold caches and unfinished work, not documents.
    files = [str(file) for file in below if not any(part[0] == "." for part in file.relative_to(path).parts)]
    if not files:
        raise CorpusError(f"the folder {path} has no files of a kind that can be read: {', '.join(READERS)}")
    return files


def _format(path: Path) -> str:
    name = path.with_suffix("") if path.suffix in COMPRESSIONS else path
    return name.suffix


def _reader(file: str) -> Reader:
    if file.startswith(DATASET_PREFIX):
        return _read_dataset
    reader = READERS.get(_format(Path(file)))
    if reader is None:
        raise CorpusError(f"{file} is of no kind that can be read: {', '.join(READERS)} ({', '.join(COMPRESSIONS)})")
    return reader


def _open(file: str) -> io.BufferedReader:
    raw = open(file, "rb")  # noqa: SIM115  (Arrow itself cannot open a file whose name is not UTF-8)
    codec = COMPRESSIONS.get(Path(file).suffix)
    # Unlike zstandard's own reader, Arrow's raises on a truncated stream.
    return io.BufferedReader(pa.CompressedInputStream(raw, codec)) if codec else raw


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
    return UnreadableRest(file, row, "unreadable rest of file", str(error) or type(error).__name__)


def _pick(fields: object, text_field: str, file: str, row: int) -> Row:
    if not isinstance(fields, dict):
        return BadRow(file, row, "not an object")
    if text_field not in fields:
        return BadRow(file, row, f"no text field {text_field!r}")
    return _check(fields[text_field], file, row)


def _read_text(file: str, text_field: str) -> Iterator[Row]:
    try:
        with _open(file) as stream:
            data = stream.read(MAX_TEXT_BYTES + 1)
        yield _check(data.decode("utf-8-sig"), file, 1)
    except OSError as error:
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
    except OSError as error:
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
        return BadRow(file, row, "invalid UTF-8")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):  # the second from deeply nested brackets
        return BadRow(file, row, "not JSON")
    return _pick(fields, text_field, file, row)


def _read_parquet(file: str, text_field: str) -> Iterator[Row]:
    row = 0
    try:
        with open(file, "rb") as stream, pq.ParquetFile(stream) as table:
            if text_field not in table.schema_arrow.names:
                for number in range(1, table.metadata.num_rows + 1):
                    yield BadRow(file, number, f"no text field {text_field!r}")
                return
            # Small batches: the rows of web text are large.
            for batch in table.iter_batches(batch_size=256, columns=[text_field]):
                for value in batch.column(0):
                    row += 1
                    yield _check_arrow(value, file, row)
    except (OSError, pa.ArrowException) as error:
        yield _unreadable(file, row + 1, error)


def _check_arrow(value: Any, file: str, row: int) -> Row:
    try:
        return _check(value.as_py(), file, row)
    except UnicodeDecodeError:
        return BadRow(file, row, "invalid UTF-8")


def _read_dataset(source: str, text_field: str) -> Iterator[Row]:
    try:
        import datasets  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise ConfigError(f"{source} needs the datasets package: pip install datasets") from error
    address, _, query = source.removeprefix(DATASET_PREFIX).partition("?")
    name, _, split = address.partition(":")
    try:
        rows = datasets.load_dataset(name, split=split or "train", streaming=True, **dict(parse_qsl(query)))
    except Exception as error:  # whatever the libraries raise that it opens things with
        raise CorpusError(f"the dataset {source} cannot be opened: {error}") from error
    row = 0
    try:
        for row, fields in enumerate(rows, 1):
            yield _pick(fields, text_field, source, row)
    except Exception as error:  # as above
        yield _unreadable(source, row + 1, error)


READERS: dict[str, Reader] = {
    **dict.fromkeys((".jsonl", ".json", ".ndjson"), _read_json_lines),
    ".parquet": _read_parquet,
    **dict.fromkeys((".txt", ".md"), _read_text),
}
