"""The options of ``streamdocs export``."""

from pathlib import Path
from typing import Annotated

import typer

from streamdocs._base.console import expanded


def export(
    run_file: Annotated[Path, typer.Argument(callback=expanded, help="The run file.")],
    to: Annotated[
        str,
        typer.Option(
            help="parquet, mds, jsonl, hf (a folder for the Hugging Face Hub) or megatron.",
            autocompletion=lambda: ["parquet", "mds", "jsonl", "hf", "megatron"],
        ),
    ],
    out: Annotated[Path, typer.Option(callback=expanded, help="Folder for it; run again, it goes on.")] = Path(
        "export"
    ),
    positions: Annotated[
        str | None, typer.Option(metavar="A:B", help="Which sequences, or A for one; default all that are sealed.")
    ] = None,
    ledger: Annotated[
        list[Path] | None,
        typer.Option(help="An exported ledger, in place of the store's windows; of several streams one for each."),
    ] = None,
    generated: Annotated[
        bool, typer.Option("--generated", help="All that was generated, in place of what was read.")
    ] = False,
    stream: Annotated[str | None, typer.Option(help="Of what was generated, only that of this stream.")] = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Beside each generation the text of its document.")
    ] = False,
    licence: Annotated[str, typer.Option("--license", help="Of the dataset, for its card.")] = "",
    documents_licence: Annotated[str, typer.Option("--documents-license", help="Of the documents.")] = "",
    models_licence: Annotated[str, typer.Option("--models-license", help="Of what the models write.")] = "",
) -> None:
    """Write what a run has read (tokens, texts, and where each comes from), or what was generated, as a dataset."""
    from streamdocs.commands.exporting.run import export_run  # noqa: PLC0415
    from streamdocs.export.card import Licences  # noqa: PLC0415

    licences = Licences(licence, documents_licence, models_licence)
    export_run(
        run_file,
        to,
        out,
        positions,
        [expanded(path) or path for path in ledger or ()],
        licences,
        generated=generated,
        stream=stream,
        sources=sources,
    )
