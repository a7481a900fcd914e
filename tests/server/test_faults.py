"""The fault table: whatever a server does, the store ends with the keys of a run without the fault."""

import asyncio
import json
import logging

import httpx
import pytest
from anyio import CapacityLimiter

from conftest import make_loop, make_run
from servers import FaultyServer
from streamdocs import Stitch
from streamdocs.errors import EngineError
from streamdocs.generations.progress import read_tallies, total
from streamdocs.store import LmdbStore
from streamdocs_server.engines.openai import OpenAIEndpoint
from streamdocs_server.engines.pool import Pool


class CutOff(httpx.AsyncByteStream):
    """An answer whose connection is reset in the middle."""

    async def __aiter__(self):
        yield b'{"choices": [{"message": {"content": "A te'
        raise httpx.ReadError("connection reset by peer")


class ResetMidAnswer(FaultyServer):
    async def handle_async_request(self, received: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(received)
        return httpx.Response(200, stream=CutOff()) if response.status_code == 599 else response


TRUNCATED = httpx.Response(200, content=b'{"choices": [{"message": {"content": "A tex')
ABORTED = httpx.Response(200, json={"choices": [{"message": {"content": "A te"}, "finish_reason": "abort"}]})
EMPTY = httpx.Response(200, json={"choices": []})

#: fault, what it is, the cause in the metrics, what the log says
FAULTS = [
    ("refused", FaultyServer, httpx.ConnectError("connection refused"), "connection", "connection refused"),
    ("reset mid-answer", ResetMidAnswer, httpx.Response(599), "connection", "connection reset by peer"),
    ("hang", FaultyServer, lambda: None, "timeout", "no complete answer within 0.3 s"),
    ("429", FaultyServer, httpx.Response(429), "overloaded", "status 429"),
    ("500", FaultyServer, httpx.Response(500, text="boom"), "server error", "status 500: 'boom'"),
    ("503", FaultyServer, httpx.Response(503), "overloaded", "status 503"),
    ("malformed JSON", FaultyServer, httpx.Response(200, text="<html>"), "malformed answer", "malformed answer"),
    ("truncated answer", FaultyServer, TRUNCATED, "malformed answer", "malformed answer"),
    ("empty answer", FaultyServer, EMPTY, "malformed answer", "malformed answer"),
    ("aborted", FaultyServer, ABORTED, "malformed answer", "no choice has content"),
]


def keys_of(store: LmdbStore) -> dict[str, set[bytes]]:
    with store.read() as snapshot:
        return {table: {bytes(key) for key, _ in snapshot.scan(table, b"")} for table in ("texts", "tokens", "blocks")}


def serve(corpus, store, *servers: FaultyServer, **options) -> Pool:
    run = make_run(corpus, Stitch(generations=2))

    async def no_pause(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))

    async def work() -> Pool:
        # A timeout for the request that hangs, and no test that takes minutes.
        endpoints = [OpenAIEndpoint(url=f"http://s{i}", transport=s, timeout=0.3) for i, s in enumerate(servers)]
        slots = CapacityLimiter(16)
        pool = Pool(endpoints, slots=slots, sleep=no_pause, **options)
        try:
            await pool.model()
            await asyncio.wait_for(make_loop(run, store, engine=pool, slots=slots).run(), 60)
        finally:
            await pool.close()
        return pool

    return asyncio.run(work())


@pytest.fixture(scope="module")
def expected(small_corpus, tmp_path_factory) -> dict[str, set[bytes]]:
    """What a run without a fault leaves in the store."""
    store = LmdbStore(tmp_path_factory.mktemp("expected") / "store")
    serve(small_corpus, store, FaultyServer())
    keys = keys_of(store)
    assert len(keys["texts"]) == len(keys["tokens"]) == 100
    return keys


