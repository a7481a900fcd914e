"""``python -m streamdocs_server``."""

from streamdocs_server.cli import app

app()
