"""What the two command lines share: logging, and errors as one line."""

import logging
from typing import NoReturn

import typer
from rich.console import Console
from rich.logging import RichHandler

from streamdocs.errors import StreamdocsError


def set_up_logging(level: int = logging.INFO) -> None:
    """Log to the terminal's error stream."""
    handler = RichHandler(console=Console(stderr=True), show_path=False, markup=False)
    logging.basicConfig(level=level, format="%(message)s", datefmt="%H:%M:%S", handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every request


def error_exit(error: StreamdocsError) -> NoReturn:
    """Print an error and end the command with exit code 1."""
    typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
    raise SystemExit(1)