@pytest.mark.parametrize(
    ("kind", "fault", "cause", "said"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
def test_the_store_ends_with_the_same_keys(small_corpus, store, expected, caplog, kind, fault, cause, said):
    caplog.set_level(logging.WARNING)
    server = kind(fault)
    pool = serve(small_corpus, store, server, failure_budget=1000)
    assert keys_of(store) == expected
    assert pool.retries[cause] >= 10 and set(pool.retries) == {cause}
    assert said in caplog.text and "failure 1 of 1000 in a row" in caplog.text
    if kind is FaultyServer:
        assert len(server.answered) == 100 and set(server.answered.values()) == {1}  # nothing was asked twice


def test_one_of_two_servers_dies(small_corpus, store, expected, caplog):
    first, second = FaultyServer(lambda: httpx.ConnectError("connection refused")), FaultyServer()
    serve(small_corpus, store, first, second, failure_budget=1000)
    assert keys_of(store) == expected
    answered = first.answered + second.answered
    assert len(answered) == 100 and set(answered.values()) == {1} and second.answered
    assert "http://s0: ClientConnectionError connection refused" in caplog.text


def test_a_server_with_another_model_writes_nothing(small_corpus, store, expected):
    class Replaced(FaultyServer):
        async def handle_async_request(self, received: httpx.Request) -> httpx.Response:
            if self.asked == 40:
                self.name = "another"
                self.asked += 1
                raise httpx.ReadError("connection reset by peer")
            return await super().handle_async_request(received)

    with pytest.raises(EngineError, match=r"has no model 'm'.*served: 'another'"):
        serve(small_corpus, store, Replaced())
    assert 0 < len(keys_of(store)["texts"]) <= 40  # what was committed stays
    rest = FaultyServer()
    serve(small_corpus, store, rest)
    assert keys_of(store) == expected and sum(rest.answered.values()) < 100


def test_a_server_that_is_gone_for_good_stops_it_and_loses_nothing(small_corpus, store, expected):
    class Dying(FaultyServer):
        async def handle_async_request(self, received: httpx.Request) -> httpx.Response:
            if self.asked >= 40:
                raise httpx.ConnectError("connection refused")
            return await super().handle_async_request(received)

    with pytest.raises(EngineError, match=r"connection refused.*failure 5 in a row.*the same command goes on"):
        serve(small_corpus, store, Dying(), failure_budget=5)
    rest = FaultyServer()
    serve(small_corpus, store, rest)
    assert keys_of(store) == expected and sum(rest.answered.values()) < 100


def test_a_refused_document_is_recorded_and_every_key_is_there(small_corpus, store, expected):
    class Refusing(FaultyServer):
        async def handle_async_request(self, received: httpx.Request) -> httpx.Response:
            if b"Document 7 " in received.content or b"Document 70 " in received.content:
                return httpx.Response(400, json={"error": {"message": "too long"}})
            return await super().handle_async_request(received)

    serve(small_corpus, store, Refusing())
    assert keys_of(store) == expected
    run = make_run(small_corpus, Stitch(generations=2))
    assert total(read_tallies(store, run.stream().scope).values()).rejected == {"refused by the server": 4}


class Small(FaultyServer):
    """A server that reads and writes little, and counts two tokens a word."""

    longest = 0

    async def handle_async_request(self, received: httpx.Request) -> httpx.Response:
        if received.method == "GET":
            return httpx.Response(200, json={"data": [{"id": "m", "max_model_len": 1024 + 300}]})
        words = [len(each["content"].split()) for each in json.loads(received.content)["messages"]]
        if received.url.path == "/tokenize":
            return httpx.Response(200, json={"count": 2 * sum(words)})
        self.longest = max(self.longest, 2 * sum(words))
        return await super().handle_async_request(received)


def test_a_document_whose_tokens_cannot_be_counted_is_recorded_and_others_go_on(small_corpus, store, expected):
    class Breaking(Small):
        async def handle_async_request(self, received: httpx.Request) -> httpx.Response:
            if received.url.path == "/tokenize" and b"Document 7 " in received.content:
                raise httpx.ReadError("connection reset by peer")
            return await super().handle_async_request(received)

    serve(small_corpus, store, Breaking(), failure_budget=1000)
    assert keys_of(store) == expected
    run = make_run(small_corpus, Stitch(generations=2))
    held = total(read_tallies(store, run.stream().scope).values())
    assert held.rejected == {"refused by the server": 2} and held.generations == 198


def test_a_document_that_is_too_long_is_cut_and_that_is_recorded(small_corpus, store, expected):
    server = Small()
    serve(small_corpus, store, server)
    assert keys_of(store) == expected and 200 < server.longest <= 300
    run = make_run(small_corpus, Stitch(generations=2))
    held = total(read_tallies(store, run.stream().scope).values())
    assert 0 < held.cut < 100 and held.generations == 200
