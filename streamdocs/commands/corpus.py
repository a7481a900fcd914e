"""The commands ``streamdocs prepare`` and ``streamdocs info``."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from streamdocs._base.console import expanded, plain_console, printable
from streamdocs.corpus.columns.selection import told
from streamdocs.corpus.files import info as corpus_info
from streamdocs.corpus.prepare import prepare_corpus


def prepare(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Files (JSON lines, Parquet, Arrow, text; compressed ones too), folders, or hf://NAME[:SPLIT][?OPTION=VALUE].",
        ),
    ],
    out: Annotated[Path, typer.Option(callback=expanded, help="Folder of the corpus; appears when it is complete.")],
    tokenizer: Annotated[str | None, typer.Option(help="Hugging Face name, folder or tokenizer.json.")] = None,
    train_tokenizer: Annotated[
        int | None, typer.Option(metavar="VOCABULARY", help="Train a byte-level BPE of this size instead.")
    ] = None,
    text_field: Annotated[
        str, typer.Option(help="Field (or column) that holds the text; OUTER.INNER within others.")
    ] = "text",
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD,...",
            help="Fields to keep as columns, for conditions on documents; OUTER.INNER within others.",
        ),
    ] = None,
    holdout: Annotated[float, typer.Option(help="Share of the documents to hold out.")] = 0.0,
    max_bad: Annotated[
        float,
        typer.Option(help="Unusable rows to allow: a number, below 1 a share; inf for inputs that break off, too."),
    ] = 0.01,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another corpus at OUT.")] = False,
) -> None:
    """Make a corpus: read, deduplicate, tokenise and write MDS shards. Run it again if it was interrupted."""
    prepare_corpus(
        inputs,
        out,
        tokenizer=tokenizer,
        train_tokenizer=train_tokenizer,
        text_field=text_field,
        keep=[name for names in keep or () for name in names.split(",")],
        holdout=holdout,
        max_bad=max_bad,
        overwrite=overwrite,
    )
    info(out)


def info(
    corpus: Annotated[Path, typer.Argument(callback=expanded, metavar="DIR", help="Folder of a corpus.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a corpus holds and what was dropped from its input."""
    facts = corpus_info(corpus)
    if as_json:
        typer.echo(json.dumps(facts))
        return
    table = Table("", "", title=str(corpus), show_header=False)
    for name, value in _rows(facts):
        table.add_row(name, value)
    plain_console().print(table)


def _rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, split in facts["splits"].items():
        yield f"{name} documents", f"{split['documents']:,}"
        yield f"{name} tokens", f"{split['tokens']:,} ({split['mean_tokens']:,.1f} a document)"
        yield f"{name} text", f"{split['text_bytes']:,} bytes"
        for field, column in split.get("columns", {}).items():
            yield (
                f"{name} column {printable(field)}",
                f"{printable(told(column, split['documents']))} ({column['missing']:,} missing)",
            )
    tokenizer, report = facts["tokenizer"], facts["report"]
    yield "tokenizer", f"{tokenizer['name']} ({tokenizer['vocab_size']:,} tokens, {tokenizer['dtype']})"
    yield "on disk", f"{facts['disk_bytes']:,} bytes"
    if "files" in report:
        yield "files taken", f"{report['files']:,}"
    for cause, found in report.get("left_out", {}).items():
        more = ", …" if found["files"] > 1 else ""
        yield f"left out: {cause}", f"{found['files']:,} ({printable(Path(found['first']).name)}{more})"
    yield "rows read", f"{report['rows']:,}"
    yield "duplicates", f"{report['duplicates']:,}"
    for cause, count in report["bad"].items():
        yield f"bad: {cause}", f"{count:,}"
    for field, causes in report.get("columns", {}).items():
        for cause, count in causes.items():
            yield f"no {printable(field)}: {cause}", f"{count:,}"
