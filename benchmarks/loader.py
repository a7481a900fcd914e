"""Megadocs on the fly against the same written out in full: how fast loaders deliver batches of 8 sequences.

Streamdocs reads a corpus and a store, and seals its windows as it goes; StreamingDataset, LitData's TokensLoader, a
memmap Dataset and HF datasets read the very tokens that it makes of them (stitch) from files of their own. Each
measurement is a fresh process on a warm page cache, forked from one that has imported every loader, so that memory is
the loader's; loaders take turns, so that a noisy machine is noisy for all.

    python benchmarks/loader.py [--json] [--repeats 5]
    python benchmarks/loader.py --only stitch,streaming,litdata,memmap --lengths 2048 --workers 0,2 --repeats 3
    python benchmarks/loader.py --only stitch,rephrase,stretch,four --documents 10000 --generations 8 --workers 0,2
"""

import argparse
import json
import statistics
import sys
import tempfile
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import loaders
from data import RECIPES, all_sequences, fill_store, make_corpus, make_dataset, store_folder, write_out
from loaders import OTHERS, OURS
from processes import in_fresh_process
from rich.console import Console
from rich.table import Table

from streamdocs.store import LmdbStore

WORDS, GENERATION_TOKENS = 900, 708
#: Where the smaller number of generations is measured too: enough to see that it changes little.
SMALLER = (8, [2048], [0, 2])
Case = tuple[str, int, int, int]


def numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--only", default=",".join(OURS + OTHERS), help="loaders and recipes")
    parser.add_argument("--generations", type=numbers, default=[8, 32])
    parser.add_argument("--lengths", type=numbers, default=[2048, 4096], help="tokens a sequence")
    parser.add_argument("--workers", type=numbers, default=[0, 2, 4])
    parser.add_argument("--documents", type=int, default=2_000)
    parser.add_argument("--data", type=Path, help="folder to make the data in, or to find it from last time")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of loader.json and .png")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.data or Path(temporary)
        prepare(folder, arguments.documents, max(arguments.generations))
        cases = cases_of(arguments)
        found: dict[Case, list[dict[str, float]]] = {case: [] for case in cases}
        for repeat, case in product(range(arguments.repeats), cases):
            print(f"\r{repeat + 1}/{arguments.repeats} {' '.join(map(str, case)):<40}", end="", file=sys.stderr)
            found[case].append(measure(case, folder, arguments.seconds))
        rows = [row_of(case, runs, folder) for case, runs in found.items()]
    report(rows, arguments.out, arguments.json)


def cases_of(arguments: argparse.Namespace) -> list[Case]:
    """(loader, generations, workers, length) of each row."""
    names, largest = arguments.only.split(","), max(arguments.generations)
    cases = []
    for workers, length, name in product(arguments.workers, arguments.lengths, names):
        cases.append((name, 0 if name == "web" else largest, workers, length))
        smaller, lengths, workers_there = SMALLER
        if name in RECIPES and smaller in arguments.generations[:-1] and length in lengths and workers in workers_there:
            cases.append((name, smaller, workers, length))
    return cases


def prepare(folder: Path, documents: int, largest: int) -> None:
    """The corpus, the stores, and what the others read; kept from last time where it is complete."""
    if (folder / "sequences").exists():
        return
    make_corpus(folder, documents, WORDS)
    for recipe, generations in [*product(RECIPES, {SMALLER[0], largest}), ("four", largest)]:
        store = LmdbStore(store_folder(folder, recipe, generations))
        fill_store(make_dataset(folder, recipe, generations, 2048).run, store, GENERATION_TOKENS)
    sequences = all_sequences(folder, largest, 2048)
    write_out(folder, largest, [2048, 4096], sequences)
    (folder / "sequences").write_text(str(sequences))


def measure(case: Case, folder: Path, seconds: float) -> dict[str, float]:
    measured: dict[str, float] = in_fresh_process(partial(loaders.measure, *case, folder, seconds))
    return measured


def row_of(case: Case, runs: list[dict[str, float]], folder: Path) -> dict[str, Any]:
    name, generations, workers, length = case
    ours = name in OURS
    return {
        "loader": "streamdocs" if ours else name,
        "recipe": name if ours else "stitch",
        "generations": generations,
        "workers": workers,
        "sequence_length": length,
        **{key: statistics.median(run[key] for run in runs) for key in runs[0]},
        "bytes": bytes_of(name, generations, length, folder),
    }


