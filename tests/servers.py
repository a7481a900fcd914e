"""Stand-ins for servers: what they answer, one that fails, and a real process that a supervisor looks after."""

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
from aiohttp import ClientConnectionError

from streamdocs.recipes import Request
from streamdocs_server._base.http import Reply, TooLongError
from streamdocs_server.supervision.supervisor import Limits, Supervisor


def request(document: str = "A document.", n: int = 1) -> Request:
    fields = {"document": document}
    return Request(kind="rephrase", template="Rewrite: {document}", fields=fields, n=n, max_tokens=64)


def choice(content: str | None = "A text.", finish_reason: str | None = "stop") -> dict:
    return {"message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}


def chat(*choices: dict, usage: dict | None = None) -> httpx.Response:
    return httpx.Response(200, json={"choices": list(choices) or [choice()], "usage": usage})


#: What can go wrong with a request, and the cause under which it is sent again.
FAULTS = [
    (httpx.ConnectError("refused"), "connection"),
    (httpx.ReadError("connection reset by peer"), "connection"),
    (httpx.RemoteProtocolError("server disconnected"), "connection"),
    (httpx.ConnectTimeout("timed out"), "connection"),
    (httpx.Response(408), "server error"),
    (httpx.Response(429), "overloaded"),
    (httpx.Response(500, text="boom"), "server error"),
    (httpx.Response(503), "overloaded"),
    (httpx.Response(200, content=b"{"), "malformed answer"),
    (httpx.Response(200, content=b"[" * 10**5), "malformed answer"),
    (httpx.Response(200, content=b"\xff\xfe"), "malformed answer"),
    (
        httpx.Response(200, content=b'{"choices": [{"message": {"content": "\\ud800"}, "finish_reason": "stop"}]}'),
        "malformed answer",
    ),
    (httpx.Response(200, headers={"content-encoding": "gzip"}, content=b""), "malformed answer"),
    (httpx.Response(200, json={}), "malformed answer"),
    (httpx.Response(200, json={"choices": []}), "malformed answer"),
    (httpx.Response(200, json={"choices": None}), "malformed answer"),
    (chat(choice(None)), "malformed answer"),
    (chat(choice("x", "abort")), "malformed answer"),
    (chat(choice("x", "abort"), choice("x", "content_filter")), "malformed answer"),
]


def models(*names: str) -> httpx.Response:
    return httpx.Response(200, json={"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


class Played:
    """A transport that plays a server, in the words of httpx: what it raises of httpx's is that no answer came."""

    async def handle_async_request(self, received: httpx.Request) -> httpx.Response:
        raise NotImplementedError

    async def send(self, method, url, content, headers, most_bytes) -> Reply:
        try:
            response = await self.handle_async_request(httpx.Request(method, url, content=content, headers=headers))
            body = b"".join([chunk async for chunk in response.stream]) if most_bytes is not None else b""
        except httpx.RequestError as error:
            raise ClientConnectionError(str(error)) from error
        if len(body) > (most_bytes or 0):
            raise TooLongError
        return Reply(response.status_code, response.headers, body)

    async def close(self) -> None:
        pass


class Mocked(Played):
    """One that answers as a function does."""

    def __init__(self, respond) -> None:
        self.respond = respond

    async def handle_async_request(self, received: httpx.Request) -> httpx.Response:
        response = self.respond(received)
        return await response if asyncio.iscoroutine(response) else response


class FaultyServer(Played):
    """A chat server that does something wrong with every third request, and counts what it answered."""

    def __init__(self, fault=None, name: str = "m") -> None:
        self.fault, self.name = fault, name
        self.asked = 0
        self.answered: Counter[str] = Counter()

    async def handle_async_request(self, received: httpx.Request) -> httpx.Response:
        if received.method == "GET":
            return models(self.name)
        body = json.loads(received.content)
        prompt = body["messages"][-1]["content"]
        self.asked += 1
        if self.fault and self.asked % 3 == 1:
            await asyncio.sleep(0)
            fault = self.fault() if callable(self.fault) else self.fault
            if isinstance(fault, Exception):
                raise fault
            if fault is not None:
                return httpx.Response(fault.status_code, headers=fault.headers, content=fault.content)
            await asyncio.sleep(60)  # it hangs
        self.answered[prompt] += 1
        choices = [{"message": {"content": f"{prompt} {i}"}, "finish_reason": "stop"} for i in range(body["n"])]
        return httpx.Response(200, json={"choices": choices})


FAKE = Path(__file__).with_name("fake_server.py")


QUICK = Limits(start=20, hang=1.0, probe=0.1, answer=2, stop=2, back_off=0.05, failures=3)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_until(condition, seconds=15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.02)


async def until(condition) -> None:
    await asyncio.to_thread(wait_until, condition)


class FakeServer:
    """A supervisor of the stand-in, and its probe."""

    def __init__(self, folder: Path, *flags: str, limits: Limits = QUICK) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = folder / "server.log"
        command = [sys.executable, str(FAKE), self.url.rpartition(":")[2], *flags]
        self.supervisor = Supervisor(command, dict(os.environ), self.log, limits)
        self.at_work = None

    async def healthy(self) -> bool:
        async with httpx.AsyncClient(timeout=1) as client:
            with contextlib.suppress(httpx.RequestError):
                return (await client.get(f"{self.url}/health")).is_success
        return False

    async def progress(self) -> object:
        return self.at_work

    def pids(self) -> list[int]:
        return httpx.get(f"{self.url}/pids").json()["pids"]

    async def restarted(self) -> None:
        before = self.supervisor.restarts
        await until(lambda: self.supervisor.restarts > before)
        await asyncio.wait_for(self.supervisor.ready(), 15)

    def run(self, during) -> None:
        async def work() -> None:
            try:
                await self.supervisor.start(self)
                await asyncio.wait_for(during(), 30)
            finally:
                await self.supervisor.stop()

        asyncio.run(work())
