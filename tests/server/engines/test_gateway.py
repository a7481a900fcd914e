"""SGLang's model gateway, with a transport that plays it and its servers; the real one is in test_sglang."""

import asyncio
import json

import httpx
import pytest
from anyio import CapacityLimiter

from servers import Mocked, chat, models, request, wait_until
from streamdocs.errors import EngineError
from streamdocs.writers import GeneratorSection
from streamdocs_server.engines.base import TryAgainError
from streamdocs_server.engines.gateway import GatewayEndpoint
from streamdocs_server.engines.make import make_endpoints
from streamdocs_server.engines.openai import Load
from streamdocs_server.engines.pool import Pool


class Gateway:
    """A transport that answers as a gateway at http://gateway, in front of servers with the versions of their weights.

    Args:
        servers: Version of the weights at each host; None refuses connections.
        info: Whether ``/get_model_info`` is passed on, to the first server that answers.
        place: Where it says its servers are, by ``{}`` for a host.
    """

    def __init__(self, servers: dict[str, str | None], info: bool = True, place: str = "http://{}:30000") -> None:
        self.servers, self.info, self.place = dict(servers), info, place
        self.healthy = dict.fromkeys(servers, True)
        self.asked: list[tuple[str, str, str | None]] = []
        self.turns = 0

    def endpoint(self, **arguments) -> GatewayEndpoint:
        return GatewayEndpoint(url="http://gateway", transport=Mocked(self), **arguments)

    def __call__(self, received: httpx.Request) -> httpx.Response:
        host, path = received.url.host, received.url.path
        self.asked.append((host, path, received.headers.get("Authorization")))
        if host == "gateway":
            return self.gateway(path)
        if self.servers[host] is None:
            raise httpx.ConnectError("refused")
        return self.server(host, path)

    def gateway(self, path: str) -> httpx.Response:
        up = [host for host, version in self.servers.items() if version is not None and self.healthy[host]]
        if path == "/workers":
            listed = [
                {"url": self.place.format(host), "is_healthy": healthy, "load": 0}
                for host, healthy in self.healthy.items()
            ]
            return httpx.Response(200, json={"workers": listed, "total": len(listed)})
        if path == "/v1/models":
            return models("a")
        if path == "/health":
            return httpx.Response(200, text="OK")
        if path == "/get_model_info" and self.info:
            return self.server(up[0], "/model_info")
        if path == "/v1/chat/completions":
            self.turns += 1
            version = self.servers[up[self.turns % len(up)]]
            metadata = {"weight_version": version, "weight_versions": [{"version": version, "start": 0, "end": 3}]}
            return httpx.Response(200, json=chat().json() | {"metadata": metadata})
        return httpx.Response(404)

    def server(self, host: str, path: str) -> httpx.Response:
        if path == "/model_info":
            info = {"model_path": f"/{host}/a", "served_model_name": "a", "weight_version": self.servers[host]}
            return httpx.Response(200, json=info)
        if path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "a", "max_model_len": 1024 if host == "one" else 2048}]})
        if path == "/v1/loads":
            load = {"num_running_reqs": 2, "num_waiting_reqs": 3, "num_used_tokens": 50}
            return httpx.Response(200, json={"loads": [load | {"token_usage": 0.9 if host == "two" else 0.1}]})
        return httpx.Response(200, json={"count": 7}) if path == "/tokenize" else httpx.Response(404)


TWO = {"one": "default", "two": "default"}


def test_what_a_gateway_does_not_pass_on_is_asked_of_its_servers(monkeypatch):
    monkeypatch.setenv("KEY", "secret-key")
    gateway = Gateway(TWO)

    async def look() -> None:
        endpoint = gateway.endpoint(api_key_env="KEY")
        assert await endpoint.identify() == ("a", "")
        assert endpoint.context == 1024
        assert await endpoint.load() == Load(running=4, waiting=6, used_tokens=100, cache_usage=0.9)
        assert await endpoint.count(request()) == 7
        await endpoint.close()

    asyncio.run(look())
    # The key is the gateway's, who could name any place as that of a server.
    assert {host for host, _, key in gateway.asked if key} == {"gateway"}
    assert {host for host, _, key in gateway.asked if not key} == {"one", "two"}


@pytest.mark.parametrize(("version", "revision"), [("default", ""), ("step-7", "step-7")])
def test_the_version_is_that_of_all_servers(version, revision):
    assert asyncio.run(Gateway({"one": version, "two": version}).endpoint().identify()) == ("a", revision)


def test_servers_that_differ_are_refused_by_name():
    expected = r"(?s)(?=.*http://one:30000 'a' version 'default')(?=.*http://two:30000 'a' version 'step-7')"
    with pytest.raises(EngineError, match=expected) as caught:
        asyncio.run(Gateway({"one": "default", "two": "step-7"}).endpoint().identify())
    assert not isinstance(caught.value, TryAgainError)


def test_another_model_than_configured_is_refused():
    with pytest.raises(EngineError, match=r"serves 'a'.*generator\.model is 'b'"):
        asyncio.run(Gateway(TWO).endpoint(model="b").identify())


def test_a_gateway_without_a_server_is_waited_for():
    gateway = Gateway(TWO)
    gateway.healthy = dict.fromkeys(TWO, False)
    with pytest.raises(TryAgainError, match="none of its 2 servers is healthy"):
        asyncio.run(gateway.endpoint().identify())
    with pytest.raises(TryAgainError, match="it has no server yet"):
        asyncio.run(Gateway({}).endpoint().identify())


