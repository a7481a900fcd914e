"""``streamdocs generations``: what was written about each document, accepted or not, and why not."""

import json
from collections.abc import Collection
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import typer

from streamdocs._base.console import plain_console, printable
from streamdocs.auditing.looking import open_stored
from streamdocs.errors import ConfigError
from streamdocs.generations.stored import Generation, generations_of

_EXCERPT = 600


def show_generations(
    run_file: Path,
    accepted: bool | None,
    causes: Collection[str],
    document: int | None,
    round: int | None,
    limit: int,
    as_json: bool,
    stream: str | None = None,
) -> None:
    """Print up to ``limit`` generations beside their documents; None and no causes are any.

    Raises:
        StreamdocsError: The run file, the corpus or the store cannot be read.
    """
    run, store = open_stored(run_file)
    scopes = [scope for scope in run.scopes if stream in (None, scope.stream)]
    if not scopes:
        names = ", ".join(dict.fromkeys(scope.stream for scope in run.scopes))
        raise ConfigError(f"--stream {stream}: generations of this run are of {names or 'no stream'}")

    def wanted(each: Generation) -> bool:
        return (
            (accepted is None or accepted == (each.cause is None))
            and (not causes or each.cause in causes)
            and document in (None, each.document)
            and round in (None, each.round)
            # Without a text it only matters where somebody asks for the whole of a document.
            and (each.text is not None or document is not None)
        )

    console = plain_console()
    found = ((scope, each) for scope in scopes for each in generations_of(store, scope) if wanted(each))
    for scope, each in islice(found, limit):
        source = scope.text(each.document, each.round)
        if as_json:
            typer.echo(json.dumps({**asdict(each), "verdict": _verdict(each), "source": source}))
            continue
        number = "" if each.number is None else f", generation {each.number}"
        name = f"{each.stream}, " if len(scopes) > 1 else ""
        about = "" if each.about is None else f"{each.about} in the place of "
        console.print(
            f"--- {name}document {about}{each.document}, round {each.round}{number}: {_verdict(each)}", highlight=False
        )
        for name, text in (("document" if scope.plans is None else "documents", source), ("text", each.text)):
            shown = "(not kept)" if text is None else printable(text[:_EXCERPT]) + " …" * (len(text) > _EXCERPT)
            console.print(f"[{name}] {shown}", highlight=False, soft_wrap=True)


def _verdict(generation: Generation) -> str:
    return "accepted" if generation.cause is None else f"rejected: {generation.cause}"
