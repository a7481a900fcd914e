"""The commands ``streamdocs store …``: copy a store, say what is in it, and whether two hold the same."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich import table as rich_table

from streamdocs._base.console import expanded, plain_console
from streamdocs.config import RunFile
from streamdocs.errors import StoreError, some
from streamdocs.store import LmdbStore, SharedStore, Store, Table, open_store
from streamdocs.store.copying import Difference, compare_stores, copy_store, count_entries

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False, help="Stores as a whole.")

_WHERE = "A folder, a URL (s3://, gs://, az://, file://), or a run file, whose store it is."
Where = Annotated[str, typer.Argument(help=_WHERE)]
To = Annotated[str, typer.Argument(metavar="TO", help=_WHERE)]
Cache = Annotated[
    Path, typer.Option(callback=expanded, help="Folder of this machine for what it reads of a URL; may be deleted.")
]
Notes = Annotated[bool, typer.Option(help="Also write the notes of SOURCE over those of TO that differ.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@app.command("copy")
def copy(source: Where, target: To, cache: Cache = Path("cache"), notes: Notes = False) -> None:
    """Copy what TO lacks: texts, tokens, blocks, sealed windows and notes. Broken off, it goes on when run again."""
    first, second = _open(source, cache), _open(target, cache, must_exist=False)
    copied: dict[str, int] = {}
    for table, count in copy_store(first, second, notes=notes):
        copied[table] = copied.get(table, 0) + count
    told = ", ".join(f"{count:,} {table}" for table, count in copied.items()) or "nothing that was not there"
    plain_console().print(f"copied from {first.location} to {second.location}: {told}")


@app.command("info")
def info(where: Where, cache: Cache = Path("cache"), as_json: AsJson = False) -> None:
    """Say what is in a store, and how it lies there."""
    store = _open(where, cache)
    rows: dict[str, object] = {"location": store.location}
    rows.update(count_entries(store).items())
    rows["bytes_here"] = store.size()
    if isinstance(store, SharedStore):
        rows |= store.account()
    _tell(rows, as_json=as_json)


@app.command("verify")
def verify(source: Where, target: To, cache: Cache = Path("cache"), as_json: AsJson = False) -> None:
    """Compare every entry of a store with that of another, which has to hold all of them; notes may differ.

    What is at a URL is read anew, to a temporary folder of the cache: as many bytes as there are.
    """
    first, second = _open(source, cache), _open(target, cache)
    with _anew(first) as read_first, _anew(second) as read_second:
        found = compare_stores(read_first, read_second)
    rows: dict[str, object] = {}
    for table, each in found.items():
        rows |= {f"{table} same": each.same, f"{table} lost": len(each.lost), f"{table} other": len(each.other)}
        rows |= {f"{table} more": each.more, f"{table} gone": len(each.gone)}
    _tell(rows, as_json=as_json)
    if found["notes"].other and not as_json:
        plain_console().print("notes that differ are newer in one of both: `copy --notes` writes the first one's")
    _refuse(first.location, second.location, found)


def _refuse(first: str, second: str, found: Mapping[Table, Difference]) -> None:
    """Raise what is wrong, if anything is, and what helps."""
    other: dict[Table, list[bytes]] = {table: each.other for table, each in found.items() if table != "notes"}
    wrong = (
        (f"{first} has lost values", _told({table: each.gone for table, each in found.items()}), "restore its bundles"),
        (
            f"{second} does not hold what {first} does",
            _told({table: each.lost for table, each in found.items()}),
            "copy it again",
        ),
        (f"{second} holds something else than {first}", _told(other), "copy to a place where nothing is"),
    )
    told = [f"{what} ({which}): {helps}" for what, which, helps in wrong if which]
    if told:
        raise StoreError(". ".join(told))


def _told(keys: Mapping[Table, Sequence[bytes]]) -> str:
    return "; ".join(f"{table}: {some([key.hex() for key in each], 2)}" for table, each in keys.items() if each)


@contextmanager
def _anew(store: Store) -> Iterator[Store]:
    """A store of which nothing is known from a cache."""
    if not isinstance(store, SharedStore):
        yield store
        return
    folder = os.path.dirname(store.cache)
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="verify-", dir=folder, ignore_cleanup_errors=True) as empty:
        yield store.anew(empty)


def _open(where: str, cache: Path, *, must_exist: bool = True) -> Store:
    path = Path(where)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return RunFile.load(path).open_store(must_exist=must_exist)
    store = open_store(where, cache=cache)
    if must_exist and not (isinstance(store, LmdbStore | SharedStore) and store.exists):
        raise StoreError(f"there is no store at {store.location}")
    return store


def _tell(rows: dict[str, object], *, as_json: bool) -> None:
    console = plain_console()
    if as_json:
        console.print(json.dumps(rows), soft_wrap=True)
        return
    table = rich_table.Table("", "", show_header=False)
    for name, value in rows.items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    console.print(table)
