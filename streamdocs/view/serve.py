"""Serving the pages, until somebody stops it."""

import ipaddress
import logging
import socket
from collections.abc import Sequence
from pathlib import Path

from streamdocs._base.console import plain_console
from streamdocs._base.serving.door import Guard, Named, Server, is_loopback, read_token
from streamdocs.config import RunFile
from streamdocs.errors import ConfigError
from streamdocs.view.app import COOKIE, SIGN_IN, STATIC, Application
from streamdocs.view.looking import Looker

log = logging.getLogger(__name__)

_NAMED = Named("--host", "--token-env", "leave it on 127.0.0.1")


class View:
    """The pages of a run at an address.

    Args:
        run_file: Which run.
        exported: Ledgers of it, to look at in place of its store.
        host: Who can reach it; everybody else than this machine needs a token.
        port: 0 takes a free one.
        token_env: Environment variable with the token.

    Raises:
        ConfigError: The run file cannot be read, the port cannot be used, or a token is needed and there is none.
        StreamdocsError: An exported ledger cannot be read, is another run's, or is missing.
    """

    def __init__(
        self,
        run_file: Path,
        exported: Sequence[Path] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        token_env: str | None = None,
    ) -> None:
        RunFile.load(run_file)  # what is wrong with it will not mend itself, as a store that is not there yet may
        self._token = read_token(token_env, host, _NAMED)
        self._looker = Looker(run_file, exported)
        if exported:  # all of it is there, or never will be
            self._looker.open()
        application = Application(self._looker, run_file.name, self._token)
        guard = Guard(
            application,
            token=self._token,
            local=is_loopback(host),
            open_paths=(SIGN_IN, *STATIC),
            cookie=COOKIE,
            ask=application.ask,
        )
        try:
            self._server = Server(host, port, guard)
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"--port {port} of --host {host} cannot be used: {error}; name another") from error

    @property
    def url(self) -> str:
        """Where it answers; of one at every address of this machine, by the name that it has."""
        host, port = str(self._server.server_address[0]), self._server.server_address[1]
        name = socket.gethostname() if ipaddress.ip_address(host).is_unspecified else host
        return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"

    def serve(self) -> None:
        """Answer until ``close``."""
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._looker.close()


def view_run(run_file: Path, exported: Sequence[Path], host: str, port: int, token_env: str | None) -> None:
    """Serve the pages of a run, and say where, until interrupted.

    Raises:
        StreamdocsError: As of a View.
    """
    view = View(run_file, exported, host, port, token_env)
    sign_in = f"; a browser is asked for what {token_env} holds" if token_env else ""
    plain_console().print(f"{view.url} shows {run_file}{sign_in}; Ctrl-C ends it", highlight=False, soft_wrap=True)
    try:
        view.serve()
    except KeyboardInterrupt:
        log.info("stopped")
    finally:
        view.close()
