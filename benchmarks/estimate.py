"""What `streamdocs check` says of the demo's run, against what the run then is.

    python benchmarks/estimate.py [--json] [--speed 30] [--tokens-per-second 8000] [--out FOLDER]

A corpus and a run file as those of the demo, web text, megadocs, and problems about walks; the template engine, held to
a rate. First the check, which measures the engine for ``--speed`` seconds; then the run itself over an empty store: the
server, until all rounds are done, and beside it a loop that reads an epoch, as fast as the check was told.

- ``tokens``: of all generations, as the corpus counts them. ``completion_tokens``: as the engine does.
- ``bytes``: of the store, with its pages. ``hours``: from the first generation in the store to the last.
- ``reads``: how often what exists was read in all, by stream. ``wait_seconds``: that reading waited.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from streaming import StreamingDataLoader

from streamdocs import RunFile, StreamingMegadocDataset
from streamdocs.checks.check import check
from streamdocs.checks.estimate import Estimate, Pace
from streamdocs.demo.run import RUN, STREAMS, TOKENS_PER_SECOND, prepare
from streamdocs.generations.progress import read_tallies, total

BATCH = 8
DEADLINE = 1200.0


def make(folder: Path, rate: float) -> Path:
    """The demo's corpus and run file; the server may write all there is without waiting for the trainer."""
    generator = {"engine": "template", "model": "template", "revision": "1", "tokens_per_second": rate}
    run = {**RUN, "generator": generator, "streams": STREAMS, "server": {"max_lead": 1 << 20}}
    return prepare(folder, run, time.monotonic() + DEADLINE).out / "run.yaml"


def serve(run_file: Path, log: Path) -> dict[str, Any]:
    """Write until all rounds are done; what the server says at its end."""
    command = [sys.executable, "-m", "streamdocs_server", str(run_file)]
    with log.open("w") as stderr:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=DEADLINE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def read(run_file: Path, tokens_per_second: float, sequences: int) -> tuple[StreamingMegadocDataset, float]:
    """Read so many sequences, no faster than told; the dataset, and the seconds that it waited for generations."""
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=BATCH)
    seconds = BATCH * dataset.run.mixture.max_seq_len / tokens_per_second
    due = None
    batches = StreamingDataLoader(dataset, batch_size=BATCH, num_workers=0)
    for _ in islice(batches, math.ceil(sequences / BATCH)):
        now = time.monotonic()
        due = max(now, due or now) + seconds
        time.sleep(max(due - time.monotonic(), 0))
    return dataset, dataset.waited_seconds


def real(run_file: Path, tokens_per_second: float, sequences: int, folder: Path) -> dict[str, Any]:
    """The run: what was written, and what was read of it."""
    said: dict[str, Any] = {}
    spans: list[float] = []

    def work() -> None:
        said.update(serve(run_file, folder / "server.log"))
        spans.append(time.monotonic())

    server = threading.Thread(target=work)
    server.start()
    store = RunFile.load(run_file).open_store()
    while not store.exists or not _begun(store):
        time.sleep(0.02)
    begun = time.monotonic()
    dataset, waited = read(run_file, tokens_per_second, sequences)
    server.join(DEADLINE)
    scopes = dataset.run.scopes
    mixed = dataset.mixed_until(sequences)
    return {
        "tokens": sum(total(read_tallies(store, scope).values()).tokens for scope in scopes),
        "completion_tokens": said["completion_tokens"],
        "bytes": store.size(),
        "hours": (spans[0] - begun) / 3600,
        "wait_seconds": waited,
        **{f"reads {stream.name}": mixed[f"{stream.name}/reuse"] for stream in dataset.run.synthetic},
    }


def _begun(store: Any) -> bool:
    with store.read() as snapshot:
        return next(snapshot.scan("texts", b""), None) is not None


def said(found: Estimate) -> dict[str, Any]:
    """The same of the estimate."""
    return {
        "tokens": found.tokens,
        "completion_tokens": found.completion_tokens,
        "bytes": found.bytes,
        "hours": found.hours,
        "wait_seconds": (found.wait_hours or 0) * 3600,
        **{f"reads {name}": each.reads for name, each in found.streams.items() if each.reads},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--speed", type=float, default=30, help="seconds for which the check measures the engine")
    parser.add_argument("--tokens-per-second", type=float, default=TOKENS_PER_SECOND, help="of the engine")
    parser.add_argument("--read", type=float, default=5_000, help="tokens a second that training reads")
    parser.add_argument("--out", type=Path, help="folder to work in; default a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or Path(temporary) / "run"
        run_file = make(folder, arguments.tokens_per_second)
        checked = check(run_file, Pace(train_tokens_per_second=arguments.read), seconds=arguments.speed)
        assert checked.estimate, checked.findings
        expected = said(checked.estimate)
        found = real(run_file, arguments.read, checked.estimate.sequences, folder)
    table = Table("", "estimate", "run", "off by")
    off = {}
    for name, value in found.items():
        if name == "wait_seconds":
            table.add_row(name, f"{expected[name]:.2f}", f"{value:.2f}", "")
            continue
        off[name] = expected[name] / value - 1
        table.add_row(name, f"{expected[name]:,.4g}", f"{value:,.4g}", f"{off[name]:+.1%}")
    Console(width=100).print(table)
    if arguments.json:
        measured = checked.probe.tokens_per_second
        print(json.dumps({"off": off, "estimate": expected, "run": found, "tokens_per_second": measured}))


if __name__ == "__main__":
    main()
