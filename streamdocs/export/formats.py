"""Formats: how the rows of a slice become files, and what is left to do once all slices are there."""

import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from streamdocs._base.unfinished import new_folder, remove, whole_file
from streamdocs.errors import ConfigError

_TOKENS = ("tokens.bin", "tokens.idx")


class Format(ABC):
    """A format."""

    #: Where its rows are, as a dataset card says it; "" where no reader of such cards knows it.
    data: str = ""

    @abstractmethod
    def write(self, out: Path, number: int, table: pa.Table) -> None:
        """Write a slice, which appears when it is complete; what was there of it is replaced.

        Raises:
            OSError: It cannot be written.
        """

    @abstractmethod
    def has(self, out: Path, number: int) -> bool:
        """Whether a slice that was written is still there."""

    def finish(self, out: Path, slices: int, schema: pa.Schema) -> None:  # noqa: B027  (most have nothing to do)
        """Make one dataset of all slices, where they are none yet; may be done again."""


class Parquet(Format):
    """A file of Parquet a slice. ``name``: How they are called; that of a split is what the Hugging Face Hub knows."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.data = f"data/{name}-*.parquet"

    def write(self, out: Path, number: int, table: pa.Table) -> None:
        with _rows_file(out, self._file(number)) as file:
            pq.write_table(table, file, compression="zstd")

    def has(self, out: Path, number: int) -> bool:
        return (out / "data" / self._file(number)).exists()

    def _file(self, number: int) -> str:
        return f"{self._name}-{number:05d}.parquet"


class JsonLines(Format):
    """A file of JSON lines a slice."""

    data = "data/part-*.jsonl"

    def write(self, out: Path, number: int, table: pa.Table) -> None:
        with _rows_file(out, f"part-{number:05d}.jsonl") as file:
            for row in table.to_pylist():
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def has(self, out: Path, number: int) -> bool:
        return (out / "data" / f"part-{number:05d}.jsonl").exists()


def _rows_file(out: Path, name: str) -> AbstractContextManager[IO[bytes]]:
    """A file in a folder that holds nothing but rows, so that readers take it as a whole."""
    (out / "data").mkdir(exist_ok=True)
    return whole_file(out / "data" / name)


class Mds(Format):
    """Shards that ``streaming.StreamingDataset`` reads: a folder a slice, and one index over all."""

    def write(self, out: Path, number: int, table: pa.Table) -> None:
        from streaming import MDSWriter  # noqa: PLC0415  (takes seconds)

        columns = {field.name: _mds_type(field) for field in table.schema}
        ids, rest = table["input_ids"].combine_chunks(), table.drop_columns("input_ids").to_pylist()
        with (
            new_folder(out / f"{number:05d}", replace=True) as folder,
            MDSWriter(out=str(folder), columns=columns, compression="zstd", hashes=["xxh3_64"]) as writer,
        ):
            for tokens, row in zip(ids, rest, strict=True):
                writer.write({**row, "input_ids": tokens.values.to_numpy()})

    def has(self, out: Path, number: int) -> bool:
        return (out / f"{number:05d}" / "index.json").exists()

    def finish(self, out: Path, slices: int, schema: pa.Schema) -> None:
        from streaming.base.util import merge_index  # noqa: PLC0415

        (out / "index.json").unlink(missing_ok=True)  # of who was killed; it refuses to write over one
        merge_index(str(out), keep_local=True)


def _mds_type(field: pa.Field) -> str:
    """MDS has no missing values: what may miss is JSON."""
    if field.name == "input_ids":
        return f"ndarray:{field.type.value_type}"
    if field.name in ("walk", "about") or pa.types.is_nested(field.type):
        return "json"
    return "str" if pa.types.is_string(field.type) else "int"


class Megatron(Format):
    """``tokens.bin`` and ``tokens.idx`` of Megatron-LM, a document for each row; tokens alone."""

    def write(self, out: Path, number: int, table: pa.Table) -> None:
        with new_folder(out / f"{number:05d}", replace=True) as folder, _tokens_file(folder, table.schema) as builder:
            for ids in table["input_ids"].combine_chunks():
                builder.add_document(ids.values.to_numpy(), [len(ids)])

    def has(self, out: Path, number: int) -> bool:
        return (out / f"{number:05d}" / "tokens.idx").exists() or all((out / name).exists() for name in _TOKENS)

    def finish(self, out: Path, slices: int, schema: pa.Schema) -> None:
        folders = [out / f"{number:05d}" for number in range(slices)]
        if all(folder.exists() for folder in folders):  # otherwise they were put together before
            with new_folder(out / "whole", replace=True) as folder, _tokens_file(folder, schema) as builder:
                for each in folders:
                    builder.add_index(str(each / "tokens"))
            for name in _TOKENS:
                (out / "whole" / name).replace(out / name)
        for folder in [out / "whole", *folders]:
            remove(folder)


@contextmanager
def _tokens_file(folder: Path, schema: pa.Schema) -> Iterator[Any]:
    """What writes the two files of Megatron-LM into a folder; 32 bits are signed there.

    Raises:
        ConfigError: megatron-core is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses apex, which none of this needs
            from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"--to megatron needs megatron-core ({error}): install streamdocs with its extra [megatron]"
        ) from error
    is_short = schema.field("input_ids").type.value_type == pa.uint16()
    builder = IndexedDatasetBuilder(str(folder / "tokens.bin"), dtype=np.uint16 if is_short else np.int32)
    yield builder
    builder.finalize(str(folder / "tokens.idx"))


#: By the names that ``--to`` takes.
FORMATS: Mapping[str, Format] = {
    "parquet": Parquet("part"),
    "mds": Mds(),
    "jsonl": JsonLines(),
    "hf": Parquet("train"),
    "megatron": Megatron(),
}
