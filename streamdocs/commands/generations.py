"""``streamdocs generations``: what was written about each document, accepted or not, and why not."""

import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import typer

from streamdocs._base.console import plain_console, printable
from streamdocs.commands.ledger import open_run
from streamdocs.errors import ConfigError
from streamdocs.generations.encoding import decode_text
from streamdocs.generations.rejected import read_rejected
from streamdocs.store import Snapshot, Store
from streamdocs.streams import GenerationScope

_EXCERPT = 600


@dataclass(frozen=True)
class Generation:
    """A generation and what was made of it.

    Args:
        stream, document, round: What it was written for.
        about: The document that it is about, where that is a hard one in the place of ``document``; otherwise None.
        number: Which of the round, where it is stored; None for a text of the sample of rejected ones.
        cause: Why it was rejected; None where it was accepted.
        text: As it is read, or as it came where it was rejected; None where that was not kept.
    """

    stream: str
    document: int
    round: int
    number: int | None
    cause: str | None
    text: str | None
    about: int | None = None


def generations_of(store: Store, scope: GenerationScope) -> Iterator[Generation]:
    """What is stored, in the order in which it was written, then the sample of rejected texts."""
    with store.read() as snapshot:
        for key, _ in snapshot.scan("blocks", scope.id):
            block = scope.generation_order.block(int.from_bytes(key[-8:], "big"))
            for document in scope.generation_order.sources_of(block).tolist():
                yield from _stored(snapshot, scope, document, block.round)
    for each in read_rejected(store, scope):
        about = _about(scope, each.document, each.round)
        yield Generation(scope.stream, each.document, each.round, None, each.cause, each.text, about)


def _stored(snapshot: Snapshot, scope: GenerationScope, document: int, round: int) -> Iterator[Generation]:
    key = scope.key(document, round)
    if record := decode_text(key, snapshot.get("texts", key.digest)):  # it may have retired
        for number, (text, cause) in enumerate(zip(record.texts, record.causes, strict=True)):
            yield Generation(scope.stream, document, round, number, cause, text, _about(scope, document, round))


def _about(scope: GenerationScope, document: int, round: int) -> int | None:
    about, repeat = scope.about(document, round)
    return about if repeat else None


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
    run, store = open_run(run_file)
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
