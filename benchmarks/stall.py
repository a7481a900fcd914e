"""A generator that is slower or faster than training: how long the trainer waits, what it reads again, how G grows.

    python benchmarks/stall.py [--json] [--seconds 6] [--speeds 0.05,0.25,1,4] [--steps 10,100,500] [--out FOLDER]

The server's own loop with the template engine, held to a share of what training reads of generations; a loader with one
worker, and a step that sleeps. Longer steps have larger batches, so that all read as many tokens a second: a window is
one second of training at every step time. What the first window reads is written before; time counts from the first
batch on, and figures are of what comes after the first window.

- ``wait_share``: share of the time in which the trainer waited for generations: as long as it waited for its loader,
  but no longer than the loader waited for them (``dataset.waited_seconds``), which reads ahead.
- ``blocked_share``: share of the time in which the trainer waited for the loader, by its own clock: also for what any
  loader takes to hand a batch over, and for whoever else uses the processor.
- ``reuse``: how often each generated token was read. ``synthetic_share``: of the sequences, less those that
  ``when_behind="web"`` filled. ``generations``: G by time.
"""

import argparse
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple

from generator import make_text_corpus, run_file, serve, write_first
from processes import Beside, in_fresh_process
from rich.console import Console
from rich.table import Table
from streaming import StreamingDataLoader

from streamdocs import StreamingMegadocDataset
from streamdocs.config import RunFile
from streamdocs.corpus.files import load_index

MODES = ("reuse", "wait", "web")
LENGTH, SEQUENCES_PER_SECOND = 64, 100
RECIPE = {"name": "rephrase", "generations": 8, "per_round": 1}
#: The template engine counts four characters as a token.
ENGINE_CHARACTERS = 4
DOCUMENTS, CHARACTERS = 64, 450
FIRST_DOCUMENTS = 48
SHORT_SECONDS = 0.05


class Case(NamedTuple):
    """Share of what training reads that is generated, milliseconds of a step, and ``when_behind``."""

    speed: float
    step_ms: int
    mode: str


class _OverError(Exception):
    """The time is up."""


def generation_rate(corpus: Path) -> float:
    """Tokens a second, as the engine counts them, of the generations that training reads."""
    split = load_index(corpus)["splits"]["train"]
    characters = split["text_bytes"] / split["tokens"]
    # Of nine units of a document eight are generations, which are some 0.7 times as long as the document itself.
    share = 8 * 0.7 / (8 * 0.7 + 1)
    return 0.75 * share * LENGTH * SEQUENCES_PER_SECOND * characters / ENGINE_CHARACTERS


def measure(case: Case, folder: Path, rate: float, seconds: float) -> dict[str, Any]:
    """One generator and one trainer over a store of their own."""
    store = folder / f"store-{case.speed}-{case.step_ms}-{case.mode}"
    shutil.copytree(folder / "store", store)
    file = case_file(folder / "corpus", store, case.mode)
    with Beside(serve, file, case.speed * rate):
        trained = in_fresh_process(partial(train, file, case.step_ms, seconds))
    shutil.rmtree(store)
    return {**case._asdict(), **trained}


def case_file(corpus: Path, store: Path, mode: str) -> RunFile:
    mix = {"synthetic_fraction": 0.75, "max_seq_len": LENGTH, "window": SEQUENCES_PER_SECOND}
    return run_file(corpus, store, RECIPE, when_behind=mode, **mix)


