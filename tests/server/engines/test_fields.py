"""Fields that a server refuses, and what of that is found out without being told."""

import asyncio
import json

import httpx
import pytest
from anyio import CapacityLimiter

from servers import Mocked, Played, chat, choice, models, request
from streamdocs.errors import EngineError
from streamdocs_server.engines import RequestRefusedError, Sampling
from streamdocs_server.engines.openai import OpenAIEndpoint
from streamdocs_server.engines.pool import Pool


class Picky(Played):
    """A chat server that refuses some bodies, and answers as many choices as it is asked for."""

    def __init__(self, refuses, message, status: int = 400) -> None:
        self.refuses, self.message, self.status = refuses, message, status
        self.bodies: list[dict] = []
        self.refused = 0

    async def handle_async_request(self, received: httpx.Request) -> httpx.Response:
        if received.method == "GET":
            return models("m")
        body = json.loads(received.content)
        self.bodies.append(body)
        await asyncio.sleep(0)
        if self.refuses(body):
            self.refused += 1
            message = self.message if isinstance(self.message, str) else self.message(body)
            return httpx.Response(self.status, json={"error": {"message": message}})
        text = f"{body['messages'][-1]['content']} {len(self.bodies)}"
        return chat(*(choice(f"{text} {i}") for i in range(body.get("n", 1))))


def talk(server: Picky, documents: int = 4, n: int = 3, **sampling) -> None:
    async def work() -> None:
        endpoint = OpenAIEndpoint(url="http://there", transport=server, sampling=Sampling(**sampling))
        pool = Pool([endpoint], slots=CapacityLimiter(8))
        try:
            await pool.model()
            asked = [pool.generate(request(f"Document {i}.", n=n), i) for i in range(documents)]
            for answer in await asyncio.gather(*asked):
                assert len({completion.text for completion in answer.completions}) == n
        finally:
            await pool.close()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("refuses", "message", "status", "left"),
    [
        (lambda b: "seed" in b, "Unrecognized request argument supplied: seed", 400, {"seed": None}),
        (
            lambda b: "seed" in b,
            '[{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]',
            422,
            {"seed": None},
        ),
        (lambda b: b.get("n", 1) > 1, "n: must be 1", 400, {"n": None}),
        (lambda b: "n" in b, "'n' is not supported", 400, {"n": None}),
        (
            lambda b: "max_tokens" in b,
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            400,
            {"max_tokens": None, "max_completion_tokens": 64},
        ),
        (lambda b: "top_p" in b, "temperature and top_p cannot both be given", 400, {"top_p": None, "temperature": 1}),
        (
            lambda b: "temperature" in b,
            "`temperature` does not support 1.0 with this model",
            400,
            {"temperature": None},
        ),
        (
            lambda b: {"seed", "n", "top_p"} & b.keys(),
            lambda b: f"Unknown fields: {sorted({'seed', 'n', 'top_p'} & b.keys())}",
            422,
            {"seed": None, "n": None, "top_p": None},
        ),
    ],
)
def test_a_field_that_is_refused_by_name_goes_once_and_for_all(refuses, message, status, left, caplog):
    server = Picky(refuses, message, status)
    talk(server)
    assert {name: server.bodies[-1].get(name) for name in left} == left
    assert server.refused <= 4 * 3  # of the four that were sent together; none afterwards
    assert caplog.text.count("refuses the field") == sum(name != "max_completion_tokens" for name in left) - (
        left.get("temperature") == 1
    )


def test_sampling_is_never_changed_by_leaving_it_out():
    server = Picky(lambda body: "temperature" in body, "temperature is not supported")
    with pytest.raises(EngineError, match=r"temperature is not supported.*generator\.fields"):
        talk(server, temperature=0.7)
    assert all(body["temperature"] == 0.7 for body in server.bodies)


