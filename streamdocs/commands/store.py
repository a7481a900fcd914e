"""The commands ``streamdocs store …``: copy a store, say what is in it, and whether two hold the same."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from streamdocs._base.console import expanded, plain_console
from streamdocs.config import RunFile
from streamdocs.errors import StoreError, some
from streamdocs.store import LmdbStore, SharedStore, Store, open_store
from streamdocs.store.copying import compare_stores, copy_store, count_entries

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False, help="Stores as a whole.")

_WHERE = "A folder, a URL (s3://, gs://, az://, file://), or a run file, whose store it is."
Where = Annotated[str, typer.Argument(help=_WHERE)]
To = Annotated[str, typer.Argument(metavar="TO", help=_WHERE)]
Cache = Annotated[
    Path, typer.Option(callback=expanded, help="Folder of this machine for what it reads of a URL; may be deleted.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@app.command("copy")
def copy(source: Where, target: To, cache: Cache = Path("cache")) -> None:
    """Copy what TO lacks: texts, tokens, blocks, sealed windows and notes. Broken off, it goes on when run again."""
    first, second = _open(source, cache), _open(target, cache, must_exist=False)
    copied: dict[str, int] = {}
    for table, count in copy_store(first, second):
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
    """Compare every entry of a store with that of another, which has to hold all of them."""
    first, second = _open(source, cache), _open(target, cache)
    found = compare_stores(first, second)
    rows: dict[str, object] = {}
    for table, each in found.items():
        rows |= {f"{table} same": each.same, f"{table} lost": len(each.lost), f"{table} other": len(each.other)}
        rows[f"{table} more"] = each.more
    _tell(rows, as_json=as_json)
    if wrong := {table: each for table, each in found.items() if not each.is_whole}:
        keys = {table: some([key.hex() for key in [*each.lost, *each.other]], 2) for table, each in wrong.items()}
        told = "; ".join(f"{table}: {which}" for table, which in keys.items())
        raise StoreError(f"{second.location} does not hold what {first.location} does ({told}): copy it again")


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
    table = Table("", "", show_header=False)
    for name, value in rows.items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    console.print(table)
