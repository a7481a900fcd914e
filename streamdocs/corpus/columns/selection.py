"""Which documents of a split meet conditions, and what is said of the columns that these are on."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from streamdocs._base.arrays import Bools, Int32s
from streamdocs.corpus.columns.conditions import Condition, Where
from streamdocs.corpus.columns.file import MOST_DISTINCT, file_digest, read_batches, told_value
from streamdocs.corpus.files import COLUMNS_FOLDER, PREPARE_AGAIN
from streamdocs.errors import ConfigError, CorpusError, reason, some


def select(folder: Path, section: Mapping[str, Any], where: Where, fetch: Callable[[str], Path]) -> Int32s:
    """The documents of a split that meet all conditions, in order: int32 (chosen,), at least one.

    Args:
        folder: The split.
        section: What ``corpus.json`` says of it.
        where: The conditions.
        fetch: Makes sure that a column's file is there, and says where.

    Raises:
        ConfigError: A column is not there or of another kind than its condition, or no document meets them all.
        CorpusError: A column's file is damaged, or cannot be had.
    """
    columns = section.get("columns", {})
    for name, condition in where.root.items():
        _check(folder, section, name, condition)
    chosen = np.ones(section["documents"], np.bool_)
    met_by = {}
    for name, condition in where.root.items():
        met = _met(fetch(f"{COLUMNS_FOLDER}/{columns[name]['file']}"), columns[name], condition, len(chosen))
        met_by[name] = np.count_nonzero(met)
        chosen &= met
    if not chosen.any():
        found = [
            f"{name} {where.root[name]}: {count:,}, of {told(columns[name], len(chosen))}"
            for name, count in met_by.items()
        ]
        raise ConfigError(
            f"where: none of the {len(chosen):,} documents of {folder} meets {'it' if len(found) == 1 else 'all'} "
            f"({'; '.join(found)})"
        )
    return np.flatnonzero(chosen).astype(np.int32)


def told(column: Mapping[str, Any], documents: int) -> str:
    """What values a column of a split has, as ``corpus.json`` says, in words."""
    if column["kind"] == "number":
        if column["quartiles"] is None:
            return "numbers, none of them here"
        least, *quarters, most = (
            f"{each:.{15 if each.is_integer() else 6}g}" for each in map(float, column["quartiles"])
        )
        return f"numbers from {least} to {most}, quartiles {', '.join(quarters)}"
    if column["distinct"] is None:
        return f"more than {MOST_DISTINCT:,} strings"
    values = max(1, documents - column["missing"])
    shares = [f"{told_value(string)} {count / values:.1%}" for string, count in column["commonest"].items()]
    return f"{column['distinct']:,} strings: {', '.join(shares)}" + ", …" * (column["distinct"] > len(shares))


def _check(folder: Path, section: Mapping[str, Any], name: str, condition: Condition) -> None:
    columns = section.get("columns", {})
    if name not in columns:
        there = f"has {some(sorted(columns), 20)}" if columns else "has none"
        wanted = ",".join(sorted({*columns, name}))
        raise ConfigError(
            f"where: {folder} has no column {name!r}, it {there}; make the corpus again with "
            f"`streamdocs prepare --keep {wanted} --overwrite`"
        )
    kind = columns[name]["kind"]
    if kind != condition.kind:
        hint = ": quote them" if kind == "string" and condition.min is condition.max is None else ""
        there = told(columns[name], section["documents"])
        raise ConfigError(f"where: {name} of {folder} has {there}; {condition} is for {condition.kind}s{hint}")


def _met(path: Path, column: Mapping[str, Any], condition: Condition, documents: int) -> Bools:
    try:
        # The whole file is read below, and hashing it takes less.
        if file_digest(path) != column["digest"]:
            raise ValueError("it is damaged, or another corpus's")
        met = np.concatenate([condition.meets(piece) for piece in read_batches(path, column["kind"])])
        if len(met) != documents:
            raise ValueError(f"it has {len(met):,} rows for {documents:,} documents")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise CorpusError(f"{path} cannot be read ({reason(error)}): {PREPARE_AGAIN}") from error
    return met
