"""What the two command lines share: logging, and errors as one line."""

import logging
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.logging import RichHandler

from streamdocs._base.paths import expand_path
from streamdocs.errors import ConfigError, StreamdocsError


def expanded(path: Path | None) -> Path | None:
    """For a path of the command line: ~ and $VARIABLES in it are replaced where the shell did not, as in a run file."""
    return None if path is None else Path(expand_path(str(path)))


def positions_of(text: str) -> tuple[int, int | None]:
    """The first position and the one after the last of what was typed as ``A:B``, of which either may be left out.

    ``A`` alone is that one position.

    Raises:
        ConfigError: These are no positions.
    """
    try:
        start, *stop = (int(end) if end else None for end in text.split(":"))
        (end,) = stop or [int(text) + 1]
    except ValueError as error:
        raise ConfigError(f"positions {text!r}: give the first and the one after the last, like 0:4096") from error
    return start or 0, end


def plain_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Prints text as it is: in a document or a name, [bold] and :smile: are text."""
    return Console(stderr=stderr, quiet=quiet, markup=False, emoji=False)


def printable(text: str) -> str:
    """The text for a terminal: control characters, which move the cursor or worse, are spelled out."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def set_up_logging(level: int = logging.INFO) -> None:
    """Log to the terminal's error stream."""
    handler = RichHandler(console=Console(stderr=True), show_path=False, markup=False)
    logging.basicConfig(level=level, format="%(message)s", datefmt="%H:%M:%S", handlers=[handler])


def error_exit(error: StreamdocsError) -> NoReturn:
    """Print an error and end the command with exit code 1."""
    typer.secho(f"error: {printable(str(error))}", fg=typer.colors.RED, err=True)
    raise SystemExit(1)
