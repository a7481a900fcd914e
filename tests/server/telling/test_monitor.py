"""What the server tells over HTTP, and the prompts that it shows."""

import asyncio
import json
import socket
from types import SimpleNamespace

import httpx
import pytest
import yaml
from anyio import CapacityLimiter
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from conftest import make_loop, make_run
from servers import FaultyServer
from streamdocs import Stitch
from streamdocs.errors import ConfigError
from streamdocs_server.cli import app
from streamdocs_server.engines.openai import OpenAIEndpoint
from streamdocs_server.engines.pool import Pool
from streamdocs_server.telling.monitor import Monitor
from streamdocs_server.telling.view import View, waits_for
from streamdocs_server.work.desk import Desk
from streamdocs_server.work.resolve import Resolver
from streamdocs_server.work.statistics import Statistics


def test_metrics_health_and_status(small_corpus, store):
    run = make_run(small_corpus, Stitch(generations=2))
    seen = {}

    async def work() -> None:
        slots = CapacityLimiter(16)
        server = FaultyServer(httpx.Response(500))
        pool = Pool([OpenAIEndpoint(url="http://there", transport=server)], slots=slots, failure_budget=1000)
        loop = make_loop(run, store, engine=pool, slots=slots)
        monitor = Monitor(loop, 0)
        monitor.start()
        try:
            async with httpx.AsyncClient(base_url=monitor.url) as client:
                seen["before"] = await client.get("/health")
                await pool.model()
                seen["ready"] = await client.get("/health")
                pool._sleep = lambda _: asyncio.sleep(0)
                await loop.run()
                for path in ("/health", "/metrics", "/status", "/other"):
                    seen[path] = await client.get(path)
        finally:
            monitor.close()
            await pool.close()

    asyncio.run(work())
    assert (seen["before"].status_code, seen["before"].json()) == (503, {"healthy": False})
    assert (seen["ready"].status_code, seen["/health"].status_code, seen["/other"].status_code) == (200, 200, 404)
    status = seen["/status"].json()
    assert status["state"] == "all rounds are done" and status["rounds_done"] == 1 and status["in_flight"] == 0
    assert status["documents_written"] == 100 and status["generations_written"] == 200
    assert status["retries"] == {"server error": 50}
    assert status["endpoints"][0]["url"] == "http://there" and "500" in status["endpoints"][0]["last_error"]
    families = text_string_to_metric_families(seen["/metrics"].text)
    values = {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}
    assert values["streamdocs_documents_total",] == 100 and values["streamdocs_generations_total",] == 200
    assert values["streamdocs_prompt_tokens_total",] == status["prompt_tokens"] > 0
    assert values["streamdocs_completion_tokens_total",] == status["completion_tokens"] > 0
    assert values["streamdocs_retries_total", "server error"] == 50
    assert values["streamdocs_request_seconds_count",] == 100
    assert values["streamdocs_rounds_done",] == 1 and status["waits_for"] == ""
    assert status["lead"] is None and ("streamdocs_lead",) not in values  # of no trainer
    assert {"streamdocs_cached_prompt_tokens_total", "streamdocs_in_flight", "streamdocs_queued"} <= {
        n for n, *_ in values
    }
    assert ("streamdocs_endpoint_limit", "http://there") in values


class Told:
    """A loop that says what it is told to."""

    def __init__(self, **told) -> None:
        self.finished, self.waits_for_trainer, self.lead, self.state = False, False, None, "generating"
        self.watermark, self.in_flight, self.queued = 0, 0, 0
        self.statistics, self.lanes, self.total_items = Statistics(), [], 10_000
        self.desk = SimpleNamespace(waits_for="", writers=[])
        vars(self).update(told)


@pytest.mark.parametrize(
    ("told", "out", "said"),
    [
        ({}, "", ""),
        ({}, "http://there: refused", "a server: http://there: refused"),
        ({"waits_for_trainer": True}, "", "a trainer, of which there is none yet"),
        (
            {"waits_for_trainer": True, "lead": 1200},
            "",
            "the trainer, 1,200 documents x rounds behind (server.max_lead)",
        ),
        ({"waits_for_trainer": True, "finished": True}, "http://there: refused", ""),
    ],
)
def test_what_is_waited_for_is_told(told, out, said):
    loop = Told(**told, desk=SimpleNamespace(waits_for=out, writers=[]))
    assert waits_for(loop).startswith(said) and bool(waits_for(loop)) == bool(said)
    rows = dict(View(loop).rows())
    assert rows["waits for"].startswith(said or "-")
    assert rows["lead over the trainer"] == ("+1,200 documents x rounds" if "lead" in told else "-")


def test_rates_and_the_time_left_are_those_of_minutes(monkeypatch):
    clock = 0.0
    monkeypatch.setattr("streamdocs_server.telling.view.time.monotonic", lambda: clock)
    loop = Told(watermark=5000)  # there before
    view = View(loop)
    assert dict(view.rows())["time left"] == "-"
    for step in range(1200):  # ten minutes; a block of 60 every 30 seconds
        clock += 0.5
        loop.watermark += 60 * (step % 60 == 59)
        loop.statistics.asked += 2 * (step % 2)
        loop.statistics.written.tokens += 100
        rows = dict(view.rows())
        if step > 240:
            hours, minutes, _ = map(int, rows["time left"].split(":"))
            left = (10_000 - loop.watermark) / 120
            assert 0.8 * left < 60 * hours + minutes + 1 < 1.35 * left + 1, (step, rows["time left"])
            assert rows["tokens/s"] == "200"


