"""An export: slices, written one after another, and a record of those that are there, by which it goes on."""

import fcntl
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from streamdocs._base.unfinished import write_whole
from streamdocs.errors import ConfigError
from streamdocs.export.formats import FORMATS
from streamdocs.export.rows import Rows

log = logging.getLogger(__name__)

#: In the folder of an export: what it is of, and which slices are there.
RECORD = "export.json"
CARD = "README.md"


@dataclass(frozen=True)
class Exported:
    """What is known of an export.

    Args:
        format: Its name.
        identity: Of its rows.
        slices: What each slice that is there holds, by its number.
        complete: Whether all of them are there.
    """

    format: str
    identity: dict[str, Any]
    slices: dict[int, dict[str, int]]
    complete: bool = False

    @classmethod
    def read(cls, out: Path) -> "Exported | None":
        """That of a folder; None where nothing is in it.

        Raises:
            ConfigError: It is no export's.
        """
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return None
        try:
            return _EXPORTED.validate_json((out / RECORD).read_bytes())
        except (OSError, ValidationError) as error:
            raise ConfigError(f"{out} is not empty, and no export of streamdocs: pick another folder") from error

    def save(self, out: Path) -> None:
        """Write it into a folder."""
        write_whole(out / RECORD, _EXPORTED.dump_json(self, indent=1))

    @property
    def counts(self) -> Counter[str]:
        """What all slices hold together."""
        return sum(map(Counter, self.slices.values()), Counter[str]())


_EXPORTED = TypeAdapter(Exported)


def export(rows: Rows, format: str, out: Path, card: Callable[[Exported], str]) -> Exported:
    """Write rows into a folder, those slices that are not there yet.

    Args:
        rows: What is exported.
        format: One of ``FORMATS``.
        out: The folder, which is made; or that of the same export, which was broken off.
        card: Makes the dataset's card of what was written.

    Raises:
        ConfigError: Something else is in the folder, the format is not known, or a file cannot be written.
        StreamdocsError: What is to be exported cannot be read.
    """
    if format not in FORMATS:
        raise ConfigError(f"--to {format}: it is one of {', '.join(FORMATS)}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _alone(out):
            return _export(rows, format, out, card)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error}): free some space, or pick another folder") from error


def _export(rows: Rows, format: str, out: Path, card: Callable[[Exported], str]) -> Exported:
    identity = json.loads(json.dumps(rows.identity))
    known = Exported.read(out) or Exported(format, identity, {})
    if (known.format, known.identity) != (format, identity):
        mine = {"format": format, **identity}
        other = [name for name, value in {"format": known.format, **known.identity}.items() if mine.get(name) != value]
        raise ConfigError(
            f"{out} holds another export, of another {', '.join(other) or 'kind'}: pick another folder, or delete it"
        )
    made, slices = FORMATS[format], rows.slices()
    there = {number: counts for number, counts in known.slices.items() if made.has(out, number)}
    if known.complete and there == known.slices:
        return known
    known = Exported(format, identity, there)
    known.save(out)
    for these in slices:
        if these.number in known.slices:
            continue
        table = rows.table(these)
        made.write(out, these.number, table)
        known.slices[these.number] = rows.count(table)
        known.save(out)
        log.info("%s: slice %d of %d, %s %s", out, these.number + 1, len(slices), f"{table.num_rows:,}", rows.unit)
    made.finish(out, len(slices), rows.schema)
    write_whole(out / CARD, card(known).encode())
    known = Exported(format, identity, known.slices, complete=True)
    known.save(out)
    return known


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Nobody else writes into a folder meanwhile."""
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigError(f"{out}: another process is writing there just now") from error
    finally:
        os.close(folder)
