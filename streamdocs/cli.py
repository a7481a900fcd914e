"""The command ``streamdocs``."""

from pathlib import Path
from typing import Annotated

import typer

from streamdocs.console import error_exit, set_up_logging
from streamdocs.corpus import cli as corpus
from streamdocs.errors import ConfigError, StreamdocsError

commands = typer.Typer(no_args_is_help=True, add_completion=False, help="Web text and megadocs for pre-training.")
commands.command()(corpus.prepare)
commands.command()(corpus.info)


@commands.command()
def inspect(
    run_file: Annotated[Path, typer.Argument(help="The run file.")],
    position: Annotated[int | None, typer.Option(help="Also explain every token of this sequence.")] = None,
) -> None:
    """Show what a run will read, what exists, what was sealed, and where the tokens of a sequence come from."""
    from streamdocs.inspection import inspect_run  # noqa: PLC0415

    inspect_run(run_file, position)


@commands.command()
def demo(out: Annotated[Path, typer.Option(help="Folder for what it makes.")] = Path("demo")) -> None:
    """Watch a model train on web text and megadocs that are being written meanwhile. Takes minutes, needs no model."""
    try:
        from streamdocs.demo.run import run_demo  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f"the demo needs {error.name}: pip install 'streamdocs[composer,server]'") from error
    run_demo(out)


def app() -> None:
    """Run a command; an error of streamdocs's own is one line."""
    set_up_logging()
    try:
        commands()
    except StreamdocsError as error:
        error_exit(error)
