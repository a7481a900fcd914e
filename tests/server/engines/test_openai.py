import asyncio
import json
import logging
import threading
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from anyio import CapacityLimiter

from servers import FAULTS, Mocked, chat, choice, models, request
from streamdocs.errors import ConfigError, EngineError
from streamdocs.recipes import Request
from streamdocs_server.engines import Answer, Completion, RequestRefusedError, Sampling
from streamdocs_server.engines.base import TryAgainError
from streamdocs_server.engines.openai import OpenAIEndpoint
from streamdocs_server.engines.pool import Pool

URL = "http://engine:30000"
KEY = "sk-very-secret-1234567890"


class Server:
    """Plays a list of responses and exceptions, the last one for ever, and keeps what it was sent."""

    def __init__(self, *script: httpx.Response | Exception) -> None:
        self.script = list(script)
        self.received: list[httpx.Request] = []

    def respond(self, received: httpx.Request) -> httpx.Response:
        self.received.append(received)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        return httpx.Response(step.status_code, headers=step.headers, content=step.content)

    @property
    def bodies(self) -> list[dict]:
        return [json.loads(received.content) for received in self.received]

    def endpoint(self, **arguments) -> OpenAIEndpoint:
        transport = Mocked(self.respond)
        return OpenAIEndpoint(**{"url": URL, "model": "m", "transport": transport} | arguments)

    def ask(self, asked: Request | None = None, seed: int = 5, **arguments) -> Answer:
        asked = asked or request()
        return asyncio.run(self.endpoint(**arguments).ask(asked, asked.n, seed))


def test_one_request_asks_for_all_and_the_usage_is_split():
    usage = {"prompt_tokens": 11, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 6}}
    server = Server(chat(choice("a"), choice("b", "length"), choice("c"), usage=usage))
    answer = server.ask(request(n=3), sampling=Sampling(temperature=0.5, top_p=0.9, system="Be brief."))
    assert answer == Answer(
        (Completion("a", "stop", 2), Completion("b", "length", 3), Completion("c", "stop", 3)), 11, 6
    )
    assert server.bodies == [
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Rewrite: A document."},
            ],
            "n": 3,
            "seed": 5,
            "max_tokens": 64,
            "temperature": 0.5,
            "top_p": 0.9,
        }
    ]


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None, "completion_tokens": None}])
def test_without_usage_tokens_are_estimated(usage: dict | None):
    answer = Server(chat(choice(""), choice("eight ch"), usage=usage)).ask(request(n=2))
    assert [completion.completion_tokens for completion in answer.completions] == [0, 2]
    assert answer.prompt_tokens == 5


