"""The fields of a request, under the names that one server takes. What it refuses by name is found out once."""

import logging
import re
from collections.abc import Mapping
from typing import Any

from streamdocs.recipes import Request
from streamdocs_server.engines.base import Sampling

log = logging.getLogger(__name__)

#: What a server may do without, and what is sent instead, in the order in which it is tried. None of it decides what a
#: text may be: `top_p` and `temperature` go only where they are 1, which the protocol takes for them; nothing that is
#: kept depends on the seed; and what one request cannot bring without `n`, the next ones do.
_SAMPLING = ("temperature", "top_p")
_DISPENSABLE = {"top_p": None, "seed": None, "n": None, "max_tokens": "max_completion_tokens", "temperature": None}


class Fields:
    """What is sent to one server.

    A field that a refusal names is left out or renamed, and the request is sent again. If that is answered, it is kept
    so; if the same field is still refused, it is undone: then it was the request that was wrong.
    """

    def __init__(self, server: str, sampling: Sampling) -> None:
        self._server = server
        self._sampling = sampling
        #: The name at the server, by field; None where it is left out.
        self._names: dict[str, str | None] = dict(sampling.fields)
        self._kept = set(self._names)
        self._in_vain: set[str] = set()

    @property
    def names(self) -> dict[str, str | None]:
        """How fields are sent now, by name, as far as they are not sent as they are."""
        return dict(self._names)

    def body(self, model: str | None, request: Request, n: int, seed: int) -> dict[str, Any]:
        """The body of a request."""
        sampling = self._sampling
        body = {
            "model": model,
            "messages": messages(request, sampling.system),
            "n": n,
            "seed": seed % 2**31,  # some servers keep it in 32 bits
            "max_tokens": request.max_tokens,
            **sampling.of(request),
        }
        named = ((self._name(field, value), value) for field, value in body.items())
        return {name: value for name, value in named if name is not None} | dict(sampling.extra_body or {})

    def learn(self, sent: Mapping[str, str | None], refusal: str) -> bool:
        """Whether to send anew what was refused: the text names a field that the server can do without.

        ``sent`` are the ``names`` under which it was sent; others may have changed them meanwhile.
        """
        for field, name in _DISPENSABLE.items():
            if not _says(refusal, field) or field in self._in_vain or not self._says_nothing(field):
                continue
            if field not in sent:
                self._names.setdefault(field, name)
                return True
            if field not in self._kept:
                self._in_vain.add(field)
                self._names.pop(field, None)
        return False

    def keep(self, sent: Mapping[str, str | None]) -> None:
        """Note that something was answered that was sent so."""
        for field in (sent.keys() & self._names.keys()) - self._kept:
            self._kept.add(field)
            name = sent[field]
            instead = f"sent as `{name}`" if name else "left out"
            log.warning("%s refuses the field `%s`: from now on it is %s", self._server, field, instead)

    def _name(self, field: str, value: Any) -> str | None:
        """What a field is sent as; what a step of a program says is sent, whatever others leave out."""
        name = self._names.get(field, field)
        return field if name is None and field in _SAMPLING and value != 1 else name

    def _says_nothing(self, field: str) -> bool:
        return field not in _SAMPLING or getattr(self._sampling, field) == 1


def messages(request: Request, system: str | None) -> list[dict[str, str]]:
    """The chat of a request."""
    asked = [{"role": "user", "content": request.prompt}]
    return asked if system is None else [{"role": "system", "content": system}, *asked]


def _says(text: str, field: str) -> bool:
    return re.search(rf"(?<![\w\\-]){field}(?![\w-])", text) is not None
