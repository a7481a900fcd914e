"""The demo with a model that writes English, on a CPU, about real text: ``make demo-real``."""

import json
import logging
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from streamdocs._base.console import printable
from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.demo.report import report
from streamdocs.demo.run import RUN, Demo, DemoError, example, kill, prepare
from streamdocs.demo.sglang import free_port, sglang_python, status
from streamdocs.generations.progress import read_tallies, total

log = logging.getLogger(__name__)

BATCHES = 100
DEADLINE = 1800.0
MODEL = "models/smollm2-135m-instruct"
#: Short documents, and few: every one is rewritten within minutes.
_TEXTS = ["--documents=48", "--most=200", "--out-of-domain=1"]
_RECIPE = {"name": "stitch", "generations": 2, "per_round": 1, "max_tokens": 160}
#: With top_p a token costs half as much again: all logits are sorted.
_SAMPLING = {"temperature": 0.5, "top_p": 1.0}
#: Training begins with so many rewritten documents, and waits where those that exist were read so often.
_AT_FIRST, _MAX_REUSE = 16, 4
_PAGES = 5
_EXCERPT = 400


def run_real_demo(out: Path) -> dict[str, Any]:
    """Run it in ``out``; what ``summary.json`` says.

    Raises:
        DemoError: Something did not work; nothing is left running.
    """
    started = time.monotonic()
    model, python, port = Path(MODEL).absolute(), sglang_python(), free_port()
    if not (model / "config.json").is_file():
        raise DemoError(f"no model in {model}: `make real-model` puts it there")
    generator = {
        "engine": "sglang",
        "model": model.name,
        "model_path": str(model),
        "sglang_python": str(python),
        "server_arguments": ["--device", "cpu", "--max-total-tokens", "40000"],
        **_SAMPLING,
    }
    mix = {**RUN["mix"], "synthetic_fraction": 0.5, "max_reuse": _MAX_REUSE}
    run = {**RUN, "preset": "small", "recipe": _RECIPE, "generator": generator, "mix": mix}
    run["server"] = {"monitor_port": port, "max_in_flight": 32, "attempts": 1, "drain": 20.0}
    demo = prepare(out, run, started + DEADLINE, BATCHES, real_texts)
    log.info("%s on a CPU begins to write; training begins with %d documents", model.name, _AT_FIRST)
    with demo.server() as server:
        begun = _wait_for(demo, server, port, "in_flight", 1)
        _wait_for(demo, server, port, "watermark", _AT_FIRST)
        log.info("training %d batches; both processes are killed half-way", BATCHES)
        with demo.trainer() as trainer:
            demo.wait_for_batch(BATCHES // 2 + 13, trainer)
            told, seconds = status(port), time.monotonic() - begun
            kill(trainer, server)
    log.info("killed server and trainer (SIGKILL); starting both again")
    with demo.server(), demo.trainer() as trainer:
        demo.wait_for_end(trainer)
    summary = report(demo.out, time.monotonic() - started)
    summary["writing"] = _writing(demo.out, told, seconds)
    (demo.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    _show(summary["writing"], demo.out)
    return summary


def real_texts(out: Path) -> list[str]:
    """Documents that the example makes of Debian's packages, in a folder within ``out``."""
    folder = out / "real-text"
    command = [sys.executable, example("corpora/make_corpus.py"), str(folder), *_TEXTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise DemoError(f"no real text could be had: {done.stderr.strip()[-1000:]}")
    return [json.loads(line)["text"] for line in (folder / "documents.jsonl").read_text().splitlines()]


def _wait_for(demo: Demo, server: "subprocess.Popen[bytes]", port: int, what: str, least: int) -> float:
    """Wait until the server's status has so much of something; when that was, as monotonic seconds."""
    while status(port).get(what, 0) < least:
        if server.poll() is not None or time.monotonic() > demo.deadline:
            raise DemoError(f"the server did not get as far as {least} {what}: see server.log in {demo.out}")
        time.sleep(0.2)
    return time.monotonic()


def _writing(out: Path, told: dict[str, Any], seconds: float) -> dict[str, Any]:
    """How fast the model was until the kill, and of all generations the shares that gates accepted and rejected."""
    dataset = StreamingMegadocDataset.from_run_file(out / "run.yaml", batch_size=1)
    assert dataset.store is not None
    tally = total(read_tallies(dataset.store, dataset.run.synthetic[0].scope).values())
    outcomes = Counter({"accepted": tally.generations}) + tally.rejected
    return {
        "seconds": seconds,
        "tokens_read_per_second": (told["prompt_tokens"] - told["cached_prompt_tokens"]) / seconds,
        "tokens_written_per_second": told["completion_tokens"] / seconds,
        "generations": outcomes.total(),
        "shares": {name: count / outcomes.total() for name, count in outcomes.most_common()},
    }


def _show(writing: dict[str, Any], out: Path) -> None:
    """A table of it, and five pages beside their documents; ``pages.md`` has them whole."""
    console = Console()
    table = Table("", "", show_header=False, title="what the model wrote")
    for name, value in {**writing, **writing["shares"]}.items():
        if isinstance(value, int | float):
            is_share = name in writing["shares"]
            shown = f"{value:.0%}" if is_share else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
            table.add_row(name.replace("_", " "), shown)
    console.print(table)
    command = [str(Path(sys.executable).with_name("streamdocs")), "generations", str(out / "run.yaml"), "--accepted"]
    done = subprocess.run(
        [*command, "--json", f"--limit={_PAGES}"], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise DemoError(f"`{' '.join(command)}` failed: {done.stderr.strip()[-500:]}")
    pages = []
    for each in map(json.loads, done.stdout.splitlines()):
        title = f"document {each['document']}, round {each['round']}"
        pages.append(f"# {title}\n\n## Source\n\n{each['source']}\n\n## Written\n\n{each['text']}\n")
        for kind in ("source", "text"):
            excerpt = " ".join(each[kind].split())[:_EXCERPT]
            console.print(f"\n[{title}, {kind}] {printable(excerpt)} …", highlight=False, markup=False)
    (out / "pages.md").write_text("\n".join(pages))
    console.print(f"\nwhole pages: {out / 'pages.md'}; more: {' '.join(command)}", highlight=False, soft_wrap=True)
