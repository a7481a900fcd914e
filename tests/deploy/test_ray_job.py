"""Sidecars as actors of a real Ray cluster of one node."""

import asyncio
import contextlib
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from streamdocs import RunFile, StreamingMegadocDataset
from streamdocs.store import LmdbStore, Store
from streamdocs_server.cli import serve_run, without_lead

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "server/deploy/ray_job.py"
# A cluster takes the memory of several processes.
pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture
def run_file(small_corpus, tmp_path) -> Path:
    fields = {
        "corpus": str(small_corpus),
        "store": f"file://{tmp_path}/store",
        "recipe": {"name": "stitch", "generations": 4, "per_round": 1},
        "generator": {"engine": "template"},
        "mix": {"max_seq_len": 64, "window": 32, "shuffle_seed": 17},
        # What is a duplicate of another round depends on which of two sidecars is first.
        "server": {"max_in_flight": 4, "gates": {"max_repeated_ngrams": 1, "min_ratio": None, "distinct": False}},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


def texts(store: Store) -> dict[bytes, bytes]:
    with store.read() as snapshot:
        return {bytes(key): bytes(value) for key, value in snapshot.scan("texts", b"")}


def start(run_file: Path, *more: str) -> subprocess.Popen:
    """The script, with a cluster of its own."""
    command = [sys.executable, str(SCRIPT), str(run_file), "--gpus=0", "--cpus=0.5", *more]
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "PYTHONPATH": f"{ROOT}:{ROOT / 'server'}"}
    with run_file.with_name("ray.log").open("w") as output:
        return subprocess.Popen(command, env=os.environ | settings, cwd=run_file.parent, stdout=output, stderr=output)


def end(script: subprocess.Popen) -> None:
    """End it, and what is left of its cluster."""
    with contextlib.suppress(psutil.NoSuchProcess):
        tree = psutil.Process(script.pid)
        for each in [*tree.children(recursive=True), tree]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    script.wait()


def below(process: psutil.Process, text: str) -> list[psutil.Process]:
    """Its descendants whose command line has ``text``."""
    found = []
    for each in process.children(recursive=True):
        try:
            found += [each] if text in " ".join(each.cmdline()) else []
        except psutil.NoSuchProcess:
            continue
    return found


def wait_for(condition, script: subprocess.Popen, log: Path, seconds: float = 120):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline and script.poll() is None, log.read_text()[-4000:]
        time.sleep(0.1)
    return found


def test_a_store_is_filled_by_actors_of_which_one_is_killed(run_file, tmp_path):
    file = RunFile.load(run_file)
    asyncio.run(serve_run(without_lead(file.model_copy(update={"store": str(tmp_path / "plain")}))))
    expected = texts(LmdbStore(tmp_path / "plain"))
    assert len(expected) == 400
    log = tmp_path / "ray.log"
    store = file.open_store()
    script = start(run_file, "--sidecars=2", "--fill", "--tokens-per-second=700", f"--cache={tmp_path}/caches")
    tree = psutil.Process(script.pid)
    try:
        wait_for(lambda: len(below(tree, "-m streamdocs_server")) >= 4, script, log)  # with their launchers
        wait_for(lambda: len(texts(store)) >= 40, script, log)
        actor = below(tree, "ray::Sidecar")[0]
        orphans = actor.children(recursive=True)
        actor.send_signal(signal.SIGKILL)
        assert not psutil.wait_procs(orphans, timeout=15)[1]
        assert len(texts(store)) < 400
        wait_for(lambda: len(below(tree, "-m streamdocs_server")) >= 4, script, log)
        assert script.wait(timeout=200) == 0, log.read_text()[-4000:]
    finally:
        end(script)
    assert texts(store) == expected
    assert {path.name for path in (tmp_path / "caches").iterdir()} == {"0", "1"}
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=4, wait_timeout=5)
    assert len(dataset[0]["input_ids"]) == 64


def test_a_sidecar_that_cannot_work_is_given_up(run_file, tmp_path):
    script = start(run_file, "--sidecars=1", "--no-such-option")
    try:
        assert script.wait(timeout=200) == 1
    finally:
        end(script)
    told = (tmp_path / "ray.log").read_text()
    assert "sidecar 0 is given up" in told and "ended with 2, 1 times in a row" in told and "--no-such-option" in told


@pytest.mark.parametrize(
    ("statuses", "runs", "told"),
    [([1, 1, 0], 3, None), ([1] * 9, 5, "ended with 1, 5 times"), ([2, 0], 1, "with 2, 1 t")],
)
def test_what_fails_is_begun_again_five_times_in_a_row(statuses, runs, told, tmp_path):
    keep_up = runpy.run_path(str(SCRIPT))["keep_up"]
    (tmp_path / "statuses").write_text("".join(f"{status}\n" for status in statuses))
    ends = 'read -r status < statuses; sed -i 1d statuses; exit "$status"'
    command = ["bash", "-c", f'cd "{tmp_path}" && {ends}']
    if told is None:
        keep_up(command, pause=0)
    else:
        with pytest.raises(RuntimeError, match=told):
            keep_up(command, pause=0)
    assert len((tmp_path / "statuses").read_text().splitlines()) == len(statuses) - runs