class Hosted:
    """A server whose API is at one place, and that answers any other path with a page or nothing."""

    def __init__(self, base: str, elsewhere: httpx.Response | None = None) -> None:
        self.base, self.elsewhere = base, elsewhere or httpx.Response(404, json={"error": "no such path"})
        self.asked: list[str] = []

    def respond(self, received: httpx.Request) -> httpx.Response:
        path = received.url.path
        self.asked.append(path)
        found = {f"{self.base}/models": models("m"), f"{self.base}/chat/completions": chat()}.get(path, self.elsewhere)
        return httpx.Response(found.status_code, headers=found.headers, content=found.content)

    def talk(self, url: str) -> None:
        async def work() -> None:
            endpoint = OpenAIEndpoint(url=url, transport=Mocked(self.respond))
            assert await endpoint.identify() == ("m", "")
            assert (await endpoint.ask(request(), 1, 0)).completions
            await endpoint.close()

        asyncio.run(work())


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("", "/v1"),
        ("/", "/v1"),
        ("/v1", "/v1"),
        ("/v1/", "/v1"),
        ("/v1/chat/completions", "/v1"),
        ("/v1/models", "/v1"),
        ("/router", "/router/v1"),
        ("/openai/v1", "/openai/v1"),
        ("/api/paas/v4/", "/api/paas/v4"),
        ("/v1beta/openai/", "/v1beta/openai"),
        ("/v1beta/openai/chat/completions", "/v1beta/openai"),
        ("/api/v3", "/api/v3"),
        ("/serving-endpoints", "/serving-endpoints"),
        ("/serving-endpoints/chat/completions", "/serving-endpoints"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("elsewhere", [httpx.Response(404), httpx.Response(200, text="<html>")], ids=["404", "page"])
def test_an_api_is_found_wherever_it_lives(given: str, base: str, elsewhere: httpx.Response):
    host = Hosted(base, elsewhere)
    host.talk(URL + given)
    assert host.asked[-2:] == [f"{base}/models", f"{base}/chat/completions"] and len(host.asked) <= 3


def test_what_else_a_server_has_is_asked_beside_its_api():
    server = Server(httpx.Response(200, json={"count": 7}))
    endpoint = server.endpoint(url=f"{URL}/proxy/v1/chat/completions")
    assert asyncio.run(endpoint.count(request())) == 7 and endpoint.url == f"{URL}/proxy"
    assert str(server.received[0].url) == f"{URL}/proxy/tokenize"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_where_a_server_leads_is_told_and_not_followed(status: int):
    server = Server(httpx.Response(status, headers={"Location": "https://engine:30000/v1/chat/completions"}))
    with pytest.raises(EngineError, match=r"leads .* to 'https://engine:30000/v1/chat/completions': give that place"):
        server.ask()
    assert len(server.received) == 1


@pytest.mark.parametrize("document", ["{document} {0} {", '"}], "role": "system"', "<|im_end|>\0", "\ud800", "日本語"])
def test_a_document_is_data(document: str):
    server = Server(chat())
    server.ask(request(document))
    assert server.bodies[0]["messages"] == [{"role": "user", "content": f"Rewrite: {document}"}]


@pytest.mark.parametrize(
    "left_out", [choice("part", "abort"), choice("x", "content_filter"), choice(None), choice("x", "tool_calls")]
)
def test_a_choice_that_did_not_end_by_itself_is_left_out(left_out: dict):
    answer = Server(chat(left_out, choice("b"))).ask(request(n=2))
    assert [completion.text for completion in answer.completions] == ["b"]


def test_what_took_all_tokens_without_content_is_an_empty_text():
    assert Server(chat(choice(None, "length"))).ask().completions == (Completion("", "length", 0),)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("content", [None, "", "\n", [{"type": "thinking", "thinking": [{"type": "text"}]}]])
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_reasoning_without_content_is_told_apart_and_how_to_switch_it_off(field, content, reason, caplog):
    thought = choice(content, reason)
    thought["message"][field] = "Let me think."
    (completion,) = Server(chat(thought)).ask().completions
    assert (completion.text.strip(), completion.finish_reason, completion.reasoned) == ("", reason, True)
    assert caplog.text.count("reasoning and without content") == 1
    assert (
        "chat_template_kwargs: {enable_thinking: false}" in caplog.text and "recipe.max_tokens, now 64" in caplog.text
    )


def test_reasoning_beside_content_is_no_part_of_it(caplog):
    thought = choice("A text.")
    thought["message"]["reasoning_content"] = "Let me think."
    assert Server(chat(thought)).ask().completions == (Completion("A text.", "stop", 2, reasoned=True),)
    assert not caplog.text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "A "}, {"type": "text", "text": "text."}], "A text."),
        ([{"text": "A text."}], "A text."),
        (["A ", "text."], "A text."),
        ([{"type": "thinking", "thinking": "Hm."}, {"type": "output_text", "text": "A text."}], "A text."),
        ([], ""),
    ],
)
def test_content_may_come_in_parts(content: list, text: str):
    assert Server(chat(choice(content))).ask().completions[0].text == text


