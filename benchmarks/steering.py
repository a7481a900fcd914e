"""Does steering help, what does it cost, and does it still replay?

    python benchmarks/steering.py [--json] [--seeds 3] [--windows 48] [--kills 50] [--plot docs/steering.png]

The run is that of student.py: half web text, and two synthetic streams that begin with a quarter each, one of them of
shuffled words. Controllers have their defaults; each seed is another order of documents and other weights.

- ``useless_share_last``: of the synthetic half, in the last quarter of the windows; median of the seeds, with ucb.
- ``heldout_ratio``: loss of what is held out at the end, with ucb over with fixed shares; median of the seeds.
- ``moved_by``: the window from which on the useless stream had less than a third of the synthetic half, on average
  since the beginning; the latest seed's.
- ``loader_ratio``: tokens a second of the loader without workers, with a controller over without, in turns;
  sequences of 2,048 tokens, four streams, every window with its report.
- ``report_share``: seconds of ``dataset.report`` a step over 100 ms; 8 sequences of 2,048 tokens, losses of tokens.
- ``loader_cpu_ratio``, ``report_cpu_share``: the same in processor time, the better witness on a shared machine.
- ``wrong``: batches that were not as they replay, and decisions that changed, over the kills: see steered_kills.py.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import steered_kills
import student
import torch
from data import fill_store, make_corpus, make_dataset, store_folder
from processes import in_fresh_process
from rich.console import Console
from rich.table import Table
from streaming import StreamingDataLoader

from streamdocs.steering.reports import BINS, Reports
from streamdocs.store import LmdbStore

CONTROLLERS = ("fixed", "ucb", "exp3", "ado")
STEP_SECONDS, LENGTH, BATCH, WINDOW, GENERATIONS = 0.1, 2048, 8, 2048, 4
#: What the mean share of the useless stream has to be below; and windows of a running mean in the plot.
MOVED, RUNNING = 1 / 3, 8

Runs = dict[str, list[student.Trained]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--windows", type=int, default=48)
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, of a core each")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--turns", type=int, default=8, help="of the loader, with a controller and without")
    parser.add_argument("--controllers", default=",".join(CONTROLLERS), help="fixed and ucb at least")
    parser.add_argument("--plot", type=Path, help="file for a plot")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        controllers, how = arguments.controllers.split(","), (arguments.seeds, arguments.windows, arguments.jobs)
        runs = train_all(folder / "run", controllers, *how)
        found = figures(runs, "ucb")
        found |= in_fresh_process(partial(loader_speed, folder / "loader", arguments.turns))
        found |= in_fresh_process(partial(report_cost, folder / "loader"))
        killed = steered_kills.kill_often(folder / "run", arguments.kills)
    found |= {"wrong": killed.wrong + killed.changed, "killed": killed._asdict()}
    report(runs, found)
    if arguments.plot:
        plot(runs, arguments.plot)
    if arguments.json:
        print(json.dumps(found))


def train_all(folder: Path, controllers: list[str], seeds: int, windows: int, jobs: int) -> Runs:
    """Every controller with every seed, each in a process of its own, some at a time."""
    in_fresh_process(partial(student.prepare, folder, seeds))
    with ThreadPoolExecutor(jobs) as pool:
        started = {
            (name, seed): pool.submit(in_fresh_process, partial(student.train, folder, name, seed, windows))
            for seed in range(seeds)
            for name in controllers
        }
        return {name: [started[name, seed].result() for seed in range(seeds)] for name in controllers}


def figures(runs: Runs, name: str) -> dict[str, Any]:
    """What the runs of a controller say beside those of fixed shares."""
    fixed, steered = runs["fixed"], runs[name]
    return {
        "useless_share_last": statistics.median(last_share(each) for each in steered),
        "heldout_ratio": statistics.median(
            each.held_out[-1] / other.held_out[-1] for each, other in zip(steered, fixed, strict=True)
        ),
        "moved_by": max(moved_by(each) for each in steered),
    }


def last_share(trained: student.Trained) -> float:
    """Of the useless stream in the last quarter of the windows."""
    return statistics.mean(trained.useless[-(len(trained.useless) // 4) :])


def moved_by(trained: student.Trained) -> int:
    """The window from which on the mean of its share since the beginning is low; the number of windows for never."""
    so_far = np.cumsum(trained.useless) / (np.arange(len(trained.useless)) + 1)
    high = np.flatnonzero(so_far >= MOVED)
    return int(high[-1]) + 1 if len(high) else 0


def loader_speed(folder: Path, turns: int) -> dict[str, float]:
    """Tokens a second with a controller over without, the median of turns of a window each."""
    make_corpus(folder, 2000, 900)
    store = LmdbStore(store_folder(folder, "four", GENERATIONS))
    fill_store(make_dataset(folder, "four", GENERATIONS, LENGTH).run, store, 700)
    batches = {name: batches_of(folder, name, turns + 2) for name in ("fixed", "ucb")}
    for each in batches.values():
        read_window(each)
    ratios: dict[str, list[float]] = {"wall": [], "cpu": []}
    for turn in range(turns):
        order = ("fixed", "ucb") if turn % 2 else ("ucb", "fixed")
        taken = {name: read_window(batches[name]) for name in order}
        for at, kind in enumerate(ratios):
            ratios[kind].append(taken["fixed"][at] / taken["ucb"][at])
    return {
        "loader_ratio": statistics.median(ratios["wall"]),
        "loader_cpu_ratio": statistics.median(ratios["cpu"]),
    }


def batches_of(folder: Path, controller: str, windows: int) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of a fresh run without end; its first windows have their reports already."""
    dataset = make_dataset(folder, "four", GENERATIONS, LENGTH, batch_size=BATCH, window=WINDOW, controller=controller)
    assert dataset.store is not None
    reports = Reports(dataset.store, dataset.run.id, WINDOW, LENGTH)
    rng = np.random.default_rng(0)
    for window in range(windows):
        losses = rng.uniform(2, 4, (WINDOW, BINS)).astype(np.float32)
        reports.add(0, window, np.arange(WINDOW), losses)
    return chain.from_iterable(repeat(StreamingDataLoader(dataset, batch_size=BATCH)))


