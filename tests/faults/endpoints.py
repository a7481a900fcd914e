"""What a server of a language model, or the way to it, does wrong for a while or for good."""

import asyncio
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import httpx
from anyio import CapacityLimiter

from conftest import make_loop, make_run
from faults.table import Outcome, fault, is_clear
from faults.world import committed, corpus_of, lost
from servers import FaultyServer, chat
from streamdocs import Stitch
from streamdocs.errors import StreamdocsError
from streamdocs.run import Run
from streamdocs.store import LmdbStore
from streamdocs_server.engines import sglang
from streamdocs_server.engines.openai import OpenAIEndpoint
from streamdocs_server.engines.pool import Pool
from streamdocs_server.engines.sglang import SGLangEndpoint

DOCUMENTS = 40

Respond = Callable[[httpx.Request], Awaitable[httpx.Response]]


async def _serve(run: Run, store: LmdbStore, *endpoints: OpenAIEndpoint) -> Pool:
    slots = CapacityLimiter(8)
    pool = Pool(endpoints, slots=slots, sleep=lambda seconds: asyncio.sleep(min(seconds, 0.01)))
    try:
        await pool.model()
        await asyncio.wait_for(make_loop(run, store, engine=pool, slots=slots).run(), 60)
    finally:
        await pool.close()
    return pool


def _finish(outcome: Outcome, run: Run, store: LmdbStore) -> None:
    """Serve the rest from one that works: what was committed stays, and each document has its record."""
    before, began = committed(store), time.monotonic()
    asyncio.run(_serve(run, store, OpenAIEndpoint(url="http://there", transport=FaultyServer())))
    outcome.took(time.monotonic() - began)
    after = committed(store)
    outcome.lost += lost(before, after)
    outcome.lost += DOCUMENTS - sum(table == "texts" for table, _ in after)


class Alike(FaultyServer):
    """Works for so many requests, and then answers each with the same that nobody can use."""

    def __init__(self, working: int, answer: httpx.Response) -> None:
        super().__init__()
        self.working, self.answer, self.unusable = working, answer, 0

    async def handle_async_request(self, received: httpx.Request) -> httpx.Response:
        if received.method == "GET" or self.asked < self.working:
            return await super().handle_async_request(received)
        self.unusable += 1
        return httpx.Response(self.answer.status_code, content=self.answer.content)


UNUSABLE = (
    httpx.Response(200, text="<html>"),
    httpx.Response(200, json={"error": "no such path"}),
    chat({"message": {"content": None}, "finish_reason": "stop"}),
)


@fault("an endpoint whose answers are all wrong alike", 12, 3)
def wrong_alike(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """From the first request on, or from some later one: it stops and says so, and what was written stays."""
    outcome, most = Outcome(tried=tries), 0
    run = make_run(corpus_of(folder, DOCUMENTS), Stitch(generations=2))
    for number in range(tries):
        store = LmdbStore(folder / f"store-{number}")
        server = Alike(rng.choice((0, 0, 10)), UNUSABLE[number % len(UNUSABLE)])
        try:
            asyncio.run(_serve(run, store, OpenAIEndpoint(url="http://there", transport=server)))
        except StreamdocsError as error:
            assert is_clear(error) and "reachable, but its answers cannot be used" in str(error), error
        else:
            raise AssertionError("it went on over answers that nobody can use")
        if not server.working:
            most = max(most, server.unusable)
            assert most <= 16 + 3, f"{most} requests for nothing"
        _finish(outcome, run, store)
    outcome.note = f"{most} requests at most before it was clear"
    return outcome


class Prefilling(FaultyServer):
    """An SGLang server that reads prompts for long, tells of nothing else meanwhile but tokens, and is well."""

    tokens = 0

    async def handle_async_request(self, received: httpx.Request) -> httpx.Response:
        self.tokens += 1
        path = received.url.path
        if path == "/model_info":
            return httpx.Response(200, json={"model_path": "m", "served_model_name": "m"})
        if path == "/health":
            return httpx.Response(200 if self.tokens < 20 else 503)
        if path == "/v1/loads":
            load = {"num_running_reqs": 1, "num_waiting_reqs": 0, "num_used_tokens": self.tokens}
            return httpx.Response(200, json={"loads": [load]})
        if received.method == "POST":
            await asyncio.sleep(0.2)
        return await super().handle_async_request(received)


@fault("health checks that wait behind a long prompt", 3, 1)
def slow_health(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """For longer than a hang: nothing that is in flight is given up."""
    outcome = Outcome(tried=tries)
    run = make_run(corpus_of(folder, DOCUMENTS), Stitch(generations=2))
    looks = patch.multiple("streamdocs_server.engines.pool", _LOOK_SECONDS=0.02, _RARE_LOOK_SECONDS=0.02)
    with looks, patch.object(sglang, "_HANG_SECONDS", 0.3):
        for number in range(tries):
            store, server = LmdbStore(folder / f"store-{number}"), Prefilling()
            began = time.monotonic()
            pool = asyncio.run(_serve(run, store, SGLangEndpoint(url="http://there", transport=server)))
            outcome.took(time.monotonic() - began)
            assert not pool.retries and set(server.answered.values()) == {1}, pool.retries
            outcome.lost += DOCUMENTS - sum(table == "texts" for table, _ in committed(store))
    outcome.note = "none was asked for twice"
    return outcome


class Real(BaseHTTPRequestHandler):
    """The same as a FaultyServer without a fault, on a socket."""

    protocol_version = "HTTP/1.1"

    def answer(self, body: bytes) -> None:
        received = httpx.Request(self.command, f"http://there{self.path}", content=body)
        response = asyncio.run(FaultyServer().handle_async_request(received))
        self.send_response(200)
        self.send_header("Content-Length", str(len(response.content)))
        self.end_headers()
        self.wfile.write(response.content)

    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *_: object) -> None:
        pass


def proxied(name: str, folder: Path, tries: int, rng: random.Random) -> Outcome:
    """The server here is reached past it; another one fails with the variable's name."""
    outcome = Outcome(tried=tries)
    run = make_run(corpus_of(folder, DOCUMENTS), Stitch(generations=2))
    with ThreadingHTTPServer(("127.0.0.1", 0), Real) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for number in range(tries):
            store, began = LmdbStore(folder / f"store-{number}"), time.monotonic()
            with patch.dict(os.environ, {name: "http://127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""}):
                far = OpenAIEndpoint(url="http://gpu-7.invalid:30000", model="m")
                try:
                    asyncio.run(far.identify())
                except StreamdocsError as error:
                    assert f"the proxy of {name}" in str(error), error
                here = OpenAIEndpoint(url=f"http://127.0.0.1:{server.server_port}")
                asyncio.run(_serve(run, store, here))
            outcome.took(time.monotonic() - began)
            outcome.lost += DOCUMENTS - sum(table == "texts" for table, _ in committed(store))
        server.shutdown()
    return outcome


for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
    fault(f"{name} names a proxy that is not there", 3, 1 if name == "HTTP_PROXY" else 0)(partial(proxied, name))