def bytes_of(name: str, generations: int, length: int, folder: Path) -> int:
    """Bytes on disk that a loader reads from: ours with the web text, and without free pages of the store."""
    if name in OURS:
        store = LmdbStore(store_folder(folder, name, generations)).size() if name != "web" else 0
        return store + size_of(folder / "corpus" / "train")
    places = {"streaming": f"mds-{length}", "litdata": "litdata", "memmap": "tokens.bin", "hf": f"hf-{length}"}
    return size_of(folder / places[name])


def size_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def ratios_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Tokens a second, 2,048 tokens a sequence: our stitch over the others, our other recipes over it, four streams
    over two.
    """
    largest = max(row["generations"] for row in rows)
    speed = {
        (row["recipe"] if row["loader"] == "streamdocs" else row["loader"], row["workers"]): row["tokens_per_s"]
        for row in rows
        if row["sequence_length"] == 2048 and row["generations"] in (0, largest)
    }
    over_theirs = {
        f"{other}_w{workers}": speed["stitch", workers] / speed[other, workers]
        for other, workers in product(OTHERS, (0, 2, 4))
        if ("stitch", workers) in speed and (other, workers) in speed
    }
    over_stitch = {
        {"web": "web_only"}.get(recipe, recipe): speed[recipe, 0] / speed["stitch", 0]
        for recipe in ("web", "rephrase", "stretch")
        if ("stitch", 0) in speed and (recipe, 0) in speed
    }
    # Four streams read web text and each recipe to equal parts; so do three runs of one recipe together.
    over_two = {
        f"four_w{workers}": speed["four", workers]
        / statistics.harmonic_mean([speed[each, workers] for each in RECIPES])
        for workers in (0, 2, 4)
        if all((name, workers) in speed for name in (*RECIPES, "four"))
    }
    return {**over_theirs, **over_stitch, **over_two}


def report(rows: list[dict[str, Any]], out: Path, as_json: bool) -> None:
    """Medians as a table, a plot and JSON."""
    columns = ("loader", "recipe", "G", "workers", "tokens", "samples/s", "M tokens/s", "CPU us", "first batch s")
    table = Table(*columns, "p99 ms", "MB", "worker MB", "mapped MB", "disk MB")
    for row in rows:
        names = ("loader", "recipe", "generations", "workers", "sequence_length")
        speeds = (row["samples_per_s"], row["tokens_per_s"] / 1e6, row["cpu_us_per_batch"])
        sizes = (*(row[name] for name in ("memory_mb", "worker_memory_mb", "mapped_mb")), row["bytes"] / 1e6)
        figures = [f"{n:,.0f}" for n in speeds] + [f"{row[name]:.2f}" for name in ("first_batch_s", "p99_ms")]
        table.add_row(*(str(row[name]) for name in names), *figures, *(f"{n:,.0f}" for n in sizes))
    Console(width=140).print(table)
    result = {"rows": rows, "ratios": ratios_of(rows)}
    out.mkdir(parents=True, exist_ok=True)
    (out / "loader.json").write_text(json.dumps(result, indent=1))
    plot(rows, out / "loader.png")
    if as_json:
        print(json.dumps(result))


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Tokens a second of each loader by number of workers, at the first length."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    length, largest = rows[0]["sequence_length"], max(row["generations"] for row in rows)
    shown = [row for row in rows if row["sequence_length"] == length and row["generations"] in (0, largest)]
    names = list(dict.fromkeys((row["loader"], row["recipe"]) for row in shown))
    workers = sorted({row["workers"] for row in shown})
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    for at, count in enumerate(workers):
        speeds = {(row["loader"], row["recipe"]): row["tokens_per_s"] / 1e6 for row in shown if row["workers"] == count}
        places = [place + at * 0.8 / len(workers) for place in range(len(names))]
        axes.bar(places, [speeds.get(name, 0) for name in names], 0.8 / len(workers), label=f"{count} workers")
    labels = [f"streamdocs\n{recipe}" if loader == "streamdocs" else loader for loader, recipe in names]
    axes.set_xticks([place + 0.4 - 0.4 / len(workers) for place in range(len(names))], labels)
    axes.set(yscale="log", ylabel="million tokens a second", title=f"batches of 8 sequences of {length:,} tokens")
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
