"""The server's monitor, as far as it can be tried before there is a server."""

from streamdocs._base.serving.door import Application, Named, Server, read_token
from streamdocs.errors import ConfigError

#: What it is called in a run file.
MONITOR = Named("server.monitor_host", "server.monitor_token_env", "leave the monitor on 127.0.0.1")


def open_monitor(host: str, port: int, application: Application) -> Server:
    """Its socket, from which nothing is answered yet.

    Raises:
        ConfigError: The port cannot be used.
    """
    try:
        return Server(host, port, application)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"port {port} of {host} (server.monitor_port) cannot be used: {error}") from error


def try_monitor(host: str, port: int, token_env: str | None) -> None:
    """Make sure that it could be opened.

    Raises:
        ConfigError: It could not: it would need a token, or the port cannot be used.
    """
    read_token(token_env, host, MONITOR)
    open_monitor(host, port, lambda *_: []).server_close()
