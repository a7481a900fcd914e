"""A column's file: an Arrow file of one column, a row a document, null where a document has no value.

Numbers are float64. Strings are a dictionary of up to ``MOST_DISTINCT`` and 16-bit codes; of more distinct ones, each
lies there as it is. Whatever reads Arrow opens it.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamdocs._base.arrays import Bools
from streamdocs._base.hashing import digest128
from streamdocs.corpus.columns.values import Kind

#: Of the strings in a dictionary: its codes take two bytes.
MOST_DISTINCT = (1 << 15) - 1
#: The strings that ``corpus.json`` names.
MOST_COMMON = 10
#: So many rows are held while a column is written, and looked at in one step.
BATCH_ROWS = 1 << 14
_LONGEST_TOLD = 40

_TYPES: dict[Kind, pa.DataType] = {"number": pa.float64(), "string": pa.string()}
_CODED = pa.dictionary(pa.int16(), pa.string())

Floats: TypeAlias = npt.NDArray[np.float64]


class ColumnWriter:
    """Writes a column value by value, in memory that does not grow with it.

    Args:
        path: Its file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Of which kind a column is, all of its values say together.
        self._numbers = _KindWriter(path.with_suffix(".numbers"), "number")
        self._strings = _KindWriter(path.with_suffix(".strings"), "string")

    def write(self, value: float | str | None) -> None:
        """Write the value of the next document."""
        is_string = isinstance(value, str)
        self._numbers.write(None if is_string else value)
        self._strings.write(value if is_string else None)

    def finish(self, kind: Kind) -> dict[str, Any]:
        """Write what is left, of the values of one kind alone; what ``corpus.json`` says of the column."""
        kept, dropped = (self._numbers, self._strings)[:: 1 if kind == "number" else -1]
        dropped.remove()
        missing = kept.finish(self._path)
        strings = self._strings.found
        if kind == "number":
            summary: dict[str, Any] = {"quartiles": _quartiles(self._path)}
        elif strings is None:
            summary = {"distinct": None, "commonest": {}}
        else:
            _encode(self._path, sorted(strings))
            commonest = sorted(strings.items(), key=lambda each: (-each[1], each[0]))[:MOST_COMMON]
            summary = {"distinct": len(strings), "commonest": dict(commonest)}
        facts = {"file": self._path.name, "digest": file_digest(self._path), "kind": kind, "missing": missing}
        return {**facts, **summary}

    def close(self) -> None:
        """Close the files; without ``finish`` the column stays incomplete."""
        self._numbers.close()
        self._strings.close()


class _KindWriter:
    """Writes the values of one kind; there is no file before the first one.

    Args:
        path: Its file.
        kind: Of its values.
    """

    def __init__(self, path: Path, kind: Kind) -> None:
        self._path = path
        self._type = _TYPES[kind]
        self._rows: list[float | str | None] = []
        self._nulls_before = self._missing = 0
        self._file: _ArrowWriter | None = None
        #: How often each string was found; None for too many.
        self.found: Counter[str] | None = Counter() if kind == "string" else None

    def write(self, value: float | str | None) -> None:
        self._rows.append(value)
        if len(self._rows) == BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        values = [value for value in rows if value is not None]
        self._missing += len(rows) - len(values)
        if self._file is None and not values:
            self._nulls_before += len(rows)
            return
        self._open().write(pa.array(rows, self._type))
        if self.found is not None:
            self.found.update(values)  # type: ignore[arg-type]
            if len(self.found) > MOST_DISTINCT:
                self.found = None

    def _open(self) -> "_ArrowWriter":
        if self._file is None:
            self._file = _ArrowWriter(self._path, self._type)
            for begin in range(0, self._nulls_before, BATCH_ROWS):
                self._file.write(pa.nulls(min(BATCH_ROWS, self._nulls_before - begin), self._type))
        return self._file

    def finish(self, path: Path) -> int:
        """Complete the file and give it its name; how many rows have no value."""
        self._flush()
        self._open().close()
        os.replace(self._path, path)
        return self._missing

    def remove(self) -> None:
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file:
            self._file.close()


class _ArrowWriter:
    def __init__(self, path: Path, kind: pa.DataType) -> None:
        self._schema = pa.schema([("value", kind)])
        self._stream = open(path, "wb")  # noqa: SIM115  (Arrow cannot open any name; closed with this)
        self._file = pa.ipc.new_file(self._stream, self._schema)

    def write(self, column: pa.Array) -> None:
        self._file.write_batch(pa.record_batch([column], self._schema))

    def close(self) -> None:
        if not self._stream.closed:
            with self._stream:
                self._file.close()


def read_batches(path: Path, kind: Kind) -> Iterator[pa.Array]:
    """The rows of a column's file in pieces, mapped from it: float64, strings, or strings with a dictionary.

    Raises:
        OSError, ValueError, ArrowException: It is not a file of such a column.
    """
    with pa.memory_map(os.fsencode(path)) as mapped:
        file = pa.ipc.open_file(mapped)
        if file.schema.types not in ([[_TYPES["number"]]] if kind == "number" else [[_TYPES["string"]], [_CODED]]):
            raise ValueError(f"it has {file.schema.types}, not one column of {kind}s")
        for number in range(file.num_record_batches):
            column = file.get_batch(number).column(0)
            column.validate(full=True)  # else what a file says could lead anywhere in memory
            yield column


def file_digest(path: Path) -> str:
    """The digest of a file's bytes, as 32 hexadecimal digits."""
    return digest128(np.memmap(path, mode="r").data).hex()


def numbers(column: pa.Array) -> tuple[Floats, Bools]:
    """The numbers of a piece, and where there are any: float64 and bool (rows,)."""
    return plain(column, np.dtype(np.float64))


def plain(column: pa.Array, dtype: np.dtype[Any]) -> tuple[npt.NDArray[Any], Bools]:
    """The values of a piece, anything where there is none, and where there are any: ``dtype`` and bool (rows,).

    Arrow's own ways to arrays import pandas, where that is installed, for half a second.
    """
    valid, values = column.buffers()
    here = slice(column.offset, column.offset + len(column))
    found = np.frombuffer(values or b"", dtype)[here]
    if valid is None:
        return found, np.ones(len(found), np.bool_)
    return found, np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")[here].view(np.bool_)


def told_value(value: float | str) -> str:
    """A value for people to read: a long string by its beginning."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TOLD else f"{value[:_LONGEST_TOLD]}…"
    return f"{value:.15g}"


def _quartiles(path: Path) -> list[float] | None:
    values = np.concatenate([found[valid] for found, valid in map(numbers, read_batches(path, "number"))])
    if not len(values):
        return None
    return np.quantile(values, (0, 0.25, 0.5, 0.75, 1), method="inverted_cdf").tolist()


def _encode(path: Path, strings: list[str]) -> None:
    """Write a file of strings anew, with a dictionary of them."""
    dictionary = pa.array(strings, pa.string())
    # In one piece, 2 bytes a row: a condition looks once at the dictionary of a piece.
    codes = [pc.index_in(column, value_set=dictionary).cast(pa.int16()) for column in read_batches(path, "string")]
    coded = path.with_name(f"{path.name}.coded")
    writer = _ArrowWriter(coded, _CODED)
    try:
        writer.write(pa.DictionaryArray.from_arrays(pa.concat_arrays(codes), dictionary))
    finally:
        writer.close()
    os.replace(coded, path)