def test_it_listens_on_the_loopback_and_says_so_when_it_cannot(small_corpus, store):
    loop = make_loop(make_run(small_corpus, Stitch(generations=1)), store)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} of 127\.0\.0\.1 \(server\.monitor_port\)"):
            Monitor(loop, port)
    monitor = Monitor(loop, 0)
    assert monitor._server.server_address[0] == "127.0.0.1"
    monitor._server.server_close()


@pytest.fixture
def run_file(small_corpus, tmp_path):
    recipe = {"name": "stitch", "generations": 4, "per_round": 2}
    generator = {"engine": "openai", "model": "m", "system": "Be brief.", "temperature": 0.7}
    fields = {"corpus": str(small_corpus), "store": "store", "recipe": recipe, "generator": generator}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(fields))
    return tmp_path / "run.yaml"


def show_prompts(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["show-prompts", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_styles_and_writers_are_told_apart(small_corpus, store):
    run = make_run(small_corpus, Stitch(generations=4, styles={"easy": 1, "correct": 1}))
    loop = make_loop(run, store)
    asyncio.run(loop.run())
    monitor = Monitor(loop, 0)
    monitor.start()
    try:
        status, families = monitor.status(), list(monitor.collect())
    finally:
        monitor.close()
    assert [(each["stream"], each["style"], each["writer"]) for each in status["diversity"]] == [
        ("synthetic", "correct", "template"),
        ("synthetic", "easy", "template"),
    ]
    values = {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}
    for each in status["diversity"]:
        group = (each["stream"], each["style"], each["writer"])
        assert 0 < each["texts"] <= 200 and isinstance(each["opening"], str)
        for name in ("texts", "repeated", "copied", "alike", "distinct", "length_mean", "length_spread", "length_p50"):
            assert values.get((f"streamdocs_diversity_{name}", *group)) == each[name], name
    assert sum(each["texts"] for each in status["diversity"]) == status["generations_written"]
    (corrected,) = status["corrections"]
    assert corrected["texts"] >= status["diversity"][0]["texts"]
    for name in ("texts", "unchanged", "words", "dropped", "added"):
        assert values[f"streamdocs_corrections_{name}_total", "synthetic", "correct"] == corrected[name]
    assert json.dumps(status)


def test_prompts_shown_are_those_that_are_sent(small_corpus, store, run_file):
    bodies = []

    class Recording(FaultyServer):
        async def handle_async_request(self, received: httpx.Request) -> httpx.Response:
            bodies.extend([json.loads(received.content)] if received.content else [])
            return await super().handle_async_request(received)

    from streamdocs.config import RunFile
    from streamdocs.run import Run
    from streamdocs_server.engines import Sampling
    from streamdocs_server.gates.gates import Gates

    file = RunFile.load(run_file)

    async def work() -> None:
        sampling = Sampling(temperature=0.7, system="Be brief.")
        endpoint = OpenAIEndpoint(url="http://there", model="m", sampling=sampling, transport=Recording())
        pool = Pool([endpoint], slots=CapacityLimiter(1))
        run = Run.of(file, file.generator.generator(await pool.model()))
        await Resolver(run.stream().scope, store, Desk.of(pool), Gates(), attempts=1).write(7, 1)
        await pool.close()

    asyncio.run(work())
    shown = [json.loads(line) for line in show_prompts(run_file, "--document", 7, "--round", 1, "--json").splitlines()]
    assert shown == bodies and len(shown) == 1


def test_prompts_are_shown_with_what_the_generator_adds_and_leaves_out(run_file):
    fields = yaml.safe_load(run_file.read_text())
    fields["generator"] |= {
        "extra_body": {"top_k": 20},
        "fields": {"seed": None, "max_tokens": "max_completion_tokens"},
    }
    run_file.write_text(yaml.safe_dump(fields))
    body = json.loads(show_prompts(run_file, "--json"))
    assert body["top_k"] == 20 and body["max_completion_tokens"] and not {"seed", "max_tokens"} & body.keys()


def test_prompts_of_every_recipe(run_file):
    shown = show_prompts(run_file, "--recipe", "all")
    for recipe, count in (("rephrase", 1), ("stitch", 1), ("stretch", 4)):
        assert shown.count(f"--- {recipe}, document 0, round 0: model m, n ") == count
    assert shown.count("[system]\nBe brief.") == 17 and "Document 0" in shown


WRONG_OPTIONS = [
    (["--document", 100], "has 0 to 99"),
    (["--document", -1], "has 0 to 99"),
    (["--round", 2], "has rounds 0 to 1"),
    (["--round", -1], "has rounds 0 to 1"),
    (["--recipe", "x"], "it is one of"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG_OPTIONS)
def test_wrong_options_are_told(run_file, wrong, said):
    result = CliRunner().invoke(app, ["show-prompts", str(run_file), *map(str, wrong)])
    assert result.exit_code == 1 and said in result.output
    assert result.output.startswith("error: ") and len(result.output.strip().splitlines()) == 1


def test_serving_is_the_default_command(tmp_path):
    missing = str(tmp_path / "missing.yaml")
    for arguments in ([missing], ["serve", missing], ["--model-name=m", missing]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 1 and "cannot be read" in result.output
