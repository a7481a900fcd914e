"""The client against servers that answer as nobody should, on real sockets."""

import asyncio
import gzip
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from servers import request
from streamdocs_server.engines.base import Answer, TryAgainError
from streamdocs_server.engines.connection import Connection
from streamdocs_server.engines.openai import OpenAIEndpoint

OK = b'{"choices": [{"message": {"content": "A text."}, "finish_reason": "stop"}]}'
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


async def received(reader: asyncio.StreamReader) -> bytes:
    """A request's head; its body is read too."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    await reader.readexactly(int(length[0]) if length else 0)
    return head


def saying(*answers: bytes, heads: list[bytes] | None = None) -> Serve:
    """A server that says each of these in turn on each connection, and then closes it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for each in answers:
            head = await received(reader)
            if heads is not None:
                heads.append(head)
            writer.write(each)
            await writer.drain()
        writer.close()

    return serve


def talk(serve: Serve, ask: Callable[[OpenAIEndpoint], Coroutine[Any, Any, Any]], timeout: float = 5.0) -> Any:
    async def work() -> Any:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        endpoint = OpenAIEndpoint(url=f"http://127.0.0.1:{port}/v1", model="m", timeout=timeout)
        try:
            return await asyncio.wait_for(ask(endpoint), 20)
        finally:
            await endpoint.close()
            server.close()

    return asyncio.run(work())


def asks(endpoint: OpenAIEndpoint) -> Coroutine[Any, Any, Answer]:
    return endpoint.ask(request(), 1, 0)


def fault(serve: Serve, timeout: float = 5.0) -> TryAgainError:
    with pytest.raises(TryAgainError) as caught:
        talk(serve, asks, timeout)
    return caught.value


def test_what_is_sent_and_that_connections_are_used_again():
    heads: list[bytes] = []

    async def several(endpoint: OpenAIEndpoint) -> list[str]:
        return [(await asks(endpoint)).completions[0].text for _ in range(3)]

    assert talk(saying(answer(OK), answer(OK), answer(OK), heads=heads), several) == ["A text."] * 3
    assert len(heads) == 3 and len(set(heads)) == 1  # on one connection, which is closed after three
    sent = heads[0].decode().lower()
    assert "post /v1/chat/completions http/1.1" in sent and "content-type: application/json" in sent
    assert "accept-encoding: identity" in sent and "cookie" not in sent and "authorization" not in sent


def test_a_connection_that_the_server_closes_meanwhile_is_not_used_again():
    async def several(endpoint: OpenAIEndpoint) -> int:
        for _ in range(3):
            await asks(endpoint)
            await asyncio.sleep(0.05)
        return 3

    assert talk(saying(answer(OK, "Set-Cookie: a=b")), several) == 3


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (b"", "connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n" + OK, "connection"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", "connection"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "connection"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "connection"),
        (b"HTTP/1.1 banana\r\n\r\n", "connection"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10**5 + b"\r\n\r\n", "connection"),
        (b"HTTP/1.1 200 OK\r\n\xff\xfe: \xff\r\n\r\n", "connection"),
        (answer(gzip.compress(bytes(10**6), mtime=0), "Content-Encoding: gzip"), "malformed answer"),
        (answer(gzip.compress(bytes(10**6), mtime=0), "Content-Encoding: br"), "malformed answer"),
        (answer(b"slow down", status="503 Busy"), "overloaded"),
    ],
)
def test_an_answer_that_is_none_may_pass(said: bytes, cause: str):
    assert fault(saying(said)).cause == cause


def test_an_endless_answer_is_cut_off(monkeypatch):
    monkeypatch.setattr("streamdocs_server.engines.connection._MAX_RESPONSE_BYTES", 2**20)
    written = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await received(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while written < 2**28 and not writer.is_closing():
            writer.write(b"10000\r\n" + bytes(2**16) + b"\r\n")
            written += 2**16
            await writer.drain()

    assert "more than 1 MiB" in str(fault(serve)) and written < 2**26


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"])
def test_a_server_that_goes_silent_is_given_up_at_the_deadline(said: bytes):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await received(reader)
        writer.write(said)
        await asyncio.sleep(60)

    found = fault(serve, timeout=0.3)
    assert found.cause == "timeout" and "no complete answer within 0.3 s" in str(found)


@pytest.mark.parametrize("answers", [False, True])
def test_a_server_that_does_not_read_a_long_request(answers: bool):
    """The rest of the request is in nobody's way, be it answered or not."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answers:
            writer.write(answer(OK))
        await asyncio.sleep(60)

    async def long(endpoint: OpenAIEndpoint) -> Answer:
        return await endpoint.ask(request("x" * 2**26), 1, 0)

    if answers:
        assert talk(serve, long).completions[0].text == "A text."
    else:
        with pytest.raises(TryAgainError, match="no complete answer"):
            talk(serve, long, timeout=1.0)


def test_of_a_status_nothing_else_is_waited_for():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await received(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n")
        await asyncio.sleep(60)

    async def work() -> list[int | None]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        connection = Connection(url, api_key_env=None, timeout=5.0)
        found = [await connection.status("/health", 5.0)]
        server.close()
        found.append(await connection.status("/health", 5.0))
        await connection.close()
        return found

    assert asyncio.run(work()) == [200, None]


@pytest.mark.parametrize("url", [f"http://{'a' * 70}.org", "http://a..b", "http://gpu 7", "http://gpu:99999"])
def test_a_host_that_no_name_service_would_take_is_refused(url: str):
    from streamdocs.errors import ConfigError

    with pytest.raises(ConfigError, match=r"must be http\(s\)://host"):
        OpenAIEndpoint(url=url)