def test_a_refusal_of_one_document_that_names_a_field_changes_nothing_for_the_others(caplog):
    message = "'max_tokens' or 'max_completion_tokens' is too large with n of 1 and this seed"
    server = Picky(lambda body: "long" in body["messages"][-1]["content"], message)

    async def work() -> None:
        endpoint = OpenAIEndpoint(url="http://there", model="m", transport=server)
        await endpoint.ask(request("A short one."), 2, 0)
        for _ in range(3):
            with pytest.raises(RequestRefusedError, match="too large"):
                await endpoint.ask(request("A long one."), 2, 0)
        tried = server.refused
        await endpoint.ask(request("A short one."), 2, 0)
        with pytest.raises(RequestRefusedError):
            await endpoint.ask(request("A long one."), 2, 0)
        assert server.refused == tried + 1  # each field was tried once
        await endpoint.close()

    asyncio.run(work())
    assert server.bodies[0].keys() == server.bodies[-1].keys() and "refuses the field" not in caplog.text


@pytest.mark.parametrize("word", ["isn't possible", "an n-gram", "a\\nline", "seeds", "top_p_min", "max_tokens_total"])
def test_a_name_within_another_word_is_none(word):
    server = Picky(lambda body: True, word)
    with pytest.raises(EngineError, match="Two short sentences are refused"):
        talk(server, documents=1)
    assert server.refused == 2


def test_fields_of_the_run_file_are_sent_as_it_says_and_extra_ones_too(caplog):
    server = Picky(lambda body: False, "")
    extra = {"top_k": 20, "chat_template_kwargs": {"enable_thinking": False}}
    talk(server, fields={"seed": None, "max_tokens": "max_completion_tokens"}, extra_body=extra)
    body = server.bodies[0]
    assert "seed" not in body and "max_tokens" not in body and body["max_completion_tokens"] == 64
    assert {name: body[name] for name in extra} == extra and not caplog.text


CONTEXT = [
    ("This model's maximum context length is 2048 tokens. However, you requested 2500 tokens.", 2048),
    ("The input (3000 tokens) is longer than the model's context length (2048 tokens).", 2048),
    ("Requested token count exceeds the model's maximum context length of 2048 tokens.", 2048),
    ("Prompt contains 40000 tokens, too large for model with 32768 maximum context length", 32768),
    ("the request exceeds the available context size, try increasing it", None),
    ("prompt is too long", None),
]


@pytest.mark.parametrize(("message", "context"), CONTEXT)
def test_a_document_that_is_too_long_for_the_context_is_told_with_the_option(message, context, caplog):
    server = Picky(lambda body: len(body["messages"][-1]["content"]) > 200, message)

    async def work() -> None:
        endpoint = OpenAIEndpoint(url="http://there", model="m", transport=server)
        for _ in range(3):
            with pytest.raises(RequestRefusedError, match=r"generator\.context") as caught:
                await endpoint.ask(request("word " * 100), 1, 0)
            assert caught.value.cause == "too long for the context"
        assert endpoint.context == context
        await endpoint.identify()
        assert endpoint.context == context
        await endpoint.close()

    asyncio.run(work())
    assert caplog.text.count("generator.context") == 1


@pytest.mark.parametrize(
    ("counted", "says"),
    [
        (lambda size: min(size // 4, 512), True),  # in silence
        (lambda size: size // 4, False),
        (lambda size: 100, False),  # it counts nothing
    ],
)
def test_prompts_that_a_server_cuts_in_silence_are_noticed(counted, says, caplog):
    def respond(received: httpx.Request) -> httpx.Response:
        size = len(json.loads(received.content)["messages"][-1]["content"])
        return chat(usage={"prompt_tokens": counted(size), "completion_tokens": 5})

    async def work() -> None:
        endpoint = OpenAIEndpoint(url="http://there", model="m", transport=Mocked(respond))
        for size in (100, 2500, 300, 2600, 900, 2700, 2800, 5000, 100, 4000):
            await endpoint.ask(request("x" * size), 1, 0)
        await endpoint.close()

    asyncio.run(work())
    assert caplog.text.count("it seems to cut what is longer. Set generator.context to at most 512") == says
