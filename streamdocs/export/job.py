"""An export: parts written one after another, and a note of those that are there, so that it goes on when run again."""

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from streamdocs._base.unfinished import write_whole
from streamdocs.errors import ConfigError
from streamdocs.export.formats import FORMATS
from streamdocs.export.rows import Rows

log = logging.getLogger(__name__)

#: In the folder of an export: what it is of, and which parts are there.
NOTE = "export.json"
CARD = "README.md"


@dataclass(frozen=True)
class Note:
    """What is known of an export.

    Args:
        format: Its name.
        identity: Of its rows.
        parts: What each part that is there holds, by its number.
        complete: Whether all of them are there.
    """

    format: str
    identity: dict[str, Any]
    parts: dict[int, dict[str, int]]
    complete: bool = False

    @classmethod
    def read(cls, out: Path) -> "Note | None":
        """That of a folder; None where nothing is in it.

        Raises:
            ConfigError: It is no export's.
        """
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return None
        try:
            return _NOTE.validate_json((out / NOTE).read_bytes())
        except (OSError, ValidationError) as error:
            raise ConfigError(f"{out} is not empty, and no export of streamdocs: pick another folder") from error

    def save(self, out: Path) -> None:
        """Write it into a folder."""
        write_whole(out / NOTE, _NOTE.dump_json(self, indent=1))

    @property
    def counts(self) -> Counter[str]:
        """What all parts hold together."""
        return sum(map(Counter, self.parts.values()), Counter[str]())


_NOTE = TypeAdapter(Note)


def export(rows: Rows, format: str, out: Path, card: Callable[[Note], str]) -> Note:
    """Write rows into a folder, those parts that are not there yet.

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
    identity = json.loads(json.dumps(rows.identity))
    note = Note.read(out) or Note(format, identity, {})
    if (note.format, note.identity) != (format, identity):
        mine = {"format": format, **identity}
        other = [name for name, value in {"format": note.format, **note.identity}.items() if mine.get(name) != value]
        raise ConfigError(
            f"{out} holds another export, of another {', '.join(other) or 'kind'}: pick another folder, or delete it"
        )
    made, parts = FORMATS[format], rows.parts()
    try:
        out.mkdir(parents=True, exist_ok=True)
        note.save(out)
        for part in parts:
            if part.number in note.parts:
                continue
            table = rows.table(part)
            made.write(out, part.number, table)
            note.parts[part.number] = rows.count(table)
            note.save(out)
            log.info("%s: part %d of %d, %s %s", out, part.number + 1, len(parts), f"{table.num_rows:,}", rows.unit)
        if not note.complete:
            made.finish(out, len(parts), rows.schema)
            write_whole(out / CARD, card(note).encode())
            note = Note(note.format, note.identity, note.parts, complete=True)
            note.save(out)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error}): free some space, or pick another folder") from error
    return note
