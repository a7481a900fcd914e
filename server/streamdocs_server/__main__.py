"""The command ``streamdocs-server``, also as ``python -m streamdocs_server``."""

from streamdocs._base.console import error_exit
from streamdocs.errors import ConfigError


def app() -> None:
    """Run a command, or say in one line that the extra is missing."""
    try:
        from streamdocs_server.cli import app as commands  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name not in ("aiohttp", "anyio", "prometheus_client"):
            raise
        error_exit(ConfigError(f"streamdocs-server needs {error.name}: install streamdocs with its extra [server]"))
    commands()


if __name__ == "__main__":
    app()
