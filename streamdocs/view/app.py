"""The pages by their addresses, as a WSGI application that only reads."""

import hmac
import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

import htpy as h

from streamdocs._base.serving.door import session
from streamdocs.errors import ConfigError, StreamdocsError
from streamdocs.view.looking import Looker, StillLookingError
from streamdocs.view.pages.frame import page
from streamdocs.view.routes import Pages, Query

log = logging.getLogger(__name__)

COOKIE, SIGN_IN = "streamdocs", "/sign-in"
_STATIC = {"view.css": "text/css", "view.js": "text/javascript", "icon.svg": "image/svg+xml"}
#: Nothing from elsewhere, nothing inline, nobody around it: texts are anybody's.
HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
]
#: Seconds after which a page that is not ready is asked for again.
_AGAIN = 2


class Application:
    """Answers requests.

    Args:
        looker: Who looks at the run.
        name: Of the run, in a few words.
        token: That browsers sign in with; "" for none.
    """

    def __init__(self, looker: Looker, name: str, token: str = "") -> None:
        self._looker, self._name, self._token = looker, name, token
        self._pages = Pages(looker)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer."""
        path = environ.get("PATH_INFO", "/")
        headers, kind = [*HEADERS], "text/html; charset=utf-8"
        if path == SIGN_IN:
            status, body, more = self._sign_in(environ.get("QUERY_STRING", ""))
            headers += more
        elif (name := path.removeprefix("/static/")) in _STATIC:
            status, kind = HTTPStatus.OK, f"{_STATIC[name]}; charset=utf-8"
            body = files("streamdocs.view").joinpath("static", name).read_bytes()
        else:
            status, made = self._page(path, environ.get("QUERY_STRING", ""))
            body = str(made).encode("utf-8", "replace")
        headers += [("Content-Type", kind), ("Content-Length", str(len(body)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [body]

    def _page(self, path: str, query: str) -> tuple[HTTPStatus, h.Element]:
        show = self._pages.by_path.get(path)
        if show is None:
            return HTTPStatus.NOT_FOUND, page(path, "No such page", self._name)
        try:
            title, content = show(Query(path, query))
            return HTTPStatus.OK, page(path, title, self._name, *content)
        except StillLookingError as error:
            return HTTPStatus.ACCEPTED, page(path, "One moment", self._name, _alert(error), again=_AGAIN)
        except ConfigError as error:
            return HTTPStatus.BAD_REQUEST, page(path, "Not found", self._name, _alert(error))
        except StreamdocsError as error:
            return HTTPStatus.SERVICE_UNAVAILABLE, page(path, "Not now", self._name, _alert(error), again=5 * _AGAIN)
        except Exception:
            log.exception("page %s failed", path)
            said = h.p(role="alert")["This page failed; the terminal of `streamdocs view` says how."]
            return HTTPStatus.INTERNAL_SERVER_ERROR, page(path, "This failed", self._name, said)

    def _sign_in(self, query: str) -> tuple[HTTPStatus, bytes, list[tuple[str, str]]]:
        """Give a browser that knows the token a cookie, and lead it away from an address that has it."""
        given = parse_qs(query).get("token", [""])[-1]
        if self._token and not hmac.compare_digest(given.encode(), self._token.encode()):
            return HTTPStatus.FORBIDDEN, b"This is not the token that `streamdocs view` was started with.\n", []
        cookie = f"{COOKIE}={session(self._token)}; Path=/; HttpOnly; SameSite=Strict"
        return HTTPStatus.SEE_OTHER, b"", [("Location", "/"), ("Set-Cookie", cookie)]


def _alert(error: StreamdocsError) -> h.Element:
    return h.p(role="alert")[str(error)]
