"""Rows of an export, whatever is exported: what formats and cards ask of them."""

import json
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.reading.assembly import WalkSegment


class Slice(NamedTuple):
    """Rows that are written together.

    number: Of the slice. rows: Positions, or items in the order of generation. stream: Whose items they are.
    """

    number: int
    rows: range
    stream: str = ""


class Rows(Protocol):
    """What is exported.

    dataset: Of the run. schema: Of each table; it has a column ``input_ids``. identity: What makes the rows those that
    they are, as JSON. unit: What a row is called where rows are counted.
    """

    dataset: StreamingMegadocDataset
    schema: pa.Schema
    identity: dict[str, Any]
    unit: str

    def slices(self) -> list[Slice]:
        """All slices, in order."""

    def table(self, these: Slice) -> pa.Table:
        """The rows of a slice; the same ones each time."""

    def count(self, table: pa.Table) -> dict[str, int]:
        """What a slice holds, by name: ``rows``, ``tokens`` and more."""


def told_walk(walk: WalkSegment | None) -> str | None:
    """A walk as JSON; None for none."""
    return None if walk is None else json.dumps(walk._asdict())
