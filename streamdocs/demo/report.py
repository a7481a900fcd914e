"""What the demo shows at its end: a check of every batch, a table, a plot and ``summary.json``."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import xxhash
from rich.console import Console
from rich.table import Table

from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.generations.progress import read_tallies, total

_SMOOTH = 4


def report(out: Path, seconds: float) -> dict[str, Any]:
    """Check, print, plot and write ``summary.json``; what it holds."""
    lines = [json.loads(line) for line in (out / "batches.jsonl").read_text().splitlines()]
    batch_size = len(lines[0]["synthetic"])
    dataset = StreamingMegadocDataset.from_run_file(out / "run.yaml", batch_size=batch_size)
    assert dataset.store is not None
    consumed = {line["batch"]: line for line in lines}  # the last time that each was read
    tallies = total(read_tallies(dataset.store, dataset.run.synthetic[0].scope).values())
    synthetic = np.concatenate([consumed[batch]["synthetic"] for batch in sorted(consumed)])
    length = dataset.run.mixture.max_seq_len
    grown = series(consumed, "megadocs/generations_per_document")
    losses = [consumed[batch]["loss"] for batch in sorted(consumed)]
    summary = {
        "batches": len(consumed),
        "web_tokens": int((~synthetic).sum()) * length,
        "synthetic_tokens": int(synthetic.sum()) * length,
        "synthetic_fraction": float(synthetic.mean()),
        "documents": len(dataset.corpus.documents),
        "generations_stored": tallies.generations,
        "generations_per_document_first": grown[0][1],
        "generations_per_document_last": grown[-1][1],
        "loss_first": float(np.mean(losses[:10])),
        "loss_last": float(np.mean(losses[-10:])),
        "wait_seconds": waited(lines),
        "resumed_identically": resumed_identically(lines, dataset, batch_size),
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    killed_at = next((a["batch"] for a, b in pairwise(lines) if b["batch"] <= a["batch"]), None)
    _plot(out / "demo.png", consumed, killed_at)
    _print(summary, out, seconds)
    return summary


def resumed_identically(lines: list[dict[str, Any]], dataset: StreamingMegadocDataset, batch_size: int) -> bool:
    """Whether the batches, as consumed around the kill, are those of a run that was never interrupted.

    There was a kill (some batch was read twice), no batch is missing, every batch equals its replay from the store
    today, and training on those read twice gave the same losses both times.
    """
    numbers = [line["batch"] for line in lines]
    by_number: dict[int, list[dict[str, Any]]] = {}
    for line in lines:
        by_number.setdefault(line["batch"], []).append(line)
    interrupted = len(numbers) > len(by_number) and sorted(by_number) == list(range(len(by_number)))
    same_losses = all(len({line["loss"] for line in group}) == 1 for group in by_number.values())
    return (
        interrupted
        and same_losses
        and all(
            {line["tokens"] for line in group} == {replayed(dataset, number, batch_size)}
            for number, group in by_number.items()
        )
    )


def replayed(dataset: StreamingMegadocDataset, batch: int, batch_size: int) -> str:
    """Digest of a batch as the sealed windows give it now."""
    rows = [dataset[position]["input_ids"].numpy() for position in range(batch * batch_size, (batch + 1) * batch_size)]
    return xxhash.xxh3_64_hexdigest(np.stack(rows).tobytes())


def waited(lines: list[dict[str, Any]]) -> float:
    """Seconds waited for generations, in all starts of the trainer."""
    seconds, latest = 0.0, 0.0
    for line in lines:
        now = line["metrics"].get("megadocs/waited_seconds", latest)
        if now < latest:  # the counter of a new process
            seconds += latest
        latest = now
    return round(seconds + latest, 3)


def series(consumed: dict[int, dict[str, Any]], metric: str) -> list[tuple[int, float]]:
    """Batch numbers and values of a metric, where it was logged."""
    found = ((batch, consumed[batch]["metrics"].get(metric)) for batch in sorted(consumed))
    return [(batch, value) for batch, value in found if value is not None]


def _plot(path: Path, consumed: dict[int, dict[str, Any]], killed_at: int | None) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  (after the backend is chosen)

    figure, (top, middle, bottom) = plt.subplots(3, sharex=True, figsize=(8, 7), height_ratios=[2, 1, 1])
    for kind, colour in (("web", "tab:blue"), ("synthetic", "tab:orange")):
        batches, values = zip(*series(consumed, f"loss/{kind}"), strict=True)
        smooth = [np.mean(values[max(0, i - _SMOOTH + 1) : i + 1]) for i in range(len(values))]
        top.plot(batches, smooth, color=colour, label=f"{kind} sequences")
    for half, style in (("short", ":"), ("long", "--")):
        held_out = series(consumed, f"metrics/holdout_{half}/loss")
        top.plot(
            *zip(*held_out, strict=True), style, color="tab:green", label=f"held-out web, {half}"
        ) if held_out else None
    if killed_at:
        for axes in (top, middle, bottom):
            axes.axvline(killed_at, color="black", linewidth=0.8, label="both killed" if axes is top else None)
    top.set_ylabel("loss (nats a token)")
    top.legend()
    middle.plot(*zip(*series(consumed, "megadocs/generations_per_document"), strict=True), color="tab:purple")
    middle.set_ylabel("generations\na document")
    bottom.plot(*zip(*series(consumed, "megadocs/lead"), strict=True), color="tab:gray")
    bottom.set_ylabel("lead (documents\nx rounds)")
    bottom.set_xlabel("batch")
    top.set_title("a model trains on megadocs that are being written meanwhile")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _print(summary: dict[str, Any], out: Path, seconds: float) -> None:
    table = Table("", "", show_header=False, title="streamdocs demo")
    for name, value in summary.items():
        is_count = isinstance(value, int) and not isinstance(value, bool)
        table.add_row(name, f"{value:,}" if is_count else f"{value:.3f}" if isinstance(value, float) else str(value))
    console = Console()
    console.print(table)
    console.print(
        f"{seconds:.0f} s; plot: {out / 'demo.png'}; where tokens come from: streamdocs inspect {out / 'run.yaml'}"
    )
