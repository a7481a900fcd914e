"""Parquet and Arrow files, batch by batch, and the values of one column of a batch."""

import os
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streamdocs.corpus.inputs import EVERY_STRING


class Batch(NamedTuple):
    """Some rows of a table, and the names of all its columns, whether they were read or not."""

    rows: pa.RecordBatch
    names: list[str]

    def values(self, name: str) -> Iterator[Any] | None:
        """The values of a column, or of the fields of structs within one, as ``pick_field`` finds them; or None.

        What a column of strings holds comes as bytes, since any of them may be invalid.

        Raises:
            ArrowException: What the file says of the column cannot be.
        """
        names = self.rows.schema.names
        outer = name if name in names else name.partition(".")[0]
        if outer not in names or (outer != name and names.count(outer) != 1):
            return None
        column = self.rows.column(names.index(outer))
        path = [] if outer == name else _path(column.type, name.partition(".")[2])
        if path is None:
            return None
        plain = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}.get(column.type)
        column = column.cast(plain) if plain else column  # valid as bytes: each row is decoded by itself
        column.validate(full=True)  # else what a file says could lead anywhere in memory
        return (value.as_py() for value in (pc.struct_field(column, path) if path else column))


def _path(kind: pa.DataType, name: str) -> list[int] | None:
    """Which fields of structs in structs lead to a name."""
    if not name or not pa.types.is_struct(kind):
        return None
    names = [field.name for field in kind]
    if name in names:
        return [names.index(name)]
    outer, _, inner = name.partition(".")
    if names.count(outer) != 1:
        return None
    at = names.index(outer)
    rest = _path(kind.field(at).type, inner)
    return None if rest is None else [at, *rest]


def parquet_batches(stream: IO[bytes], columns: Sequence[str]) -> Iterator[Batch]:
    """The batches of a Parquet file, with those of the columns that it has; all of them for ``EVERY_STRING``."""
    with pq.ParquetFile(stream) as table:
        # Small batches: the rows of web text are large.
        chosen = None if EVERY_STRING in columns else list(dict.fromkeys(columns))
        for rows in table.iter_batches(batch_size=256, columns=chosen):
            yield Batch(rows, table.schema_arrow.names)


def arrow_batches(stream: IO[bytes], _columns: Sequence[str]) -> Iterator[Batch]:
    """The batches of Arrow IPC: streams, as ``datasets.save_to_disk`` and its caches write them, and files, as Feather.

    Raises:
        EOFError: A stream ends before it says so.
    """
    is_file = stream.read(6) == b"ARROW1"
    end = stream.seek(-4, os.SEEK_END) and stream.read()
    stream.seek(0)
    if is_file:
        file = pa.ipc.open_file(stream)
        for number in range(file.num_record_batches):
            yield Batch(file.get_batch(number), file.schema.names)
        return
    for rows in pa.ipc.open_stream(stream):
        yield Batch(rows, rows.schema.names)
    if end != bytes(4):  # Arrow takes the end of the file for that of the stream
        raise EOFError("the file ends before its stream does")
