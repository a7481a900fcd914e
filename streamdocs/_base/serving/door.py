"""A small HTTP server for one WSGI application that only ever reads: who may come in, how many, and for how long."""

import hmac
import io
import ipaddress
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from streamdocs.errors import ConfigError

log = logging.getLogger(__name__)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

MOST_CONNECTIONS = 32
#: Of a request, its headers included; there is no body.
MOST_REQUEST_BYTES = 8192
#: From a connection to its end, however the time is spent.
CONNECTION_SECONDS = 10.0
_LEAST_TOKEN = 16


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host.lower() == "localhost"


class Named(NamedTuple):
    """What whoever opens a door calls its host, and the environment variable of its token, where something is wrong."""

    host: str
    token: str
    otherwise: str


def read_token(variable: str | None, host: str, named: Named) -> str:
    """The token that an environment variable holds, "" for none.

    Raises:
        ConfigError: There is none although others can reach ``host``, or it is too short to be one.
    """
    if variable is None:
        if is_loopback(host):
            return ""
        raise ConfigError(
            f"{named.host} {host} can be reached from elsewhere: set {named.token} to the name of an "
            f"environment variable that holds a token, or {named.otherwise}"
        )
    token = os.environ.get(variable, "").strip()
    if len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable():
        raise ConfigError(
            f"environment variable {variable} ({named.token}) must hold a token of at least {_LEAST_TOKEN} "
            "printable characters; `openssl rand -hex 32` makes one"
        )
    return token


def session(token: str) -> str:
    """What a browser is given for a token, as a cookie: all servers of a host see that, so it is not the token."""
    return hmac.digest(token.encode(), b"streamdocs session", "sha256").hex()


class Guard:
    """An application that is asked only by who may ask it.

    Args:
        application: What answers.
        token: What has to be sent as ``Authorization: Bearer …``; "" for nothing.
        local: Whether it is served on the loopback. Then a page of another site that a browser here has open can ask
            it too, by having its name lead here; such a request says that name as its host.
        open_paths: What needs no token.
        cookie: Name of a cookie that does instead of the header, for browsers; see ``session``. "" for none.
        ask: What answers a browser that sent neither; default the same as programs get.
    """

    def __init__(
        self,
        application: Application,
        *,
        token: str,
        local: bool,
        open_paths: tuple[str, ...],
        cookie: str = "",
        ask: Application | None = None,
    ) -> None:
        self._application, self._ask = application, ask
        self._cookie, self._session = cookie, session(token)
        self._expected = f"Bearer {token}".encode() if token else b""
        self._local = local
        self._open_paths = open_paths

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer, or say why not."""

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            # Where the server says nothing of itself, wsgiref tells the versions of all that it is made of.
            return start_response(status, [*headers, ("Server", "streamdocs")], *rest)

        if environ["REQUEST_METHOD"] != "HEAD":
            return self._answer(environ, start)
        said: list[tuple[str, list[tuple[str, str]]]] = []
        length = sum(map(len, self._answer(environ, lambda *answer: said.append(answer))))
        status, headers = said[0]
        start(status, [*(each for each in headers if each[0] != "Content-Length"), ("Content-Length", str(length))])
        return []

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        refused = self._refuses(environ)
        if refused is None:
            return self._application(environ, start)
        is_unknown = refused.startswith("401")
        if is_unknown and self._ask and "text/html" in environ.get("HTTP_ACCEPT", ""):
            return self._ask(environ, start)
        start(
            refused, [("Content-Type", "application/json"), *([("WWW-Authenticate", "Bearer")] if is_unknown else [])]
        )
        return [json.dumps({"error": refused}).encode() + b"\n"]

    def _refuses(self, environ: dict[str, Any]) -> str | None:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return "405 Method Not Allowed"
        if environ.get("CONTENT_LENGTH", "") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ:
            return "413 Content Too Large"
        if self._local and not is_loopback(_host(environ.get("HTTP_HOST", "localhost"))):
            return "421 Misdirected Request"
        if self._expected and environ["PATH_INFO"] not in self._open_paths:
            sent = environ.get("HTTP_AUTHORIZATION", "").encode("latin-1", "replace")
            if not (hmac.compare_digest(sent, self._expected) or self._has_session(environ.get("HTTP_COOKIE", ""))):
                return "401 Unauthorized"
        return None

    def _has_session(self, header: str) -> bool:
        """Whether a browser sent the cookie that it was given for the token."""
        try:
            found = SimpleCookie(header).get(self._cookie) if self._cookie else None
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), self._session.encode())


class Server(ThreadingMixIn, WSGIServer):
    """Serves one request a connection, each in a thread, and ends those that take too long."""

    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, host: str, port: int, application: Application) -> None:
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._began: dict[socket.socket, float] = {}
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)
        self.set_app(application)

    def server_bind(self) -> None:
        """Bind, without asking the network for the host's full name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, while there is one."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._began[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._forget(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def service_actions(self) -> None:
        """Between two looks for a connection: end those that were there for too long."""
        now = time.monotonic()
        for request, began in list(self._began.items()):
            if now - began > CONNECTION_SECONDS:
                self._shut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Note that a connection failed, which is the client's business."""
        log.debug("a connection to the monitor failed", exc_info=True)

    def _forget(self, request: socket.socket) -> None:
        self._began.pop(request, None)
        self._room.release()

    def _shut(self, request: socket.socket) -> None:
        try:
            request.shutdown(socket.SHUT_RDWR)
        except OSError:  # it has just ended by itself
            log.debug("a connection that was there for too long is gone")


class Handler(WSGIRequestHandler):
    """One request of at most ``MOST_REQUEST_BYTES``."""

    timeout = CONNECTION_SECONDS
    server_version, sys_version = "streamdocs", ""
    protocol_version = "HTTP/1.0"  # one request a connection

    def setup(self) -> None:
        """Read no further than a request may be long."""
        super().setup()
        self._limited = _Limited(self.connection)
        self.rfile = io.BufferedReader(self._limited)

    def parse_request(self) -> bool:
        """Refuse what was cut off."""
        parsed = super().parse_request()
        if parsed and self._limited.exceeded:
            self.send_error(431)
            return False
        return parsed

    def log_message(self, *_: Any) -> None:
        """Write no line for every scrape."""


class _Limited(io.RawIOBase):
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._left = MOST_REQUEST_BYTES
        self.exceeded = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self.exceeded = True
            return 0
        count = self._connection.recv_into(buffer, min(len(buffer), self._left))
        self._left -= count
        return count


def _host(header: str) -> str:
    """The host of a Host header, without its port."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if name.count(":") == 1 else name
