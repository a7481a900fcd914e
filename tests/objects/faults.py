"""A proxy in front of an object store that fails as networks and stores do, and counts what it is asked.

usage: faults.py URL-OF-THE-STORE [SEED]
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).parents[1])

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, hdrs, web
from yarl import URL

from objects.process import Served, tell_port

#: What may go wrong. ``answer lost`` is of requests that change something: they are carried out, and nobody is told.
KINDS = ("slow down", "internal error", "reset", "time-out", "answer lost")
STATUSES = {"slow down": (503, "SlowDown"), "internal error": (500, "InternalError")}
CHANGES = ("PUT", "POST", "DELETE")
#: Seconds after which a request that timed out is dropped; clients may give up sooner.
HANGS = 3.0
#: No bucket has such a name.
CONTROL = "/-"
_ANSWER_SECONDS = 30.0
_HOP_BY_HOP = frozenset(
    {hdrs.CONNECTION, hdrs.TRANSFER_ENCODING, hdrs.KEEP_ALIVE, hdrs.CONTENT_LENGTH, hdrs.EXPECT, hdrs.UPGRADE}
)


class FaultyProxy(Served):
    """The proxy; ``url`` is what clients take for the store.

    Args:
        store: URL of the store behind it.
        seed: Of which requests fail.
    """

    def __init__(self, store: str, seed: int = 0) -> None:
        super().__init__(Path(__file__), store, str(seed))

    def fail(
        self,
        share: float,
        kinds: Sequence[str] = KINDS,
        seconds: float | None = None,
        hangs: float = HANGS,
    ) -> None:
        """Let a share of requests fail from now on, each in one of these ways; for so many seconds, or until told."""
        assert 0 <= share <= 1 and kinds and not {*kinds} - {*KINDS}
        self._control("faults", {"share": share, "kinds": list(kinds), "seconds": seconds, "hangs": hangs})

    def be_gone(self, seconds: float | None = None) -> None:
        """No request comes through."""
        self.fail(1.0, ("reset",), seconds)

    def be_well(self) -> None:
        """All requests come through."""
        self.fail(0.0)

    def delay(self, seconds: float) -> None:
        """What each request takes longer from now on."""
        self._control("delay", {"seconds": seconds})

    @contextmanager
    def failing(self, *arguments: Any, **named: Any) -> Iterator[None]:
        """As ``fail``, for as long as something else takes."""
        self.fail(*arguments, **named)
        try:
            yield
        finally:
            self.be_well()

    def counts(self) -> Counter[tuple[str, str]]:
        """Requests so far by kind (PUT, GET, HEAD, LIST, DELETE) and outcome: a status, or what went wrong."""
        return Counter({tuple(key.split(" ", 1)): count for key, count in self._control("counts", None).items()})

    def _control(self, name: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"{self.url}{CONTROL}/{name}", data), timeout=10) as answer:
            return json.loads(answer.read())


class Proxy:
    """What the process does."""

    def __init__(self, store: str, seed: int) -> None:
        self.store = store
        self.rng = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.delay = 0.0
        self.faults: dict[str, Any] = {"share": 0.0, "kinds": KINDS, "until": None, "hangs": HANGS}

    async def control(self, request: web.Request) -> web.Response:
        told = json.loads(await request.read()) if request.can_read_body else {}
        match request.match_info["name"]:
            case "faults":
                seconds = told.pop("seconds")
                self.faults = {**told, "until": None if seconds is None else time.monotonic() + seconds}
            case "delay":
                self.delay = told["seconds"]
            case "counts":
                return web.json_response(self.counts)
        return web.json_response({})

    async def forward(self, request: web.Request) -> web.StreamResponse:
        kind = kind_of(request)
        try:
            body = await request.read()
        except ConnectionError:  # who asked is gone
            return self.done(kind, "not asked to the end", hang_up(request))
        if self.delay:
            await asyncio.sleep(self.delay)
        fault = self.fault(request.method)
        if fault in STATUSES:
            return self.done(kind, fault, refusal(*STATUSES[fault]))
        if fault == "time-out":
            await asyncio.sleep(self.faults["hangs"])
        if fault in ("time-out", "reset"):
            return self.done(kind, fault, hang_up(request))
        headers = {name: value for name, value in request.headers.items() if name.title() not in _HOP_BY_HOP}
        url = URL(self.store + request.raw_path, encoded=True)
        try:
            async with self.session.request(request.method, url, data=body, headers=headers) as answer:
                content = await answer.read()
        except (ClientError, TimeoutError):
            return self.done(kind, "not reached", hang_up(request))
        if fault == "answer lost":
            return self.done(kind, fault, hang_up(request))
        kept = {name: value for name, value in answer.headers.items() if name.title() not in _HOP_BY_HOP}
        if request.method == "HEAD":
            kept[hdrs.CONTENT_LENGTH] = answer.headers.get(hdrs.CONTENT_LENGTH, "0")
        return self.done(kind, str(answer.status), web.Response(status=answer.status, headers=kept, body=content))

    def fault(self, method: str) -> str | None:
        """What goes wrong with the next request; None where nothing does."""
        faults = self.faults
        over = faults["until"] is not None and time.monotonic() >= faults["until"]
        if over or self.rng.random() >= faults["share"]:
            return None
        kinds = [kind for kind in faults["kinds"] if kind != "answer lost" or method in CHANGES]
        return self.rng.choice(kinds) if kinds else None

    def done(self, kind: str, outcome: str, answer: web.Response) -> web.Response:
        self.counts[f"{kind} {outcome}"] += 1
        return answer

    async def run(self) -> None:
        app = web.Application(client_max_size=1 << 32)
        app.router.add_route("*", CONTROL + "/{name}", self.control)
        app.router.add_route("*", "/{path:.*}", self.forward)
        runner = web.AppRunner(app, access_log=None)
        connector, timeout = TCPConnector(limit=64), ClientTimeout(total=_ANSWER_SECONDS)
        async with ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as self.session:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            tell_port(runner.addresses[0][1])
            await asyncio.Event().wait()


def kind_of(request: web.Request) -> str:
    """As S3's price list has them."""
    if request.method == "GET" and ("list-type" in request.query or request.path.strip("/").count("/") == 0):
        return "LIST"
    return "DELETE" if request.method == "POST" and "delete" in request.query else request.method


def refusal(status: int, code: str) -> web.Response:
    content = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return web.Response(status=status, text=content, content_type="application/xml")


def hang_up(request: web.Request) -> web.Response:
    """Close the connection without a word."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


if __name__ == "__main__":
    asyncio.run(Proxy(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0).run())