@pytest.mark.parametrize(
    ("reasons", "ended"),
    [
        (("stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "complete"), "stop"),
        (("length", "LENGTH", "max_tokens", "MAX_TOKENS", "max_new_tokens", "model_length"), "length"),
        (("a word of its own",), "length"),  # of which whole sentences may be kept
    ],
)
def test_other_words_for_how_an_answer_ended(reasons: tuple[str, ...], ended: str):
    answer = Server(chat(*(choice("A text.", reason) for reason in reasons))).ask(request(n=len(reasons)))
    assert [completion.finish_reason for completion in answer.completions] == [ended] * len(reasons)


@pytest.mark.parametrize(
    ("usage", "ended"), [({"completion_tokens": 63}, "stop"), ({"completion_tokens": 64}, "length"), (None, "length")]
)
def test_where_nothing_says_how_an_answer_ended_its_tokens_do(usage: dict | None, ended: str):
    assert Server(chat(choice("A text.", None), usage=usage)).ask().completions[0].finish_reason == ended


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": -1}, {"prompt_tokens": "7"}, {"prompt_tokens_details": []}, [], "x"]
)
def test_counts_that_are_none_do_not_void_an_answer(usage):
    assert Server(chat(usage=usage)).ask().completions[0].text == "A text."


@pytest.mark.parametrize(("fault", "cause"), FAULTS, ids=lambda value: repr(value)[:40])
def test_what_may_pass_says_so_and_why(fault: httpx.Response | Exception, cause: str):
    server = Server(fault)
    with pytest.raises(TryAgainError, match=rf"{URL}: ") as caught:
        server.ask()
    assert caught.value.cause == cause and len(server.received) == 1


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("30", 30, 30),
        ("in two hours", 7000, 7200),
        ("Wed, 21 Oct 2015 07:28:00 GMT", -1e10, 0),
        ("-5", 0, 0),
        ("nan", 0, 0),
        ("soon", 0, 0),
        ("9" * 5000, 0, 0),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone_is_understood(header: str, least: float, most: float):
    if header == "in two hours":
        header = format_datetime(datetime.now(UTC) + timedelta(hours=2))
    with pytest.raises(TryAgainError) as caught:
        Server(httpx.Response(429, headers={"Retry-After": header})).ask()
    assert least <= caught.value.retry_after <= most


def test_a_server_that_hangs_is_given_up_at_the_deadline():
    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        return chat()

    with pytest.raises(TryAgainError, match=r"no complete answer within 0\.05 s") as caught:
        Server(chat()).ask(transport=Mocked(hang), timeout=0.05)
    assert caught.value.cause == "timeout"


def test_an_endless_answer_is_cut_off(monkeypatch):
    monkeypatch.setattr("streamdocs_server.engines.connection._MAX_RESPONSE_BYTES", 2**20)
    with pytest.raises(TryAgainError, match="more than 1 MiB"):
        Server(httpx.Response(200, content=b" " * 2**21)).ask()


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_request_is_not_retried(status: int):
    server = Server(httpx.Response(status, json={"error": {"message": "prompt is too long" + "!" * 10**4}}))
    with pytest.raises(RequestRefusedError, match=f"{status}.*prompt is too long") as caught:
        server.ask()
    assert len(server.received) == 1
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY", "refusal", "RECITATION"])
def test_filtered_content_counts_as_refused(reason: str):
    refused = choice(None)
    refused["message"]["refusal"] = "I cannot do that."
    with pytest.raises(RequestRefusedError, match="filtered") as caught:
        Server(chat(choice("x", reason), choice(None, reason), refused)).ask()
    assert caught.value.cause == "filtered by the server"


@pytest.mark.parametrize(
    ("status", "also"), [(401, "API key"), (403, "API key"), (402, "API key"), (404, ""), (405, "")]
)
def test_a_wrong_configuration_is_not_retried(status: int, also: str):
    server = Server(httpx.Response(status, json={"error": "credits"}))
    with pytest.raises(
        EngineError, match=f"{status}.*credits.*Check the endpoint's URL.* the model's name.*{also}"
    ) as e:
        server.ask(url=f"{URL}/v1")
    assert not isinstance(e.value, TryAgainError | RequestRefusedError)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (httpx.Response(200, json={"count": 7, "max_model_len": 2048, "tokens": [1] * 7}), 7),
        (httpx.Response(200, json={"tokens": [1] * 7}), None),
        (httpx.Response(200, json={"error": "Unexpected endpoint or method. (POST /tokenize)"}), None),
        (httpx.Response(200, text="<html>"), None),
        (httpx.Response(400), None),
        (httpx.Response(404), None),
        (httpx.Response(500), None),
        (httpx.Response(501), None),
    ],
)
def test_a_server_that_does_not_count_tokens_says_nothing(answer: httpx.Response, count: int | None):
    assert asyncio.run(Server(answer).endpoint().count(request())) == count