def read_window(batches: Iterator[Any]) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    started, cpu = time.perf_counter(), time.process_time()
    for _, _batch in zip(range(WINDOW // BATCH), batches, strict=False):
        pass
    return time.perf_counter() - started, time.process_time() - cpu


def report_cost(folder: Path) -> dict[str, float]:
    """Seconds of a report, on average over two windows with all that is written to the store, over those of a step."""
    torch.set_num_threads(1)
    dataset = make_dataset(folder, "four", GENERATIONS, LENGTH, batch_size=BATCH, window=WINDOW, controller="ucb")
    losses, seconds, cpu, steps = torch.rand(BATCH, LENGTH - 1) + 2, 0.0, 0.0, 2 * WINDOW // BATCH
    batches = chain.from_iterable(repeat(StreamingDataLoader(dataset, batch_size=BATCH)))
    for _, batch in zip(range(steps), batches, strict=False):
        started, begun = time.perf_counter(), time.process_time()
        dataset.report(batch, losses)
        seconds, cpu = seconds + time.perf_counter() - started, cpu + time.process_time() - begun
    return {"report_share": seconds / steps / STEP_SECONDS, "report_cpu_share": cpu / steps / STEP_SECONDS}


def report(runs: Runs, found: dict[str, Any]) -> None:
    """The runs as a table, and all figures."""
    table = Table("controller", "seed", "held-out loss", "over fixed", "useless, last quarter", "moved by window")
    for name, trained in runs.items():
        for seed, (each, fixed) in enumerate(zip(trained, runs["fixed"], strict=True)):
            held_out = (f"{each.held_out[-1]:.4f}", f"{each.held_out[-1] / fixed.held_out[-1]:.4f}")
            by = "-" if name == "fixed" else str(moved_by(each))
            table.add_row(name, str(seed), *held_out, f"{last_share(each):.1%}", by)
    Console().print(table)
    for name, value in found.items():
        print(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")


def plot(runs: Runs, path: Path) -> None:
    """Shares of the useless stream, and by how much the held-out loss is below that with fixed shares, all seeds."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (name, trained) in enumerate(runs.items()):
        color = f"C{number}"
        for seed, each in enumerate(trained):
            label = name if seed == 0 else None
            sums = np.convolve(each.useless, np.ones(RUNNING))[: len(each.useless)]
            running = sums / np.minimum(np.arange(len(sums)) + 1, RUNNING)
            left.plot(running, color=color, linewidth=1, label=label)
            if name != "fixed":
                ratios = np.array(each.held_out) / np.array(runs["fixed"][seed].held_out)
                right.plot(ratios, color=color, linewidth=1, label=label)
    left.set(xlabel="window", ylabel=f"share of shuffled words\n(mean of {RUNNING} windows)", ylim=(0, 1))
    right.set(xlabel="window", ylabel="held-out loss over that\nwith fixed shares")
    right.axhline(1, color="C0", linewidth=1)
    left.legend()
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
