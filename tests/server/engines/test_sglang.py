"""The SGLang engine: against a transport where a fault has to be staged, and against the real server on a CPU."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import yaml
from anyio import CapacityLimiter

from conftest import make_corpus, make_loop, make_run, make_texts
from servers import FakeServer, Mocked, free_port, wait_until
from streamdocs import Stitch, SynthLLM
from streamdocs.config import RunFile
from streamdocs.errors import ConfigError, EngineError
from streamdocs.generations.encoding import decode_text
from streamdocs.generations.progress import read_tallies, read_watermark, total
from streamdocs.recipes import Request
from streamdocs.recipes.keys import Generator
from streamdocs.recipes.programs.styles import style
from streamdocs.run import Run
from streamdocs.store import LmdbStore
from streamdocs.writers import GeneratorSection
from streamdocs_server import cli
from streamdocs_server._base.http import HttpTransport
from streamdocs_server.engines.base import TryAgainError
from streamdocs_server.engines.gateway import GatewayEndpoint
from streamdocs_server.engines.make import make_endpoints, with_options
from streamdocs_server.engines.openai import Load, OpenAIEndpoint
from streamdocs_server.engines.pool import Pool
from streamdocs_server.engines.sglang import SGLangEndpoint, start_sglang
from streamdocs_server.work.desk import make_desk
from streamdocs_server.work.loop import GenerationLoop

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-sglang/bin/python"
needs_sglang = pytest.mark.skipif(not PYTHON.exists(), reason=f"no SGLang at {PYTHON}: `make sglang` puts it there")
# Each starts servers of its own, which takes a minute; make faults runs them.
exhaustive = pytest.mark.skipif("EXHAUSTIVE" not in os.environ, reason="many servers: `make faults` starts them")
# One server for all of them, so all of them in one of xdist's processes.
pytestmark = pytest.mark.xdist_group("sglang")


def test_all_of_these_are_in_one_process(request):
    if "PYTEST_XDIST_WORKER" in os.environ:  # otherwise each process would start a server, and wait for the other's
        assert request.node.nodeid.endswith("@sglang")


def request(n: int = 1, max_tokens: int = 8, document: str = "A document about a river.") -> Request:
    fields = {"document": document}
    return Request(kind="rephrase", template="Rewrite: {document}", fields=fields, n=n, max_tokens=max_tokens)


# With a transport in place of a server


class Replies:
    """A transport that answers as an SGLang server with one model."""

    def __init__(self, name: str = "a", version: str | None = "default") -> None:
        self.info = {"model_path": f"/models/{name}", "served_model_name": name, "weight_version": version}
        self.healthy = True

    def __call__(self, received: httpx.Request) -> httpx.Response:
        if received.url.path == "/model_info":
            return httpx.Response(200, json=self.info)
        if received.url.path == "/v1/models":
            data = [{"id": self.info["served_model_name"], "max_model_len": 2048}]
            return httpx.Response(200, json={"data": data})
        if received.url.path == "/health":
            return httpx.Response(200 if self.healthy else 503)
        load = {"num_running_reqs": 2, "num_waiting_reqs": 3, "num_used_tokens": 50, "token_usage": 0.4}
        return httpx.Response(200, json={"loads": [load, load]})

    def endpoint(self, **arguments) -> SGLangEndpoint:
        return SGLangEndpoint(url="http://engine", transport=Mocked(self), **arguments)


@pytest.mark.parametrize(("version", "revision"), [("default", ""), (None, ""), ("step-7", "step-7")])
def test_the_weight_version_is_the_revision_unless_nobody_set_one(version, revision):
    endpoint = Replies("a", version).endpoint()
    assert asyncio.run(endpoint.identify()) == ("a", revision)
    assert endpoint.context == 2048


def test_another_model_than_configured_is_refused_with_both_names():
    with pytest.raises(EngineError, match=r"serves 'a' \(weights /models/a.*generator\.model is 'b'"):
        asyncio.run(Replies("a").endpoint(model="b").identify())


def test_a_server_whose_scheduler_hangs_is_not_there():
    replies = Replies()
    replies.healthy = False
    with pytest.raises(TryAgainError, match="its scheduler does not") as caught:
        asyncio.run(replies.endpoint().identify())
    assert caught.value.cause == "hang"


def test_a_server_that_was_seen_to_get_on_is_not_yet_a_hanging_one(monkeypatch):
    async def work() -> None:
        replies = Replies()
        endpoint = replies.endpoint()
        await endpoint.identify()
        replies.healthy = False
        await endpoint.identify()
        monkeypatch.setattr("streamdocs_server.engines.sglang._HANG_SECONDS", 0.0)
        with pytest.raises(TryAgainError, match="its scheduler does not"):
            await endpoint.identify()

    asyncio.run(work())


@pytest.mark.parametrize(
    "other", [httpx.Response(404), httpx.Response(405), httpx.Response(200, json={"error": "Unexpected endpoint"})]
)
def test_another_kind_of_server_than_the_run_file_says_is_used_as_it_is(other, caplog):
    def respond(received: httpx.Request) -> httpx.Response:
        if received.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "a"}]})
        return httpx.Response(other.status_code, content=other.content)

    async def work() -> None:
        endpoint = SGLangEndpoint(url="http://engine", transport=Mocked(respond))
        for _ in range(3):
            assert await endpoint.identify() == ("a", "")
            assert await endpoint.load() is None and await endpoint.count(request()) is None
            assert await endpoint.progress() is None
        await endpoint.close()

    asyncio.run(work())
    assert caplog.text.count("is no SGLang server, for it has no /model_info") == 1


def test_one_that_was_an_sglang_server_and_is_none_any_more_is_refused():
    async def work() -> None:
        replies = Replies()
        endpoint = replies.endpoint()
        await endpoint.identify()
        endpoint._http._transport = Mocked(lambda _: httpx.Response(404))
        with pytest.raises(EngineError, match="has no /model_info"):
            await endpoint.identify()

    asyncio.run(work())


def test_the_load_is_that_of_all_replicas():
    assert asyncio.run(Replies().endpoint().load()) == Load(running=4, waiting=6, used_tokens=100, cache_usage=0.4)


def test_options_of_the_command_line_win_over_the_run_file():
    section = GeneratorSection(engine="sglang", endpoint=("http://there",), model="m")
    started = with_options(section, {"model_path": "/models/m"})
    assert (started.engine, started.model_path, started.endpoint) == ("sglang", "/models/m", ())
    assert with_options(section, {"endpoint": ("http://here",)}).engine == "sglang"
    assert with_options(GeneratorSection(), {"endpoint": ("http://here",)}).engine == "openai"
    with pytest.raises(ConfigError, match="give one of the two"):
        with_options(section, {"model_path": "/models/m", "endpoint": ("http://here",)})
    with pytest.raises(ConfigError, match="name one of the two"):
        make_endpoints(started.model_copy(update={"endpoint": ("http://there",)}))
    with pytest.raises(ConfigError, match=r"--endpoint URL.*--model PATH"):
        make_endpoints(GeneratorSection(engine="sglang"))


def test_no_environment_with_sglang_is_an_error_that_says_how_to_make_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    with pytest.raises(ConfigError, match=rf"No Python with SGLang at {tmp_path}/\.venv-sglang.*make sglang"):
        start_sglang(GeneratorSection(model_path="/models/m"))
    with pytest.raises(ConfigError, match="No Python with SGLang at /no/python"):
        start_sglang(GeneratorSection(model_path="/models/m", sglang_python="/no/python"))


@pytest.mark.parametrize(
    ("arguments", "on_cpu"),
    [
        (("--device", "cpu"), True),
        (("--device=cpu",), True),
        (("--tp=1", "--device=cpu", "--log-level", "info"), True),
        (("--device=cuda",), False),
        (("--device=cpu", "--device=cuda"), False),
        (("--served-model-name", "cpu"), False),
        (("--device",), False),
        ((), False),
    ],
)
def test_a_server_on_the_cpu_is_started_as_such_however_that_is_written(arguments, on_cpu):
    section = GeneratorSection(model_path="/models/m", sglang_python=sys.executable, server_arguments=arguments)
    supervisor, _ = start_sglang(section)
    assert ("--attention-backend=torch_native" in supervisor._command) == on_cpu
    assert ("--chunked-prefill-size=512" in supervisor._command) == on_cpu


def test_paths_of_the_run_file_are_relative_to_it(tmp_path):
    (tmp_path / "tiny").mkdir()
    section = GeneratorSection(model_path="tiny", sglang_python="env/bin/python").relative_to(tmp_path)
    assert section.model_path == f"{tmp_path}/tiny" and section.server_log == f"{tmp_path}/sglang.log"
    assert section.sglang_python == f"{tmp_path}/env/bin/python"
    assert GeneratorSection(model_path="organisation/model").relative_to(tmp_path).model_path == "organisation/model"


def test_a_supervised_server_is_stopped_before_the_connections_through_which_it_is_watched(tmp_path, caplog):
    class Lingering(HttpTransport):
        async def close(self) -> None:
            await asyncio.sleep(0.5)
            await super().close()

    async def work() -> None:
        server = FakeServer(tmp_path)
        endpoint = SGLangEndpoint(url=server.url, server=server.supervisor, transport=Lingering(None, None))
        await server.supervisor.start(endpoint)
        await endpoint.close()
        assert server.log.read_text() == "stopped in order\n"

    asyncio.run(work())
    assert not caplog.text


# With the real server


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    command = [str(PYTHON), str(ROOT / "server/sglang/tiny_model.py"), str(folder)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, check=True, env=environment | {"HF_HUB_OFFLINE": "1"}, timeout=120, capture_output=True)
    return folder


class Kept(SGLangEndpoint):
    """An endpoint that outlives the pools of the tests."""

    async def close(self) -> None:
        pass

    async def really_close(self) -> None:
        await super().close()


class Served:
    """An event loop of its own with a supervised server in it."""

    def __init__(self, model: Path, log: Path) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        section = GeneratorSection(
            engine="sglang",
            model_path=str(model),
            model="tiny",
            server_arguments=("--device", "cpu"),
            server_log=str(log),
            sglang_python=str(PYTHON),
        )
        self.supervisor, self.url = start_sglang(section)
        self.endpoint = Kept(url=self.url, model="tiny", server=self.supervisor)
        self.run(self.endpoint.identify())

    async def make_pool(self) -> Pool:
        pool = Pool([self.endpoint], slots=CapacityLimiter(64))
        await pool.model()
        return pool

    def run(self, coroutine, timeout: float = 180):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def close(self) -> None:
        self.run(self.endpoint.really_close())
        self._loop.call_soon_threadsafe(self._loop.stop)


@pytest.fixture(scope="session")
def sglang(tiny_model, tmp_path_factory):
    served = Served(tiny_model, tmp_path_factory.mktemp("log") / "sglang.log")
    yield served
    served.close()


@pytest.fixture
def pool(sglang):
    pool = sglang.run(sglang.make_pool())
    yield pool
    sglang.run(pool.close())


def processes(text: str) -> list[int]:
    """Every living process in the group of the server whose command line has ``text``."""
    groups, found = set(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            command = (folder / "cmdline").read_text()
            if "sglang.launch_server" in command and "launcher.py" not in command and text in command:
                groups.add(group)
            if state != "Z":
                found.append((int(folder.name), group))
    return [pid for pid, group in found if group in groups]


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]


@needs_sglang
def test_generations_of_one_prompt_differ(sglang, pool):
    answer = sglang.run(pool.generate(request(n=4, max_tokens=16), seed=3))
    assert len({completion.text for completion in answer.completions}) == 4
    assert all(0 < completion.completion_tokens <= 16 for completion in answer.completions)
    assert {completion.finish_reason for completion in answer.completions} <= {"stop", "length"}


@needs_sglang
def test_both_kinds_of_endpoint_know_the_model_by_the_same_name(sglang):
    async def ask(kind, model):
        endpoint = kind(url=sglang.url, model=model)
        try:
            return await endpoint.identify(), endpoint.context
        finally:
            await endpoint.close()

    for model in (None, "tiny"):
        sglangs, any_servers = (asyncio.run(ask(kind, model)) for kind in (SGLangEndpoint, OpenAIEndpoint))
        assert sglangs == any_servers == (("tiny", ""), 2048)
    for kind in (SGLangEndpoint, OpenAIEndpoint):
        with pytest.raises(EngineError, match=r"(?s)(?=.*'tiny')(?=.*'large')"):
            asyncio.run(ask(kind, "large"))


@needs_sglang
def test_new_weights_in_a_running_server_are_refused(sglang, monkeypatch):
    monkeypatch.setattr("streamdocs_server.engines.pool._LOOK_SECONDS", 0.1)

    def set_version(version: str) -> None:
        httpx.post(f"{sglang.url}/update_weight_version", json={"new_version": version}).raise_for_status()

    async def ask() -> None:
        pool = Pool([SGLangEndpoint(url=sglang.url)], slots=CapacityLimiter(8))
        assert await pool.model() == ("tiny", "")
        await asyncio.to_thread(set_version, "step-2")
        await asyncio.to_thread(wait_until, lambda: pool.members[0].refused)
        with pytest.raises(EngineError, match=r"serves 'tiny' version 'step-2', and this run began with 'tiny'"):
            await pool.generate(request(), 0)
        await pool.close()

    try:
        asyncio.run(ask())
    finally:
        set_version("default")


@needs_sglang
def test_load_progress_and_health(sglang, pool):
    async def look() -> tuple[Load, object, object]:
        busy = [asyncio.create_task(pool.generate(request(n=4, max_tokens=400), i)) for i in range(8)]
        most, marks = Load(0, 0, 0), []
        while not all(task.done() for task in busy):
            most = max(most, await sglang.endpoint.load())
            marks.append(await sglang.endpoint.progress())
            await asyncio.sleep(0.1)
        await asyncio.gather(*busy)
        return most, len(set(marks) - {None}), await sglang.endpoint.progress()

    assert sglang.run(sglang.endpoint.healthy())
    most, marks, after = sglang.run(look())
    assert most.running >= 8 and most.used_tokens > 0
    assert marks > 2 and after is None


@needs_sglang
@exhaustive
def test_a_killed_scheduler_costs_nothing_but_time(sglang, pool, small_corpus, store, monkeypatch):
    written: Counter[bytes] = Counter()
    answered: Counter[str] = Counter()
    run = make_run(small_corpus, Stitch(generations=2, max_tokens=24))
    add_all, generate = store.add_all, pool.generate

    def counting_add_all(entries):
        written.update(entries.get("texts", {}).keys())
        return add_all(entries)

    async def counting_generate(request, seed):
        answer = await generate(request, seed)
        answered[request.prompt] += 1
        return answer

    monkeypatch.setattr(store, "add_all", counting_add_all)
    monkeypatch.setattr(pool, "generate", counting_generate)
    before = sglang.supervisor.restarts

    async def work() -> None:
        working = asyncio.create_task(make_loop(run, store, engine=pool, max_in_flight=8).run())
        await asyncio.to_thread(wait_until, lambda: sum(answered.values()) >= 30)
        (scheduler,) = (pid for pid in processes(sglang.url.rpartition(":")[2]) if "scheduler" in name_of(pid))
        os.kill(scheduler, signal.SIGKILL)
        await working

    sglang.run(work())
    assert sglang.supervisor.restarts == before + 1
    with store.read() as snapshot:
        assert read_watermark(snapshot, run.stream().scope) == 100
    held = total(read_tallies(store, run.stream().scope).values())
    assert held.items == 100 and held.generations + sum(held.rejected.values()) == 200
    assert len(written) == 100 and set(written.values()) == {1}
    assert len(answered) == 100 and set(answered.values()) == {1}


@needs_sglang
@exhaustive
def test_no_orphan_of_a_killed_sidecar_and_the_next_one_goes_on(tiny_model, small_corpus, tmp_path):
    model = tmp_path / "tiny"
    shutil.copytree(tiny_model, model)  # a path of its own, by which its processes are found
    fields = {
        "corpus": str(small_corpus),
        "store": "store",
        "recipe": {"name": "stitch", "generations": 2, "max_tokens": 24},
        "generator": {"model": "tiny", "sglang_python": str(PYTHON)},
        "mix": {"max_seq_len": 64, "window": 32, "shuffle_seed": 17},
        "server": {"max_in_flight": 4, "gates": {"max_repeated_ngrams": 1, "min_ratio": None}},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(fields))
    command = [sys.executable, "-m", "streamdocs_server", str(tmp_path / "run.yaml"), f"--model={model}"]
    command += ["--sglang-arguments=--device cpu"]
    store = LmdbStore(tmp_path / "store")
    file = RunFile.load(tmp_path / "run.yaml")
    scope = Run.of(file, file.generator.generator(("tiny", ""))).stream().scope
    keys = [scope.keyring.key(scope.corpus.document_digest(document), 0) for document in range(100)]

    def stored() -> int:
        with store.read() as snapshot:
            return sum(snapshot.get("texts", key.digest) is not None for key in keys)

    def serve_until(documents: int, number: int) -> tuple[int, float]:
        """Exit status of a sidecar that gets the signal once so many documents are stored, and seconds to clear up."""
        with (tmp_path / "sidecar.log").open("w") as errors:
            sidecar = subprocess.Popen(command, stderr=errors)
        try:
            deadline = time.monotonic() + 120
            while stored() < documents:
                assert time.monotonic() < deadline and sidecar.poll() is None, (tmp_path / "sidecar.log").read_text()
                time.sleep(0.02)
            assert len(processes(str(model))) >= 3  # server, scheduler, detokenizer
            sidecar.send_signal(number)
            signalled = time.monotonic()
            status = sidecar.wait(timeout=30)
            while processes(str(model)):
                assert time.monotonic() < signalled + 30, processes(str(model))
                time.sleep(0.05)
            return status, time.monotonic() - signalled
        finally:
            sidecar.kill()
            sidecar.wait()

    status, seconds = serve_until(10, signal.SIGKILL)
    assert status == -signal.SIGKILL and seconds < 5 and 10 <= stored() < 100
    status, seconds = serve_until(stored() + 10, signal.SIGTERM)
    assert status == 0 and seconds < 25 and stored() < 100
    with pytest.raises(EngineError, match=r"(?s)(?=.*serves template)(?=.*generations of tiny)"):
        other = RunFile.load(tmp_path / "run.yaml").model_copy(update={"generator": GeneratorSection()})
        asyncio.run(cli.serve_run(other))
    assert Generator(model="tiny").fingerprint == scope.generator.fingerprint


@needs_sglang
def test_a_stopped_scheduler_is_noticed_and_nothing_is_lost(sglang, small_corpus, store, monkeypatch):
    """A server that somebody else runs: it accepts requests and answers none for a while."""
    monkeypatch.setattr("streamdocs_server.engines.sglang._HEALTH_SECONDS", 2.0)
    monkeypatch.setattr("streamdocs_server.engines.sglang._HANG_SECONDS", 5.0)
    run = make_run(small_corpus, Stitch(generations=2, max_tokens=24))

    async def work() -> Pool:
        slots = CapacityLimiter(8)
        pool = Pool([SGLangEndpoint(url=sglang.url, model="tiny")], slots=slots)
        await pool.model()
        loop = make_loop(run, store, engine=pool, slots=slots)
        working = asyncio.create_task(loop.run())
        await asyncio.to_thread(wait_until, lambda: loop.statistics.answers >= 20)
        (scheduler,) = (pid for pid in processes(sglang.url.rpartition(":")[2]) if "scheduler" in name_of(pid))
        os.kill(scheduler, signal.SIGSTOP)
        try:
            await asyncio.to_thread(wait_until, lambda: pool.retries["hang"], 60)
            assert not pool.members[0].up and not working.done()
        finally:
            os.kill(scheduler, signal.SIGCONT)
        await working
        await pool.close()
        return pool

    pool = asyncio.run(work())
    assert stored_keys(store) == expected_keys(run) and set(pool.retries) == {"hang"}


@contextlib.contextmanager
def behind_a_gateway(first: str, model: Path, folder: Path):
    """A second server, and a gateway in front of both: the gateway's URL and process, and the second one's."""
    with contextlib.ExitStack() as stack:
        section = GeneratorSection(
            model_path=str(model), model="tiny", server_arguments=("--device", "cpu"), sglang_python=str(PYTHON)
        )
        supervisor, second = start_sglang(section)
        server = stack.enter_context(running(supervisor._command, folder / "second.log", supervisor._environment))
        wait_until(lambda: answers(f"{second}/health"), 120)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [str(PYTHON), "-m", "sglang_router.launch_router", "--host=127.0.0.1", f"--port={port}"]
        command += ["--worker-urls", first, second, "--policy=round_robin", f"--prometheus-port={free_port()}"]
        gateway = stack.enter_context(running(command, folder / "gateway.log", supervisor._environment))
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{url}/health") and answers(f"{url}/v1/models"), 60)
        wait_until(lambda: httpx.get(f"{url}/readiness").json().get("healthy_workers") == 2, 60)
        yield url, gateway, server


@needs_sglang
@exhaustive
@pytest.mark.parametrize("kind", [OpenAIEndpoint, GatewayEndpoint])
def test_a_gateway_with_one_of_two_servers_killed(kind, sglang, tiny_model, small_corpus, store, tmp_path, monkeypatch):
    run = make_run(small_corpus, Stitch(generations=2, max_tokens=24))
    answered: Counter[str] = Counter()
    loads: list[Load] = []

    async def work(url: str, gateway: subprocess.Popen, victim: subprocess.Popen) -> None:
        slots = CapacityLimiter(8)
        pool = Pool([endpoint := kind(url=url, model="tiny")], slots=slots, failure_budget=3)
        assert await pool.model() == ("tiny", "")
        generate = pool.generate

        async def counting_generate(request, seed):
            answer = await generate(request, seed)
            answered[request.prompt] += 1
            loads.append(await endpoint.load())
            return answer

        monkeypatch.setattr(pool, "generate", counting_generate)
        loop = make_loop(run, store, engine=pool, slots=slots)
        working = asyncio.create_task(loop.run())
        await asyncio.to_thread(wait_until, lambda: loop.statistics.answers >= 20)
        os.killpg(victim.pid, signal.SIGKILL)
        await working
        assert loop.statistics.answers == 100
        gateway.kill()
        with pytest.raises(EngineError, match=rf"{url}: .*check that it runs"):
            await generate(request(), 0)
        await pool.close()

    with behind_a_gateway(sglang.url, tiny_model, tmp_path) as (url, gateway, victim):
        asyncio.run(work(url, gateway, victim))
    assert stored_keys(store) == expected_keys(run)
    assert len(answered) == 100 and set(answered.values()) == {1}
    told = [load.running for load in loads if load]
    assert max(told) > 1 if kind is GatewayEndpoint else not told


@needs_sglang
@exhaustive
def test_other_weights_at_one_of_two_servers_behind_a_gateway(sglang, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr("streamdocs_server.engines.pool._LOOK_SECONDS", 60.0)  # so that an answer is seen first

    async def ask(url: str) -> None:
        endpoint = GatewayEndpoint(url=url)
        pool = Pool([endpoint], slots=CapacityLimiter(8))
        assert await pool.model() == ("tiny", "") and endpoint.context == 2048
        assert await endpoint.count(request()) == await sglang_count()
        for seed in range(4):
            await pool.generate(request(), seed)
        await asyncio.to_thread(set_version, "step-2")
        with pytest.raises(EngineError, match=r"(?s)do not serve the same: (?=.*'default')(?=.*'step-2')"):
            await asyncio.gather(*(pool.generate(request(), seed) for seed in range(4, 8)))
        assert pool.retries["other weights"] >= 1
        await pool.close()

    def set_version(version: str) -> None:
        httpx.post(f"{sglang.url}/update_weight_version", json={"new_version": version}).raise_for_status()

    async def sglang_count() -> int:
        return await asyncio.to_thread(sglang.run, sglang.endpoint.count(request()))

    try:
        with behind_a_gateway(sglang.url, tiny_model, tmp_path) as (url, *_):
            asyncio.run(ask(url))
    finally:
        set_version("default")


def of_example(name: str, corpus: Path, store: Path, writers: dict) -> RunFile:
    """The run of an example, whose steps write little: the model has no sense, and the CPU is slow."""
    file = RunFile.load(Path(__file__).parents[3] / f"examples/recipes/{name}.yaml")
    styles = {
        replace(
            found,
            least=1,
            steps=tuple(
                replace(each, max_tokens=16, gates={"min_ratio": None, "cut_off": "keep"}) for each in found.steps
            ),
        ): weight
        for found, weight in (
            (style(each) if isinstance(each, str) else each, w) for each, w in file.recipe.programs.items()
        )
    }
    recipe, more = replace(file.recipe, styles=styles), {"corpus": str(corpus), "store": str(store)}
    gates = {"max_in_flight": 8, "max_lead": 10**6}
    server = file.server.model_copy(update={**gates})
    return RunFile(**more, recipe=recipe, writers=writers, mix=file.mix, server=server)


def check_steps(run, store) -> Counter:
    """Every slot is resolved, with the steps of its program behind it; those by style and writer."""
    scope, seen = run.stream().scope, Counter()
    for document in range(len(run.corpus.documents)):
        for round in range(scope.recipe.cycle):
            key = scope.key(document, round)
            with store.read() as snapshot:
                record = decode_text(key, snapshot.get("texts", key.digest))
                assert all(snapshot.get("texts", step) for steps in record.steps for step in steps)
            for number, text in enumerate(record.texts):
                task = scope.recipe.tasks_of_round(round)[number]
                assert not text or len(record.steps[number]) >= len(task.team.program.steps)
                seen[task.style, *task.team.writers] += text is not None
    return seen


@needs_sglang
@pytest.mark.parametrize(("name", "styles"), [("append", {"append"}), ("correct", {"correct"})])
def test_examples_of_programs(name, styles, sglang, few_documents, tmp_path):
    writers = {"tiny": {"engine": "sglang", "endpoint": sglang.url, "model": "tiny"}}
    file = of_example(name, few_documents, tmp_path / "store", writers)
    run, store = Run.of(file, file.who_writes()), LmdbStore(file.store)

    async def work() -> None:
        desk = make_desk(file)
        try:
            await make_loop(run, store, desk=desk, max_lead=10**6).run()
        finally:
            await desk.close()

    asyncio.run(work())
    seen = check_steps(run, store)
    assert {style for style, *_ in seen} == styles and seen.total() > 0.5 * 24 * run.stream().recipe.generations


@needs_sglang
def test_two_writers_at_once_of_which_one_is_killed(sglang, tiny_model, few_documents, tmp_path):
    writers = {
        "small": {"engine": "sglang", "endpoint": sglang.url, "model": "tiny"},
        "large": {
            "engine": "sglang",
            "model_path": str(tiny_model),
            "model": "large",
            "server_arguments": ("--device", "cpu"),
            "server_log": str(tmp_path / "large.log"),
            "sglang_python": str(PYTHON),
        },
    }
    file = of_example("styles", few_documents, tmp_path / "store", writers)
    run, store = Run.of(file, file.who_writes()), LmdbStore(file.store)
    told = {}

    async def work() -> None:
        desk = make_desk(file)
        small, large = desk["small"], desk["large"]
        await large.begin()  # so that both have much to write when it is killed
        loop = make_loop(run, store, desk=desk, max_lead=10**6)
        working = asyncio.create_task(loop.run())
        try:
            await asyncio.to_thread(wait_until, lambda: large.answers >= 3, 180)
            (member,) = large.pool.members
            began = small.answers
            for pid in processes(member.endpoint.url.rpartition(":")[2]):
                os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(wait_until, lambda: not large.up, 60)
            told["owed"] = large.owes
            await asyncio.to_thread(wait_until, lambda: small.answers >= began + 3 or large.up, 60)
            told["meanwhile"], told["down"] = small.answers - began, not large.up
            await working
        finally:
            working.cancel()
            await desk.close()

    asyncio.run(work())
    seen = check_steps(run, store)
    assert told["owed"] and told["down"] and told["meanwhile"] >= 3
    assert {writer for _, *names in seen for writer in names} == {"small", "large"}
    assert seen.total() > 0.5 * 24 * run.stream().recipe.generations


#: What each step gives, by a grammar that the server holds a model to: this one says anything.
GRAMMARS = {
    "concepts": r"<topic>(rivers|stones|birds|trees|towns)(\n- (water|salt|wood|north|wind|light|people)){5}</topic>",
    "question": r"<question>How do [a-z]{3,9} and [a-z]{3,9} go together with [a-z]{3,9}\?</question>",
    "answer": r"They ([a-z]{3,9} ){16,24}for that\.",
}


@needs_sglang
def test_questions_about_walks(sglang, few_documents, tmp_path):
    writers = {
        name: {"engine": "sglang", "endpoint": sglang.url, "model": "tiny", "extra_body": {"regex": grammar}}
        for name, grammar in GRAMMARS.items()
    }
    small = {"generations": 2, "max_share": 1, "editions": ("1/2", 1), "answer_tokens": 256}
    recipe = SynthLLM(level=3, **small, writers={name: name for name in writers})
    places = {"corpus": str(few_documents), "store": str(tmp_path / "store")}
    server = {"max_in_flight": 8, "max_lead": 10**6}
    file = RunFile(**places, recipe=recipe, writers=writers, server=server)
    run, store = Run.of(file, file.who_writes()), LmdbStore(file.store)

    async def work() -> GenerationLoop:
        desk = make_desk(file)
        try:
            loop = make_loop(run, store, desk=desk, max_lead=10**6)
            await loop.run()
        finally:
            await desk.close()
        return loop

    loop = asyncio.run(work())
    seen = check_steps(run, store)
    assert seen.total() > 0.5 * 24 * 2, loop.statistics.written.rejected
    assert {name for _, *names in seen for name in names} == {"question", "answer"}
    assert [each.documents for each in run.stream().scope.editions.sealed()] == [12, 24]


@pytest.fixture(scope="module")
def few_documents(tmp_path_factory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("few"), make_texts(24))


def expected_keys(run) -> set[bytes]:
    keyring, corpus = run.stream().scope.keyring, run.corpus
    return {keyring.key(corpus.document_digest(document), 0).digest for document in range(100)}


def stored_keys(store) -> set[bytes]:
    with store.read() as snapshot:
        return {bytes(key) for key, _ in snapshot.scan("texts", b"")}


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=30).is_success
    except httpx.RequestError:
        return False


@contextlib.contextmanager
def running(command, log: Path, environment):
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=dict(environment), start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
