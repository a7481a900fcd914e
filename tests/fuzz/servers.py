"""What a language model server may answer: an answer, or an EngineError; never more memory or time than that takes."""

import asyncio
import gzip
import json

import httpx
from hypothesis import strategies as st

from fuzz.strategies import changed, damaged, json_values, to_json, wild_texts
from fuzz.target import little_memory, target
from servers import Played
from streamdocs.errors import EngineError
from streamdocs.recipes import Request
from streamdocs_server.engines.base import TryAgainError
from streamdocs_server.engines.gateway import GatewayEndpoint
from streamdocs_server.engines.member import Member
from streamdocs_server.engines.openai import Load, OpenAIEndpoint
from streamdocs_server.engines.sglang import SGLangEndpoint
from streamdocs_server.gates.gates import Gates

CHAT = {
    "choices": [{"message": {"content": "A text."}, "finish_reason": "stop"}] * 2,
    "usage": {"prompt_tokens": 5, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": 1}},
    "metadata": {"weight_version": "1", "weight_versions": [{"version": "1", "start": 0, "end": 3}]},
}
ANSWERS = {
    "/v1/chat/completions": CHAT,
    "/v1/models": {"data": [{"id": "m", "max_model_len": 100}]},
    "/tokenize": {"count": 7},
    "/model_info": {"model_path": "m", "served_model_name": "m", "weight_version": "1"},
    "/v1/loads": {"loads": [{"num_running_reqs": 1, "num_waiting_reqs": 2, "num_used_tokens": 3, "token_usage": 0.5}]},
    "/health": {},
    "/workers": {"workers": [{"url": f"http://there:{port}", "is_healthy": True} for port in (1, 2)]},
    "/get_model_info": {"model_path": "m", "served_model_name": "m", "weight_version": "1"},
}
REQUEST = Request(kind="rephrase", template="Rewrite: {document}", fields={"document": "A text."}, n=2, max_tokens=20)
BODIES = [
    b"",
    b"[" * 100_000,
    b'{"choices":' * 50_000,
    b"\xff\xfe\x00",
    b"null",
    b"9" * 100_000,
    b'{"choices": [' + b"{}," * 50_000,
]
headers = st.dictionaries(
    st.sampled_from(["retry-after", "content-type", "content-encoding", "x"]),
    st.sampled_from(
        [
            "0",
            "-1",
            "9" * 400,
            "Fri, 31 Dec 9999 23:59:59 GMT",
            "Mon, 99 Foo -1 x",
            "gzip",
            "br",
            "zstd",
            "identity",
            ":",
            "0 0",
        ]
    )
    | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
)


@st.composite
def answers(draw) -> dict[str, httpx.Response]:
    """What is answered on each path."""
    found = {}
    for path, right in ANSWERS.items():
        body = draw(
            st.one_of(
                changed(right).map(to_json),
                damaged(to_json(right)),
                json_values.map(to_json),
                wild_texts.map(
                    lambda text: to_json({**CHAT, "choices": [{"message": {"content": text}, "finish_reason": "stop"}]})
                ),
                st.sampled_from(BODIES),
                st.just(to_json(right)),
            )
        )
        status = draw(st.sampled_from([200, 200, 200, 200, 204, 301, 400, 401, 404, 413, 429, 500, 503, 599]))
        found[path] = (status, draw(headers), body)
    return found


class Fixed(Played):
    def __init__(self, answers) -> None:
        self.answers = answers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        # An API that is not at /v1 is looked for beside it.
        status, headers, body = self.answers[path if path in self.answers else f"/v1{path}"]

        async def stream():
            yield body

        return httpx.Response(status, headers=headers, content=stream())


async def questions(endpoint: OpenAIEndpoint):
    """Everything that is asked of a server, and what is done with its answers."""
    member = Member(endpoint)
    asked = [endpoint.identify(), endpoint.healthy(), endpoint.load(), endpoint.count(REQUEST)]
    for question in [*asked, endpoint.ask(REQUEST, 2, 7)]:
        found = await answer_of(question, member)
        if isinstance(found, Load):
            for _ in range(3):
                member.answered()
                member.adapt(found)
            assert 1 <= member.limit < 1 << 62
        for completion in getattr(found, "completions", ()):
            Gates().check(completion.text, completion.finish_reason, REQUEST)
            json.dumps([completion.completion_tokens, found.prompt_tokens, float(found.cached_tokens)])
    await endpoint.close()


async def answer_of(question, member: Member):
    try:
        return await question
    except EngineError as error:
        assert len(str(error)) < 1 << 14
        if isinstance(error, TryAgainError):
            member.put_out(error)
            assert 0 <= member.pause <= 600
        return None


@target(answers())
def http_answer(answers) -> None:
    async def ask() -> None:
        for kind in (OpenAIEndpoint, SGLangEndpoint, GatewayEndpoint):
            await questions(kind(url="http://there", transport=Fixed(answers)))

    with little_memory():
        asyncio.run(ask())


BOMB = gzip.compress(bytes(1 << 26), mtime=0)
RAW = [
    b"",
    b"\x00" * 5000,
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"HTTP/1.1 999 \xff\r\n\r\n",
    b"HTTP/9.9 200\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000,
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000,
    b"HTTP/1.1 301 x\r\nLocation: file:///etc/passwd\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB,
    b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nxxxx",
]
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" + b'{"choices": []}'


@target(st.one_of(st.sampled_from(RAW), damaged(GOOD), st.binary(max_size=100)), share=0.5)
def raw_answer(data: bytes) -> None:
    """Bytes on a real socket."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(data)
        writer.close()

    async def ask() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        await questions(SGLangEndpoint(url=f"http://127.0.0.1:{port}", timeout=5))
        server.close()

    with little_memory():
        asyncio.run(ask())
