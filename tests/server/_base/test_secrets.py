"""An API key is sent to its server, and is nowhere else, whatever that server does with it."""

import asyncio
import json
import logging
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import yaml
from anyio import CapacityLimiter
from typer.testing import CliRunner

from conftest import make_loop, make_run
from servers import Played
from streamdocs import Stitch
from streamdocs.config import RunFile
from streamdocs.errors import ConfigError, EngineError
from streamdocs.writers import GeneratorSection
from streamdocs_server._base.secrets import hide_arguments
from streamdocs_server.cli import app
from streamdocs_server.engines.gateway import GatewayEndpoint
from streamdocs_server.engines.make import make_endpoints
from streamdocs_server.engines.openai import OpenAIEndpoint
from streamdocs_server.engines.pool import Pool
from streamdocs_server.engines.sglang import SGLangEndpoint
from streamdocs_server.telling.monitor import Monitor

KEY = "sk-canary-4f1d9c"


@pytest.fixture(autouse=True)
def key(monkeypatch, caplog):
    monkeypatch.setenv("ENGINE_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    for name in ("aiohttp.client", "aiohttp.internal", "asyncio", "streamdocs", "streamdocs_server"):
        caplog.set_level(logging.DEBUG, logger=name)


class Echo(Played):
    """Quotes the key in every place of an answer, and fails in turn in every way."""

    def __init__(self, name: str = "m") -> None:
        self.name, self.asked = name, 0

    async def handle_async_request(self, received: httpx.Request) -> httpx.Response:
        key = received.headers["authorization"].removeprefix("Bearer ")
        assert key == KEY
        extensions = {"reason_phrase": f"OK {key}".encode()}
        headers = {"x-key": key, "set-cookie": key, "retry-after": key}
        if received.method == "GET":
            models = {"data": [{"id": self.name}], "key": key}
            return httpx.Response(200, json=models, headers=headers, extensions=extensions)
        self.asked += 1
        body = {"error": {"message": f"{key} is wrong"}, "choices": [choice(None, key)]}
        prompt = json.loads(received.content)["messages"][-1]["content"]
        if self.asked % 2 and "The river rises" not in prompt:  # which shows that it is the document that was refused
            status = (500, 429, 503, 400, 200)[self.asked // 2 % 5]
            return httpx.Response(status, json=body, headers=headers, extensions=extensions)
        return httpx.Response(200, json={"choices": [choice(f"{prompt} {i}") for i in range(2)]}, extensions=extensions)


def choice(text: str | None, reason: str = "stop") -> dict:
    return {"message": {"content": text}, "finish_reason": reason}


def test_a_whole_run_with_a_server_that_quotes_it(small_corpus, store, caplog):
    shown = []

    async def work() -> None:
        section = GeneratorSection(engine="openai", endpoint="http://there", api_key_env="ENGINE_KEY")
        endpoint = OpenAIEndpoint(url="http://there", api_key_env="ENGINE_KEY", transport=Echo())
        slots = CapacityLimiter(16)
        pool = Pool([endpoint], slots=slots, failure_budget=10_000, sleep=lambda _: asyncio.sleep(0))
        run = make_run(small_corpus, Stitch(generations=2))
        await pool.model()
        loop = make_loop(run, store, engine=pool, slots=slots)
        monitor = Monitor(loop, 0)
        monitor.start()
        try:
            await asyncio.wait_for(loop.run(), 60)
            async with httpx.AsyncClient(base_url=monitor.url) as client:
                shown.extend([(await client.get(path)).text for path in ("/metrics", "/status", "/health")])
        finally:
            monitor.close()
            await pool.close()
        shown.extend(map(repr, (section, endpoint, pool, vars(endpoint), pool.members, run.fingerprint, pool.retries)))

    asyncio.run(work())
    assert "refused by the server" in shown[0] and "malformed answer" in shown[0] and "***" in caplog.text
    with store.read() as snapshot:
        stored = [part for table in ("notes", "blocks", "windows", "tokens") for part in snapshot.scan(table, b"")]
    assert len(stored) > 100 and not any(KEY.encode() in part for entry in stored for part in entry)
    assert KEY not in caplog.text and not any(KEY in each for each in shown)
    assert not any(KEY in repr(vars(record)) for record in caplog.records)


@pytest.mark.parametrize("kind", [OpenAIEndpoint, SGLangEndpoint, GatewayEndpoint])
@pytest.mark.parametrize("model", [None, "m"])
def test_a_model_that_is_called_so_is_refused(kind, model, caplog):
    class Models(Echo):
        async def handle_async_request(self, received: httpx.Request) -> httpx.Response:
            if received.url.path in ("/model_info", "/get_model_info"):
                return httpx.Response(200, json={"model_path": self.name, "weight_version": self.name})
            if received.url.path == "/workers":
                listed = [{"url": f"http://{host}/{self.name}", "is_healthy": True} for host in ("one", "two")]
                return httpx.Response(200, json={"workers": listed})
            return await super().handle_async_request(received)

    endpoint = kind(url="http://there", model=model, api_key_env="ENGINE_KEY", transport=Models(f"m-{KEY}"))
    with pytest.raises(EngineError) as caught:
        asyncio.run(endpoint.identify())
    assert KEY not in "".join(traceback.format_exception(caught.value)) + caplog.text


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500, f"{self.headers['authorization']} is wrong")
        self.send_header("X-Key", self.headers["authorization"])
        self.send_header("Set-Cookie", f"{self.headers['authorization']}=1")
        self.end_headers()
        self.wfile.write(b'{"error": "%s"}' % self.headers["authorization"].encode())

    def log_message(self, *_):
        pass


def test_over_a_real_socket(caplog):
    """Here it has the key in the status line and in headers; aiohttp, which logs next to nothing, is helped to."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = OpenAIEndpoint(url=f"http://127.0.0.1:{server.server_port}", api_key_env="ENGINE_KEY")

        async def ask() -> None:
            try:
                logging.getLogger("aiohttp.internal").warning("Illegal cookie name %r", f"Bearer {KEY}")
                await endpoint.identify()
            finally:
                await endpoint.close()

        with pytest.raises(EngineError) as caught:
            asyncio.run(ask())
        server.shutdown()
    assert "Illegal cookie name 'Bearer ***'" in caplog.text
    assert KEY not in caplog.text + "".join(traceback.format_exception(caught.value))


def test_prompts_are_shown_without_it(small_corpus, tmp_path):
    generator = {"engine": "openai", "model": "m", "api_key_env": "ENGINE_KEY", "endpoint": "http://localhost:1"}
    recipe = {"name": "stitch", "generations": 2}
    run_file = tmp_path / "run.yaml"
    run_file.write_text(
        yaml.safe_dump({"corpus": str(small_corpus), "store": "s", "recipe": recipe, "generator": generator})
    )
    for flags in ([], ["--json"]):
        result = CliRunner().invoke(app, ["show-prompts", str(run_file), *flags])
        assert result.exit_code == 0 and KEY not in result.output
    run = RunFile.load(run_file)
    endpoints = make_endpoints(run.generator)
    assert KEY not in repr(run) + str(run.model_dump()) + run.model_dump_json() + repr(endpoints) + repr(
        vars(endpoints[0])
    )


def test_a_key_in_place_of_its_variable_is_not_shown(tmp_path):
    run_file = tmp_path / "run.yaml"
    fields = {"corpus": "c", "store": "s", "recipe": {"name": "stitch", "generations": 2}}
    run_file.write_text(yaml.safe_dump({**fields, "generator": {"api_key_env": KEY}}))
    with pytest.raises(ConfigError, match=r"generator\.api_key_env: has to be text of the form") as caught:
        RunFile.load(run_file)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_a_crash_does_not_print_the_values_of_variables():
    from streamdocs.commands.cli import commands
    from streamdocs.commands.ledger import app as ledger

    assert not any(each.pretty_exceptions_show_locals for each in (app, commands, ledger))


def test_flags_that_hold_secrets_are_not_logged():
    command = ["python", "--api-key", KEY, f"--hf-token={KEY}", "--max-total-tokens=3", "--host", "::1"]
    assert hide_arguments(command) == "python --api-key *** --hf-token=*** --max-total-tokens=3 --host ::1"