def train(file: RunFile, step_ms: int, seconds: float) -> dict[str, Any]:
    """Read and sleep for so many seconds after the first window; what was waited, and what was read."""
    batch_size = max(SEQUENCES_PER_SECOND * step_ms // 1000, 1)
    dataset = StreamingMegadocDataset(**file.dataset_arguments(), batch_size=batch_size, epoch_size=1 << 20)
    batches = iter(StreamingDataLoader(dataset, batch_size=batch_size, num_workers=1))
    for _ in islice(batches, SEQUENCES_PER_SECOND // batch_size):
        time.sleep(step_ms / 1000)
    signal.signal(signal.SIGALRM, _time_is_up)
    clock = Clock(dataset.waited_seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    with suppress(_OverError):
        while True:
            with clock.blocked():
                next(batches)
            clock.sequences += batch_size
            time.sleep(step_ms / 1000)
            if clock.sequences % SEQUENCES_PER_SECOND < batch_size:
                mixed = dataset.mixed_until(SEQUENCES_PER_SECOND + clock.sequences)
                clock.generations.append((time.perf_counter() - clock.started, mixed["generations_per_document"]))
    mixed = dataset.mixed_until(SEQUENCES_PER_SECOND + clock.sequences)
    waited = dataset.waited_seconds - clock.waited_before + clock.unfinished
    return {
        "wait_share": min(waited, clock.blocked_seconds) / seconds,
        "blocked_share": clock.blocked_seconds / seconds,
        "reuse": mixed["reuse"],
        "synthetic_share": mixed["synthetic_fraction"],
        "sequences_per_s": clock.sequences / seconds,
        "generations": clock.generations,
    }


def _time_is_up(*_: object) -> None:
    raise _OverError


class Clock:
    """What a trainer notes.

    Args:
        waited_before: Seconds that were waited for generations before it began.
    """

    def __init__(self, waited_before: float) -> None:
        self.waited_before = waited_before
        self.started = time.perf_counter()
        self.sequences = 0
        self.blocked_seconds = self.unfinished = 0.0
        self.generations: list[tuple[float, float]] = []

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Count this as time that the loader took."""
        asked = time.perf_counter()
        try:
            yield
        except _OverError:
            # The worker has not said yet how long it waits; what is short is not for generations.
            waiting = time.perf_counter() - asked
            self.unfinished = waiting if waiting > SHORT_SECONDS else 0.0
            raise
        finally:
            self.blocked_seconds += time.perf_counter() - asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--seconds", type=float, default=6, help="of each run, after its first window")
    parser.add_argument("--speeds", type=lambda text: list(map(float, text.split(","))), default=[0.05, 0.25, 1, 4])
    parser.add_argument("--steps", type=lambda text: list(map(int, text.split(","))), default=[10, 100, 500])
    parser.add_argument("--at-once", type=int, default=4, help="runs that share the machine")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of stall.json and .png")
    arguments = parser.parse_args()
    cases = [Case(*each) for each in product(arguments.speeds, arguments.steps, MODES)]
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(arguments.at_once) as pool:
        folder = Path(temporary)
        corpus = make_text_corpus(folder, DOCUMENTS, CHARACTERS)
        first = case_file(corpus, folder / "store", "reuse")
        in_fresh_process(partial(write_first, first, FIRST_DOCUMENTS))
        rate = generation_rate(corpus)
        rows = list(pool.map(lambda case: measure(case, folder, rate, arguments.seconds), cases))
    report(rows, arguments.out, arguments.json)


def report(rows: list[dict[str, Any]], out: Path, as_json: bool) -> None:
    """A table, files, and as one JSON object the most that ``reuse`` waited at each speed of the generator."""
    names = ("wait_share", "blocked_share", "reuse", "synthetic_share", "sequences_per_s")
    table = Table("generator", "step ms", "when_behind", *(name.replace("_", " ") for name in names), "last G")
    for row in rows:
        last = row["generations"][-1][1] if row["generations"] else float("nan")
        values = (f"{row[name]:.3f}" for name in names)
        table.add_row(f"{row['speed']:.0%}", str(row["step_ms"]), row["mode"], *values, f"{last:.2f}")
    Console(width=120).print(table)
    reused = [row for row in rows if row["mode"] == "reuse"]
    most = {name: {f"{row['speed']:g}": 0.0 for row in reused} for name in ("wait_share", "blocked_share")}
    for name, row in product(most, reused):
        speed = f"{row['speed']:g}"
        most[name][speed] = max(most[name][speed], row[name])
    result = {"reuse_wait_share": most["wait_share"], "reuse_blocked_share": most["blocked_share"], "rows": rows}
    out.mkdir(parents=True, exist_ok=True)
    (out / "stall.json").write_text(json.dumps(result, indent=1))
    plot(rows, out / "stall.png")
    if as_json:
        print(json.dumps(result))


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Waiting and re-use by speed of the generator, and G over time, at the longest step."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, (waiting, reuse, growth) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    step = max(row["step_ms"] for row in rows)
    for width, mode in zip((5, 3, 1), MODES, strict=True):  # lines that lie on each other are both seen
        shown = [row for row in rows if row["mode"] == mode and row["step_ms"] == step]
        speeds = [row["speed"] for row in shown]
        waiting.plot(speeds, [row["wait_share"] for row in shown], "o-", linewidth=width, label=mode)
        reuse.plot(speeds, [row["reuse"] for row in shown], "o-", linewidth=width, label=mode)
    for row in rows:
        if row["mode"] == "reuse" and row["step_ms"] == step and row["generations"]:
            growth.plot(*zip(*row["generations"], strict=True), label=f"{row['speed']:.0%}")
    for axes, title in ((waiting, "share of the time waited"), (reuse, "times each generated token was read")):
        axes.set(xscale="log", xlabel="generator, share of what training reads", title=title)
        axes.set_xticks(speeds, [f"{speed:.0%}" for speed in speeds])
        axes.legend(title="when_behind")
    growth.set(xlabel="seconds after the first window", title="generations a document, when_behind=reuse")
    growth.legend(title="generator")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
