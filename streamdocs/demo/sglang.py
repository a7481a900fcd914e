"""The demo with a real SGLang server, on a CPU and with a tiny model of random weights, whose scheduler is killed."""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from streamdocs.demo.report import report
from streamdocs.demo.run import BATCHES, MEGADOCS, RUN, Demo, DemoError, kill, prepare
from streamdocs.store import open_store

log = logging.getLogger(__name__)

DEADLINE = 900.0
#: Noise is what a model of random weights writes, so that nothing is asked of its form.
_OPEN_GATES = {
    "cut_off": "keep",
    "min_ratio": None,
    "max_ratio": None,
    "max_repeated_lines": 1.0,
    "max_repeated_ngrams": 1.0,
}


def run_sglang_demo(out: Path) -> dict[str, Any]:
    """Run it in ``out``; what ``summary.json`` says.

    Raises:
        DemoError: Something did not work, or something was lost or asked for twice; nothing is left running.
    """
    started = time.monotonic()
    python, port = sglang_python(), free_port()
    generator = {
        "engine": "sglang",
        "model": "tiny",
        "model_path": "tiny",
        "sglang_python": str(python),
        "server_arguments": ["--device", "cpu"],
    }
    limits = {"gates": _OPEN_GATES, "attempts": 1, "monitor_port": port, "drain": 20.0}
    mixed = {"recipe": {**MEGADOCS, "max_tokens": 64}, "mix": {**RUN["mix"], "synthetic_fraction": 0.75}}
    demo = prepare(out, {**RUN, **mixed, "generator": generator, "server": limits}, started + DEADLINE)
    maker = Path(__file__).parents[2] / "server/sglang/tiny_model.py"
    subprocess.run([str(python), str(maker), str(demo.out / "tiny")], check=True, timeout=300, capture_output=True)

    log.info("training %d batches; after a quarter of them trainer, sidecar and SGLang are killed", BATCHES)
    with demo.server() as server, demo.trainer() as trainer:
        demo.wait_for_batch(BATCHES // 4 + 13, trainer)
        kill(trainer, server)
    stored = _stored_documents(demo)
    log.info("killed (SIGKILL); starting all again, and killing SGLang's scheduler half-way")
    with demo.server() as server, demo.trainer() as trainer:
        demo.wait_for_batch(BATCHES // 2 + 13, trainer)
        outage = _kill_scheduler(demo, port, trainer)
        log.info("the scheduler was killed (SIGKILL); SGLang answered again after %.0f s", outage[1] - outage[0])
        demo.wait_for_end(trainer)
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)
    told = json.loads((demo.out / "server.log").read_text().splitlines()[-1])
    return _check(demo, told, _stored_documents(demo) - stored, outage, time.monotonic() - started)


def sglang_python() -> Path:
    """The Python with SGLang that a checkout makes."""
    python = Path(".venv-sglang/bin/python").absolute()
    if not python.is_file():
        raise DemoError(f"no SGLang at {python}: `make sglang` puts it there")
    return python


def free_port() -> int:
    """A port of the loopback that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _kill_scheduler(demo: Demo, port: int, trainer: "subprocess.Popen[bytes]") -> tuple[float, float]:
    """SIGKILL the scheduler once it has work; when that was, and when SGLang answered again (wall clock)."""
    while not status(port).get("in_flight"):
        demo.check(trainer)
        time.sleep(0.02)
    answered = status(port)["requests_answered"]
    os.kill(_scheduler_of(demo.out / "tiny"), signal.SIGKILL)
    killed = time.time()
    retries = 0
    while not retries or status(port)["requests_answered"] <= answered:
        demo.check(trainer)
        time.sleep(0.05)
        told = status(port)
        if not retries and told.get("retries"):
            retries, answered = sum(told["retries"].values()), told["requests_answered"]
    return killed, time.time()


def status(port: int) -> dict[str, Any]:
    """What the sidecar says of itself; nothing while it is not there."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection), contextlib.suppress(OSError, HTTPException):  # the sidecar is not there yet
        connection.request("GET", "/status")
        return json.load(connection.getresponse())
    return {}


def _scheduler_of(model: Path) -> int:
    """Process id of the scheduler in the process group that serves a model."""
    commands = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            commands[int(folder.name)] = (folder / "cmdline").read_text()
    servers = [pid for pid, command in commands.items() if "sglang.launch_server" in command and str(model) in command]
    groups = {os.getpgid(pid) for pid in servers if "launcher.py" not in commands[pid]}
    for pid, command in commands.items():
        with contextlib.suppress(ProcessLookupError):
            if "scheduler" in command.split("\0")[0] and os.getpgid(pid) in groups:
                return pid
    raise DemoError(f"no scheduler of SGLang serves {model}")


def _stored_documents(demo: Demo) -> int:
    """Documents x rounds that the store has."""
    store = open_store(str(demo.out / "store"))
    # LMDB shows the last commit of a writer that was killed right after it only once somebody writes again.
    store.update(b"demo", lambda _: b"")
    with store.read() as snapshot:
        return sum(1 for _ in snapshot.scan("texts", b""))


def _check(
    demo: Demo, told: dict[str, Any], stored: int, outage: tuple[float, float], seconds: float
) -> dict[str, Any]:
    """The report, and what the killed scheduler did to it."""
    summary = report(demo.out, seconds)
    lines = [json.loads(line) for line in (demo.out / "batches.jsonl").read_text().splitlines()]
    times = [line["time"] for line in lines if outage[0] <= line["time"] <= outage[1]]
    summary |= {
        "outage_seconds": round(outage[1] - outage[0], 1),
        "batches_during_outage": len(times),
        "requests_sent_again": sum(told["retries"].values()),
        "lost": told["documents_written"] - stored,
        "asked_twice": told["requests_answered"] - told["documents_written"],
    }
    (demo.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    log.info("%s", ", ".join(f"{name} {summary[name]}" for name in list(summary)[-5:]))
    if summary["lost"] or summary["asked_twice"] or not summary["batches_during_outage"]:
        raise DemoError(f"the killed scheduler shows: see summary.json in {demo.out}")
    return summary
