"""What watches sidecars: rules and dashboard, by the tools that read them, over the metrics of a real loop."""

import asyncio
import json
import re
import runpy
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import yaml
from anyio import CapacityLimiter
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.parser import text_string_to_metric_families

from conftest import OPEN_GATES, make_dataset, make_loop, make_run
from servers import FaultyServer, free_port, wait_until
from streamdocs import Correct
from streamdocs.generations.diversity import FEWEST, LIMITS
from streamdocs.store import open_store
from streamdocs_server.engines.openai import OpenAIEndpoint
from streamdocs_server.engines.pool import Pool
from streamdocs_server.telling.monitor import Monitor

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "server/deploy/monitoring"
EXTRACTED = ROOT / ".venv-prometheus/usr/bin"
PROMETHEUS, PROMTOOL = (shutil.which(name, path=f"{EXTRACTED}:/usr/bin") for name in ("prometheus", "promtool"))
needs_prometheus = pytest.mark.skipif(
    not (PROMETHEUS and PROMTOOL),
    reason=f"no Prometheus in {EXTRACTED}: `make test` puts it there on Debian and Ubuntu",
)
NAMES = re.compile(r"streamdocs_[a-z0-9_]+")


def promtool(*arguments: str) -> str:
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read_dashboard() -> dict:
    return json.loads((FOLDER / "dashboard.json").read_text())


def expressions() -> dict[str, str]:
    """Of each panel by its title and query."""
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in read_dashboard()["panels"]
        for target in panel.get("targets", ())
    }


def rules() -> dict[str, dict]:
    (group,) = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


@pytest.fixture(scope="module")
def monitor(small_corpus, tmp_path_factory):
    """That of a loop that wrote with a failing server for a trainer on another node, and rejected some texts."""
    folder = tmp_path_factory.mktemp("watched")
    where = {"store": f"file://{folder}/shared", "cache": folder / "cache"}
    store, recipe = open_store(where["store"], cache=where["cache"]), Correct(generations=2)
    run = make_run(small_corpus, recipe)

    async def work():
        slots = CapacityLimiter(16)
        server = FaultyServer(httpx.Response(500))
        pool = Pool([OpenAIEndpoint(url="http://there", transport=server)], slots=slots, failure_budget=10_000)
        pool._sleep = lambda _: asyncio.sleep(0)
        loop = make_loop(run, store, engine=pool, slots=slots, gates=replace(OPEN_GATES, max_ratio=12.0))
        await pool.model()
        await loop.run()
        await pool.close()
        return loop

    loop = asyncio.run(work())
    make_dataset(small_corpus, **where, recipe=recipe)[0]
    for lane in loop.lanes:
        lane.look()
    monitor = Monitor(loop, 0)
    monitor.start()
    yield monitor
    monitor.close()


def test_what_is_named_is_told(monitor):
    told = httpx.get(f"{monitor.url}/metrics").text
    samples = {sample.name for family in text_string_to_metric_families(told) for sample in family.samples}
    shown = {name for each in expressions().values() for name in NAMES.findall(each)}
    watched = {name for rule in rules().values() for name in NAMES.findall(rule["expr"])}
    assert shown | watched <= samples
    # And the other way: all that is told is shown, but for the parts of what is.
    parts = {"streamdocs_request_seconds_count", "streamdocs_request_seconds_sum", "streamdocs_lead"}
    parts |= {"streamdocs_rounds_done", "streamdocs_writer_answers"}
    parts |= {f"streamdocs_corrections_{name}_total" for name in ("texts", "unchanged", "added")}
    parts |= {f"streamdocs_diversity_{name}" for name in ("length_spread", "length_p10", "length_p50", "length_p90")}
    unseen = {name for name in samples - shown - watched - parts if not name.endswith("_created")}
    assert unseen == set()


def test_the_dashboard_is_made_from_its_program_and_is_grafanas():
    made = runpy.run_path(str(FOLDER / "dashboard.py"))["dashboard"]()
    assert made + "\n" == (FOLDER / "dashboard.json").read_text(), "python dashboard.py > dashboard.json"
    read = Dashboard.from_json(read_dashboard())
    assert JSONEncoder(sort_keys=True, indent=1).encode(read) == made  # no field that Grafana does not know
    assert len({panel["id"] for panel in read_dashboard()["panels"]}) == len(read_dashboard()["panels"])


def test_a_style_has_collapsed_where_the_server_says_so():
    expression = rules()["StreamdocsStyleCollapsed"]["expr"]
    found = dict(re.findall(r"diversity_(\w+) (?:>=|<) ([\d.]+)", expression))
    measured = {"repeated": "repeated", "copied": "copied", "openings": "alike", "phrases": "distinct"}
    assert {name: float(found[measure]) for name, measure in measured.items()} == LIMITS
    assert int(found["texts"]) == FEWEST


def test_the_page_tells_of_every_alert():
    rows = re.findall(r"^\| `(Streamdocs\w+)` \|", (ROOT / "docs/monitoring.md").read_text(), re.MULTILINE)
    assert rows == [*rules()]


@needs_prometheus
def test_prometheus_takes_the_rules():
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(FOLDER / "alerts.yaml"))
    promtool("check", "config", str(FOLDER / "prometheus.yaml"))
    promtool("test", "rules", str(Path(__file__).with_name("alerts.yaml")))
    tried = (Path(__file__).with_name("alerts.yaml")).read_text()
    assert all(f'alertname="{name}"' in tried for name in rules())


@needs_prometheus
def test_every_panel_has_something_to_show(monitor, tmp_path):
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "500ms"}
    config["rule_files"] = [str(FOLDER / "alerts.yaml")]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [monitor.url.removeprefix("http://")]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    url = f"http://127.0.0.1:{port}/api/v1"
    command = [PROMETHEUS, f"--config.file={tmp_path}/prometheus.yaml", f"--storage.tsdb.path={tmp_path}/data"]
    with (tmp_path / "log").open("w") as log:
        command.append(f"--web.listen-address=127.0.0.1:{port}")
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)

    def query(expression: str) -> list[dict]:
        try:
            answer = httpx.get(f"{url}/query", params={"query": expression}, timeout=5).json()
        except httpx.RequestError:
            return []
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    def asked(expression: str) -> str:
        for variable, value in {"$job": ".*", "$instance": ".*", "$__rate_interval": "1m"}.items():
            expression = expression.replace(variable, value)
        return expression

    try:
        twice = 'count_over_time(up{job="streamdocs"}[1m]) > 2 and up == 1'
        wait_until(lambda: query(twice), 60)
        empty = [title for title, each in expressions().items() if not query(asked(each))]
        assert empty == []
    finally:
        process.terminate()
        process.wait(30)