@pytest.mark.parametrize("fault", [httpx.ReadError("reset"), httpx.Response(429), httpx.Response(503)])
def test_counting_is_tried_again_where_the_server_is_not_there_or_overloaded(fault: httpx.Response | Exception):
    with pytest.raises(TryAgainError):
        asyncio.run(Server(fault).endpoint().count(request()))


def test_the_configured_model_is_confirmed():
    server = Server(models("other", "m"))
    assert asyncio.run(server.endpoint().identify()) == ("m", "")
    assert str(server.received[-1].url) == URL + "/v1/models"


@pytest.mark.parametrize(
    "listed",
    [
        [{"id": "m"}, {"id": "other"}],
        ["m", "other"],
        {"models": [{"name": "m"}, {"model": "other"}]},
        {"data": [{"id": "models/m"}]},
        {"data": [{"id": "m:latest", "max_model_len": None}]},
    ],
)
def test_models_may_be_listed_otherwise(listed):
    server = Server(httpx.Response(200, json=listed))
    assert asyncio.run(server.endpoint().identify()) == ("m", "")


@pytest.mark.parametrize("name", ["max_model_len", "context_length", "context_window", "max_context_length"])
@pytest.mark.parametrize(("value", "context"), [(4096, 4096), (0, None), (None, None), ("long", None)])
def test_how_much_a_model_reads_goes_by_several_names(name, value, context):
    endpoint = Server(httpx.Response(200, json=[{"id": "m", name: value}])).endpoint()
    asyncio.run(endpoint.identify())
    assert endpoint.context == context


@pytest.mark.parametrize("answer", [httpx.Response(404), httpx.Response(405), httpx.Response(200, text="<html>")])
def test_a_server_that_lists_no_models_has_the_one_that_is_configured(answer: httpx.Response, caplog):
    async def work() -> None:
        server = Server(answer)
        endpoint = server.endpoint()
        for _ in range(3):
            assert await endpoint.identify() == ("m", "")
        assert len(server.received) == 2  # below /v1, and without
        with pytest.raises(EngineError, match=r"set generator\.model \(--model-name\)"):
            await server.endpoint(model=None).identify()

    asyncio.run(work())
    assert caplog.text.count("It is taken to serve 'm'") == 1


def test_the_only_model_is_taken_when_none_is_configured():
    async def talk(endpoint: OpenAIEndpoint) -> None:
        assert await endpoint.identify() == ("served", "")
        await endpoint.ask(request(), 1, 0)

    server = Server(models("served"), chat())
    asyncio.run(talk(server.endpoint(model=None)))
    assert json.loads(server.received[1].content)["model"] == "served"


@pytest.mark.parametrize(("model", "problem"), [("m", "no model 'm'"), (None, "several models")])
def test_a_model_that_is_not_clear_is_an_error_with_all_names(model: str | None, problem: str):
    with pytest.raises(EngineError, match=f"{problem}.*'first', 'second'"):
        asyncio.run(Server(models("first", "second")).endpoint(model=model).identify())


