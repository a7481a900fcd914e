"""The command ``streamdocs``."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from streamdocs._base.console import error_exit, expanded, set_up_logging
from streamdocs._base.paths import expand_path
from streamdocs.commands import corpus, prompts
from streamdocs.commands.checking.options import check, schema
from streamdocs.commands.exporting.options import export
from streamdocs.commands.measuring import app as measuring
from streamdocs.errors import ConfigError, StreamdocsError
from streamdocs.steering.controllers.base import Reward

commands = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Web text and megadocs for pre-training.",
)
_COMMANDS: list[Callable[..., None]] = [corpus.prepare, corpus.info, check, schema, export]
_COMMANDS += [measuring.evaluate, measuring.efficiency, measuring.scaling, measuring.presets]
for _command in _COMMANDS:
    commands.command()(_command)
commands.add_typer(prompts.app, name="prompts")


@commands.command()
def inspect(
    run_file: Annotated[Path, typer.Argument(callback=expanded, help="The run file.")],
    position: Annotated[int | None, typer.Option(help="Also explain every token of this sequence.")] = None,
) -> None:
    """Show what a run will read, what exists, what was sealed, and where the tokens of a sequence come from."""
    from streamdocs.commands.inspection import inspect_run  # noqa: PLC0415

    inspect_run(run_file, position)


@commands.command(add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def ledger(context: typer.Context) -> None:
    """Keep, check, compare and mend what a run has sealed: export, import, verify, diff, reseal."""
    from streamdocs.commands.ledger import app as ledger_commands  # noqa: PLC0415

    ledger_commands(context.args, prog_name="streamdocs ledger")


@commands.command(add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def store(context: typer.Context) -> None:
    """Copy a store, also between machines; say what is in it; compare two: copy, info, verify."""
    from streamdocs.commands.store import app as store_commands  # noqa: PLC0415

    store_commands(context.args, prog_name="streamdocs store")


@commands.command()
def audit(
    run_file: Annotated[Path, typer.Argument(callback=expanded, help="The run file.")],
    positions: Annotated[
        str, typer.Option(metavar="A:B", help="Which sequences, or A for one; default all that are sealed.")
    ] = ":",
    document: Annotated[int | None, typer.Option(help="Also list when each part of this document was read.")] = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", callback=expanded, help="File for all of it, by generation.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(callback=expanded, help="File for a plot, like audit.png.")] = None,
    diversity: Annotated[
        bool,
        typer.Option("--diversity", help="Also how different the newest generations of each style and writer are."),
    ] = False,
) -> None:
    """Account for what was read: tokens by kind, the exact mixture, passes, and how often each generation."""
    from streamdocs.commands.auditing.report import audit_run  # noqa: PLC0415

    audit_run(run_file, positions, document, as_json, plot, diversity)


@commands.command()
def simulate(
    run_file: Annotated[Path, typer.Argument(callback=expanded, help="The run file.")],
    reports: Annotated[
        Path | None, typer.Option(callback=expanded, help="File of reports; default what the run's store has.")
    ] = None,
    export: Annotated[Path | None, typer.Option(callback=expanded, help="File to write these reports into.")] = None,
    reward: Annotated[
        Reward | None, typer.Option(help="What arms are compared by; default as the run's controller has it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with the shares of every window.")] = False,
) -> None:
    """Show what each controller would have done over a run's reports, and its regret against the best fixed shares.

    An arm's reward is taken not to depend on how much of it is read.
    """
    from streamdocs.commands.simulate import simulate_run  # noqa: PLC0415

    simulate_run(run_file, reports, export, reward, as_json=as_json)


@commands.command()
def generations(
    run_file: Annotated[Path, typer.Argument(help="The run file.")],
    accepted: Annotated[bool | None, typer.Option("--accepted/--rejected", help="Only these; default both.")] = None,
    cause: Annotated[list[str] | None, typer.Option(help="Only what was rejected for this; may be repeated.")] = None,
    document: Annotated[int | None, typer.Option(help="Only of this document.")] = None,
    round: Annotated[int | None, typer.Option(help="Only of this round.")] = None,
    stream: Annotated[
        str | None, typer.Option(help="Only of this stream; `(concepts)` are those of documents, for a graph.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with whole texts.")] = False,
) -> None:
    """Show generations beside their documents, accepted and rejected, with the cause and for some of these the text."""
    from streamdocs.commands.generations import show_generations  # noqa: PLC0415

    show_generations(run_file, accepted, cause or [], document, round, limit, as_json, stream)


@commands.command()
def graph(
    run_file: Annotated[Path, typer.Argument(callback=expanded, help="The run file.")],
    stream: Annotated[str | None, typer.Option(help="Which stream, of several that have a graph.")] = None,
    edition: Annotated[int | None, typer.Option(help="Which edition; default the newest.")] = None,
    walk: Annotated[int, typer.Option(help="Which of its walks to show, with its documents in full.")] = 0,
    graphml: Annotated[Path | None, typer.Option(callback=expanded, help="File for the edition, as GraphML.")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Of that, the nodes that most documents have.")] = None,
) -> None:
    """Show the graph of concepts behind questions over several documents: its size, largest topics, and a walk."""
    from streamdocs.commands.graph import show_graph  # noqa: PLC0415

    show_graph(run_file, stream, edition, walk, graphml, nodes)


@commands.command()
def view(
    run_file: Annotated[Path, typer.Argument(callback=expanded, help="The run file.")],
    ledger: Annotated[
        list[Path] | None, typer.Option(help="An exported ledger, in place of the store; one for each stream.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Who can reach it: any other than the loopback needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    token_env: Annotated[str | None, typer.Option(help="Environment variable with a token to be asked for.")] = None,
) -> None:
    """Show a run in a browser: how it goes, where tokens come from, texts, causes and walks. Nothing is written."""
    try:
        from streamdocs.view.serve import view_run  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"view needs {error.name}: install streamdocs with its extra `view`, like '.[view]' in a checkout"
        ) from error
    view_run(run_file, [Path(expand_path(str(path))) for path in ledger or []], host, port, token_env)


@commands.command()
def demo(
    out: Annotated[Path, typer.Option(callback=expanded, help="Folder for what it makes.")] = Path("demo"),
    sglang: Annotated[bool, typer.Option("--sglang", help="With the SGLang server of `make sglang`.")] = False,
    real: Annotated[bool, typer.Option("--real", help="With it and the model of `make real-model`.")] = False,
) -> None:
    """Watch a model train on web text and megadocs that are being written meanwhile. Takes minutes, needs no model."""
    try:
        from streamdocs.demo.real import run_real_demo  # noqa: PLC0415
        from streamdocs.demo.run import run_demo  # noqa: PLC0415
        from streamdocs.demo.sglang import run_sglang_demo  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f"the demo needs {error.name}: run it with `make demo` in a checkout") from error
    run = run_real_demo if real else run_sglang_demo if sglang else run_demo
    run(out)


def app() -> None:
    """Run a command; an error of streamdocs's own is one line."""
    set_up_logging()
    try:
        commands()
    except StreamdocsError as error:
        error_exit(error)
