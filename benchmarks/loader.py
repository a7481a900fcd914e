"""Megadocs on the fly against ready-made tokens: sequences a second of several loaders on the same text.

Each measurement is a fresh process; loaders take turns, so that a noisy machine is noisy for all of them.

    python benchmarks/loader.py [--json] [--repeats 5] [--seconds 3]
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import fill_store, make_corpus, make_dataset, write_out
from rich.console import Console
from rich.table import Table
from streaming import StreamingDataLoader, StreamingDataset
from torch.utils.data import DataLoader, Dataset

from streamdocs import Recipe, Rephrase, Stitch, Stretch
from streamdocs.store import LmdbStore

DOCUMENTS, WORDS, GENERATION_TOKENS = 2_000, 900, 708
LENGTH, BATCH, SEQUENCES = 2048, 8, 8_192
RECIPES: dict[str, Recipe] = {
    "stitch": Stitch(generations=32),
    "stretch": Stretch(generations=32),
    "rephrase": Rephrase(generations=32),
}
LOADERS = ["stitch", "stretch", "rephrase", "web", "streaming", "memmap"]


class Memmap(Dataset[torch.Tensor]):
    """The usual flat file of tokens."""

    def __init__(self, path: Path) -> None:
        self.tokens = np.memmap(path, np.uint16, mode="r").reshape(-1, LENGTH)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.tokens[index].astype(np.int64))


class Tokens(StreamingDataset):
    """Ready-made token samples in MDS shards."""

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(super().__getitem__(index)["tokens"].astype(np.int64))


def open_loader(name: str, folder: Path, workers: int) -> DataLoader[Any]:
    if name == "memmap":
        return DataLoader(Memmap(folder / "written/tokens.bin"), BATCH, shuffle=True, num_workers=workers)
    if name == "streaming":
        dataset = Tokens(local=str(folder / "written/mds"), batch_size=BATCH, shuffle=True)
        return StreamingDataLoader(dataset, batch_size=BATCH, num_workers=workers)
    recipe, fraction = (RECIPES["stitch"], 0.0) if name == "web" else (RECIPES[name], 0.75)
    return StreamingDataLoader(
        make_dataset(folder, recipe, fraction, LENGTH, epoch_size=SEQUENCES * 8), batch_size=BATCH, num_workers=workers
    )


def measure(name: str, folder: Path, workers: int, seconds: float) -> dict[str, Any]:
    """Tokens a second after the first batch, and what the first one took."""
    loader = open_loader(name, folder, workers)
    started = time.perf_counter()
    batches = endless(loader)
    next(batches)
    first = time.perf_counter() - started
    times = [time.perf_counter()]
    while times[-1] - times[0] < seconds:
        next(batches)
        times.append(time.perf_counter())
    return {
        "loader": name,
        "workers": workers,
        "sequence_length": LENGTH,
        "tokens_per_s": (len(times) - 1) * BATCH * LENGTH / (times[-1] - times[0]),
        "first_batch_s": first,
        "p99_ms": float(np.percentile(np.diff(times), 99)) * 1e3,
        "memory_mb": memory_mb(),
    }


def memory_mb() -> float:
    """Memory of this process and its workers, shared pages counted once (PSS)."""
    processes = [os.getpid(), *(worker.pid for worker in multiprocessing.active_children())]
    rollups = [Path(f"/proc/{process}/smaps_rollup").read_text() for process in processes]
    return sum(int(line.split()[1]) for text in rollups for line in text.splitlines() if line.startswith("Pss:")) / 1024


def endless(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def prepare(folder: Path) -> None:
    make_corpus(folder, DOCUMENTS, WORDS)
    for recipe in RECIPES.values():
        fill_store(make_dataset(folder, recipe, 0.75, LENGTH).run, LmdbStore(folder / "store"), GENERATION_TOKENS)
    write_out(make_dataset(folder, RECIPES["stitch"], 0.75, LENGTH), folder / "written", SEQUENCES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--one", nargs=3, metavar=("LOADER", "FOLDER", "WORKERS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, folder, workers = arguments.one
        print(json.dumps(measure(name, Path(folder), int(workers), arguments.seconds)))
        return
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        prepare(Path(temporary))
        for _ in range(arguments.repeats):
            for workers in arguments.workers:
                for name in LOADERS:
                    command = [sys.executable, __file__, "--one", name, temporary, str(workers)]
                    command += ["--seconds", str(arguments.seconds)]
                    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
                    found.setdefault((name, workers), []).append(json.loads(done.stdout.splitlines()[-1]))
    report(found, arguments.json)


def report(found: dict[tuple[str, int], list[dict[str, Any]]], as_json: bool) -> None:
    """Medians as a table, and as one JSON object with the ratios of stitch to the others."""
    rows = []
    for runs in found.values():
        numbers = {key for key, value in runs[0].items() if isinstance(value, float)}
        medians = {key: statistics.median(run[key] for run in runs) for key in numbers}
        rows.append({**runs[0], **medians})
    table = Table("loader", "workers", "M tokens/s", "first batch s", "p99 ms", "memory MB")
    for row in rows:
        numbers = (row["tokens_per_s"] / 1e6, row["first_batch_s"], row["p99_ms"], row["memory_mb"])
        table.add_row(row["loader"], str(row["workers"]), *(f"{n:.2f}" for n in numbers))
    Console().print(table)
    speed = {(row["loader"], row["workers"]): row["tokens_per_s"] for row in rows}
    others = [key for key in speed if key[0] in ("streaming", "memmap")]
    ratios = {f"{name}_w{workers}": speed["stitch", workers] / speed[name, workers] for name, workers in others}
    alone = {name: speed[name, 0] / speed["stitch", 0] for name in ("web", "rephrase", "stretch") if (name, 0) in speed}
    if as_json:
        print(json.dumps({"rows": rows, "ratios": {**ratios, **alone}}))


if __name__ == "__main__":
    main()
