"""The pages by their addresses, as a WSGI application that only reads."""

import hmac
import logging
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

import htpy as h

from streamdocs._base.serving.door import session
from streamdocs.errors import ConfigError, StreamdocsError
from streamdocs.view.looking import Looker, StillLookingError
from streamdocs.view.pages.frame import page
from streamdocs.view.query import AddressError
from streamdocs.view.routes import Pages

log = logging.getLogger(__name__)

COOKIE, SIGN_IN = "streamdocs", "/sign-in"
#: What no page is without, also that where somebody signs in.
STATIC = {
    "/static/view.css": "text/css",
    "/static/view.js": "text/javascript",
    "/static/icon.svg": "image/svg+xml",
}
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
#: What a page that cannot be shown is answered with and called, and after how many seconds it is asked for again.
_SAID: dict[type[StreamdocsError], tuple[HTTPStatus, str, int | None]] = {
    StillLookingError: (HTTPStatus.ACCEPTED, "One moment", _AGAIN),
    AddressError: (HTTPStatus.BAD_REQUEST, "Not understood", None),
    ConfigError: (HTTPStatus.NOT_FOUND, "Not found", None),
    StreamdocsError: (HTTPStatus.SERVICE_UNAVAILABLE, "Not now", 5 * _AGAIN),
}


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
        path, query = environ.get("PATH_INFO", "/"), environ.get("QUERY_STRING", "")
        if path == SIGN_IN:
            status, made, more = self._sign_in(query)
            return self._answer(start_response, status, made or "", more)
        if path in STATIC:
            body = files("streamdocs.view").joinpath("static", path.rpartition("/")[2]).read_text("utf-8")
            return self._answer(start_response, HTTPStatus.OK, body, kind=STATIC[path])
        return self._answer(start_response, *self._page(path, query))

    def _answer(
        self,
        start_response: Callable[..., Any],
        status: HTTPStatus,
        made: h.Element | str,
        more: Sequence[tuple[str, str]] = (),
        kind: str = "text/html",
    ) -> Iterable[bytes]:
        body = str(made).encode("utf-8", "replace")
        about = [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response(f"{status.value} {status.phrase}", [*HEADERS, *more, *about])
        return [body]

    def _page(self, path: str, query: str) -> tuple[HTTPStatus, h.Element]:
        try:
            made = self._pages.made(path, query)
            if made is None:
                return HTTPStatus.NOT_FOUND, page(path, "No such page", self._name)
            title, content = made
            return HTTPStatus.OK, page(path, title, self._name, *content)
        except StreamdocsError as error:
            status, title, again = next(said for kind, said in _SAID.items() if isinstance(error, kind))
            return status, page(path, title, self._name, _alert(error), again=again)
        except Exception:
            log.exception("page %s failed", path)
            said = h.p(role="alert")["This page failed; the terminal of `streamdocs view` says how."]
            return HTTPStatus.INTERNAL_SERVER_ERROR, page(path, "This failed", self._name, said)

    def ask(self, _: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """What a browser that has not signed in is answered, whatever it asks for."""
        return self._answer(start_response, HTTPStatus.UNAUTHORIZED, _sign_in_page())

    def _sign_in(self, query: str) -> tuple[HTTPStatus, h.Element | None, list[tuple[str, str]]]:
        """Give a browser that knows the token a cookie, and lead it away from an address that has it."""
        given = parse_qs(query).get("token", [""])[-1]
        if self._token and not given:
            return HTTPStatus.OK, _sign_in_page(), []
        if self._token and not hmac.compare_digest(given.encode(), self._token.encode()):
            wrong = "This is not the token that `streamdocs view` was started with."
            return HTTPStatus.FORBIDDEN, _sign_in_page(wrong), []
        cookie = f"{COOKIE}={session(self._token)}; Path=/; HttpOnly; SameSite=Strict"
        return HTTPStatus.SEE_OTHER, None, [("Location", "/"), ("Set-Cookie", cookie)]


def _sign_in_page(wrong: str = "") -> h.Element:
    """Where a browser says the token; nothing of the run is on it."""
    return page(
        SIGN_IN,
        "Sign in",
        None,
        h.p(role="alert")[wrong] if wrong else None,
        h.form(".jump", action=SIGN_IN, method="get")[
            h.label["Token", h.input(type="password", name="token", required=True, autocomplete="off")],
            h.button["Sign in"],
        ],
        h.p(".note")["It is what the environment variable held that --token-env of `streamdocs view` names."],
    )


def _alert(error: StreamdocsError) -> h.Element:
    return h.p(role="alert")[str(error)]
