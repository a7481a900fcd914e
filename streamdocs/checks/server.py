"""What a server refuses before it asks anybody: it and ``streamdocs check`` refuse it alike."""

import errno
from collections.abc import Iterator

from streamdocs._base.serving.door import Application, Named, Server, read_token
from streamdocs.checks.findings import Finding, fault
from streamdocs.errors import ConfigError
from streamdocs.sections import ServerSection

#: What its monitor is called in a run file.
MONITOR = Named("server.monitor_host", "server.monitor_token_env", "leave the monitor on 127.0.0.1")


def open_monitor(host: str, port: int, application: Application) -> Server:
    """The monitor's socket, from which nothing is answered yet.

    Raises:
        ConfigError: The port cannot be used.
    """
    try:
        return Server(host, port, application)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"port {port} of {host} (server.monitor_port) cannot be used: {error}") from error


def try_monitor(section: ServerSection) -> None:
    """Make sure that a monitor could be opened.

    Raises:
        ConfigError: It could not: it would need a token, or the port cannot be used.
    """
    read_token(section.monitor_token_env, section.monitor_host, MONITOR)
    open_monitor(section.monitor_host, section.monitor_port, lambda *_: []).server_close()


def check_server(section: ServerSection) -> Iterator[Finding]:
    """Whether a server could be started, as far as that does not hang on who writes."""
    try:
        try_monitor(section)
    except ConfigError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE:
            yield Finding("server", "warning", f"{error}: unless that is this run's own server, take another port")
        else:
            yield fault("server", error)