def test_of_two_servers_one_may_die_and_where_both_do_it_is_out(caplog):
    gateway = Gateway(TWO)

    async def look() -> None:
        endpoint = gateway.endpoint()
        assert await endpoint.identify() == ("a", "")
        gateway.servers["two"] = None  # which the gateway has not noticed yet
        assert await endpoint.identify() == ("a", "")
        assert await endpoint.load() == Load(running=2, waiting=3, used_tokens=50, cache_usage=0.1)
        gateway.servers["one"] = None
        with pytest.raises(TryAgainError, match=r"none of its servers answers: .*http://one:30000.*refused"):
            await endpoint.identify()
        gateway.servers |= TWO
        assert await endpoint.identify() == ("a", "") and (await endpoint.load()).running == 4
        await endpoint.close()

    asyncio.run(look())
    assert caplog.text.count("not all of its servers can be asked from here") == 1


@pytest.mark.parametrize("place", ["http://127.0.0.1:3{}", "grpc://{}:30000", "http://user:key@{}", "nonsense {}"])
@pytest.mark.parametrize(("info", "revision"), [(True, "step-7"), (False, "")])
def test_servers_that_cannot_be_asked_are_known_by_their_answers(place, info, revision, caplog, monkeypatch):
    monkeypatch.setattr("streamdocs_server.engines.pool._RARE_LOOK_SECONDS", 0.05)
    gateway = Gateway({"one": "step-7", "two": "step-7"}, info, place)

    async def ask() -> None:
        pool = Pool([gateway.endpoint()], slots=CapacityLimiter(8))
        assert await pool.model() == ("a", revision)
        assert pool.members[0].load is None and await pool.members[0].endpoint.count(request()) is None
        await pool.generate(request(), 0)
        await pool.generate(request(), 1)
        gateway.servers["two"] = "step-8"
        with pytest.raises(EngineError, match="version 'step-8', and this run began with 'a'"):
            for seed in range(2, 40):
                await pool.generate(request(), seed)
        assert pool.retries == {"other weights": 1}
        await pool.close()

    asyncio.run(ask())
    assert {host for host, *_ in gateway.asked} == {"gateway"}
    assert "can be asked from here" in caplog.text


def test_new_weights_at_one_server_of_a_gateway_are_never_stored(monkeypatch):
    """An answer of theirs comes before the next look."""
    monkeypatch.setattr("streamdocs_server.engines.pool._LOOK_SECONDS", 60.0)
    gateway = Gateway(TWO)

    async def ask() -> None:
        pool = Pool([gateway.endpoint()], slots=CapacityLimiter(8))
        await pool.model()
        gateway.servers["two"] = "step-2"
        with pytest.raises(EngineError, match="servers that do not serve the same"):
            await asyncio.gather(*(pool.generate(request(), seed) for seed in range(4)))
        assert pool.retries["other weights"] >= 1
        await pool.close()

    asyncio.run(ask())


def test_a_dead_gateway_is_told():
    async def ask() -> None:
        def refuse(received):
            raise httpx.ConnectError("refused")

        endpoint = GatewayEndpoint(url="http://gateway", transport=Mocked(refuse))
        pool = Pool([endpoint], slots=CapacityLimiter(8), failure_budget=3, sleep=lambda _: asyncio.sleep(0))
        with pytest.raises(EngineError, match=r"http://gateway: .*refused.*check that it runs"):
            await pool.model()
        await pool.close()

    asyncio.run(ask())


def test_the_servers_of_a_gateway_may_change():
    gateway = Gateway({"one": "default"})

    async def look() -> None:
        pool = Pool([endpoint := gateway.endpoint()], slots=CapacityLimiter(8))
        await pool.model()
        await asyncio.to_thread(wait_until, lambda: pool.members[0].load)
        gateway.servers, gateway.healthy = {"two": "default"}, {"two": True}
        await asyncio.to_thread(wait_until, lambda: endpoint.context == 2048)
        await pool.close()

    asyncio.run(look())


@pytest.mark.parametrize("plain", [httpx.Response(404), httpx.Response(403), httpx.Response(200, json={"a": 1})])
def test_a_server_that_lists_no_workers_is_asked_as_an_sglang_server(plain):
    asked = []

    def respond(received: httpx.Request) -> httpx.Response:
        asked.append(received.url.path)
        if received.url.path == "/workers":
            return httpx.Response(plain.status_code, content=plain.content)
        if received.url.path == "/model_info":
            return httpx.Response(200, json={"model_path": "/a", "served_model_name": "a", "weight_version": "v"})
        return models("a") if received.url.path == "/v1/models" else httpx.Response(200, json={"loads": []})

    async def look() -> None:
        endpoint = GatewayEndpoint(url="http://engine", transport=Mocked(respond))
        for _ in range(3):
            assert await endpoint.identify() == ("a", "v")
        assert await endpoint.load() == Load(0, 0, 0)
        await endpoint.close()

    asyncio.run(look())
    assert asked.count("/workers") == 1


@pytest.mark.parametrize(
    "metadata", [None, 1, {"weight_version": 3}, {"weight_versions": [1]}, {"weight_versions": {}}]
)
def test_what_says_nothing_of_weights_is_an_answer_like_any(metadata):
    body = json.dumps(chat().json() | {"metadata": metadata})
    gateway = Gateway(TWO)

    def respond(received: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body) if "chat" in received.url.path else gateway(received)

    async def ask() -> str:
        endpoint = GatewayEndpoint(url="http://gateway", transport=Mocked(respond))
        await endpoint.identify()
        return (await endpoint.ask(request(), 1, 0)).completions[0].text

    assert asyncio.run(ask()) == "A text."


def test_a_run_file_with_sglang_servers_takes_gateways():
    (endpoint,) = make_endpoints(GeneratorSection(engine="sglang", endpoint="http://gateway"))
    assert isinstance(endpoint, GatewayEndpoint)