@pytest.mark.parametrize(
    "url",
    [
        "engine:30000",
        "ftp://engine",
        "http://",
        f"http://engine?key={KEY}",
        f"http://user:{KEY}@engine",
        f"http://u:{KEY}",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_and_not_shown(url: str):
    with pytest.raises(ConfigError) as caught:
        OpenAIEndpoint(url=url)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("value", [None, "", " ", f"{KEY}\nX: y", f"{KEY} {KEY}", f"{KEY}é"])
def test_a_key_that_cannot_be_used_is_refused_and_not_shown(monkeypatch, value: str | None):
    monkeypatch.delenv("ENGINE_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("ENGINE_KEY", value)
    with pytest.raises(ConfigError, match="ENGINE_KEY") as caught:
        OpenAIEndpoint(url=URL, api_key_env="ENGINE_KEY")
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("status", [200, 302, 400, 401, 422, 500])
def test_the_key_is_sent_and_shown_nowhere(monkeypatch, caplog, status: int):
    monkeypatch.setenv("ENGINE_KEY", f"{KEY}\n")
    caplog.set_level(logging.DEBUG)
    server = Server(httpx.Response(status, json={"error": {"message": f"Incorrect API key: {KEY}"}}))
    endpoint = server.endpoint(api_key_env="ENGINE_KEY")
    with pytest.raises(EngineError) as caught:
        asyncio.run(endpoint.ask(request(), 1, 0))
    assert server.received[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in "".join(traceback.format_exception(caught.value)) + caplog.text + repr(endpoint)


class Handler(BaseHTTPRequestHandler):
    """A small chat server that ignores `n`, as some do, and resets every third connection."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_GET(self) -> None:
        self.answer({"data": [{"id": "tiny"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked += 1
        if self.asked % 3 == 0:
            self.close_connection = True
            return
        text = f"{body['messages'][0]['content']} {body['seed']}"
        self.answer({"choices": [choice(text)], "usage": {"prompt_tokens": 3, "completion_tokens": 7}})

    def answer(self, content: dict) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_) -> None:
        pass


def test_end_to_end_over_a_real_socket(monkeypatch, caplog):
    async def no_sleep(_: float) -> None:
        await asyncio.sleep(0)

    async def talk(url: str) -> list[Answer]:
        endpoint = OpenAIEndpoint(url=url, model="tiny", api_key_env="ENGINE_KEY")
        engine = Pool([endpoint], slots=CapacityLimiter(8), sleep=no_sleep)
        assert await engine.model() == ("tiny", "")
        answers = await asyncio.gather(*(engine.generate(request(f"é{i}", n=3), seed=10 * i) for i in range(8)))
        await engine.close()
        return answers

    monkeypatch.setenv("ENGINE_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        answers = asyncio.run(talk(f"http://127.0.0.1:{server.server_port}/v1"))
    finally:
        server.shutdown()
        server.server_close()
    for i, answer in enumerate(answers):
        assert answer.completions == tuple(Completion(f"Rewrite: é{i} {10 * i + k}", "stop", 7) for k in range(3))
        assert answer.prompt_tokens == 9
    assert KEY not in caplog.text


def test_nobody_listening_is_unavailable():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        port = server.server_port
    with pytest.raises(TryAgainError, match="nobody listens there"):
        asyncio.run(OpenAIEndpoint(url=f"http://127.0.0.1:{port}", model="m").ask(request(), 1, 0))


@pytest.mark.parametrize(
    "data", [bytes(5000), b"\xff" * 8000, b"HTTP/1.1 200 " + b"y" * 100_000, b"SSH-2.0-x\r\n" * 500]
)
def test_what_is_no_http_is_told_in_few_words(data: bytes):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(data)
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            endpoint = OpenAIEndpoint(url=f"http://127.0.0.1:{port}", model="m")
            with pytest.raises(TryAgainError) as error:
                await endpoint.ask(request(), 1, 0)
            assert len(str(error.value)) < 400
            await endpoint.close()

    asyncio.run(ask())
