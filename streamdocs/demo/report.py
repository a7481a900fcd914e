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

from streamdocs._base.console import printable
from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.generations.progress import read_tallies, total
from streamdocs.graph.walks import told

_SMOOTH = 4
_COLOURS = {"web": "tab:blue", "synthetic": "tab:orange", "megadocs": "tab:orange", "problems": "tab:purple"}


def report(out: Path, seconds: float) -> dict[str, Any]:
    """Check, print, plot and write ``summary.json``; what it holds."""
    lines = [json.loads(line) for line in (out / "batches.jsonl").read_text().splitlines()]
    batch_size = len(lines[0]["synthetic"])
    dataset = StreamingMegadocDataset.from_run_file(out / "run.yaml", batch_size=batch_size)
    consumed = last_read(lines)
    synthetic = np.concatenate([consumed[batch]["synthetic"] for batch in sorted(consumed)])
    length = dataset.run.mixture.max_seq_len
    losses = [consumed[batch]["loss"] for batch in sorted(consumed)]
    streams = mixed(dataset, len(synthetic))
    asked = [streams[stream.name] for stream in dataset.run.synthetic]
    editions, walk = _editions(dataset, len(synthetic))
    summary = {
        "batches": len(consumed),
        "web_tokens": int((~synthetic).sum()) * length,
        "synthetic_tokens": int(synthetic.sum()) * length,
        "synthetic_fraction": sum(each["sequences"] for each in asked) / len(synthetic),
        "filled_with_web": sum(each["filled"] for each in asked),
        "documents": len(dataset.corpus.documents),
        "loss_first": float(np.mean(losses[:10])),
        "loss_last": float(np.mean(losses[-10:])),
        "wait_seconds": waited(lines),
        "resumed_identically": resumed_identically(lines, dataset, batch_size),
        "streams": {name: {**each, **_written(dataset, name, consumed)} for name, each in streams.items()},
        "editions": editions,
        "walk": walk,
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    marks = [(f"edition {each['edition']}", each["first_position"] // batch_size) for each in editions]
    marks += [("killed", before["batch"]) for before, after in pairwise(lines) if after["batch"] <= before["batch"]]
    plot(out / "demo.png", consumed, dataset, marks)
    _print(summary, out, seconds)
    return summary


def last_read(lines: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """By batch, its line of the last time that it was read, and all that was measured of it: held-out text is once."""
    consumed: dict[int, dict[str, Any]] = {}
    for line in lines:
        before = consumed.get(line["batch"], {"metrics": {}})
        consumed[line["batch"]] = {**line, "metrics": {**before["metrics"], **line["metrics"]}}
    return consumed


def mixed(dataset: StreamingMegadocDataset, sequences: int) -> dict[str, dict[str, int]]:
    """By stream, how many of the first sequences are its own, and how many of these are filled with web text."""
    samples = [dataset[position] for position in range(sequences)]
    found = {}
    for number, stream in enumerate(dataset.run.streams):
        own = [bool(sample["synthetic"]) for sample in samples if int(sample["stream"]) == number]
        filled = own.count(False) if stream in dataset.run.synthetic else 0
        found[stream.name] = {"sequences": len(own), "filled": filled}
    return found


def _written(dataset: StreamingMegadocDataset, name: str, consumed: dict[int, dict[str, Any]]) -> dict[str, float]:
    """Of a synthetic stream the generations there are, and how many a document had in the first window and the last."""
    scopes = [stream.scope for stream in dataset.run.synthetic if stream.name == name]
    if not scopes or dataset.store is None:
        return {}
    grown = series(consumed, metric(dataset, name, "generations_per_document"))
    return {
        "generations": total(read_tallies(dataset.store, scopes[0]).values()).generations,
        "per_document_first": grown[0][1],
        "per_document_last": grown[-1][1],
    }


def _editions(dataset: StreamingMegadocDataset, sequences: int) -> tuple[list[dict[str, int]], dict[str, Any] | None]:
    """Of each edition of a graph, how many generations about its walks were read, and where first; the last walk."""
    read: dict[int, set[tuple[str, int, tuple[int, int] | None]]] = {}
    first: dict[int, int] = {}
    last = None
    for position in range(sequences):
        for segment in dataset.explain(position):
            if walk := segment.walk:
                read.setdefault(walk.edition, set()).add((segment.stream, segment.document, segment.generation))
                first.setdefault(walk.edition, position)
                last = {"position": position, **walk._asdict()}
    rows = [{"edition": each, "read": len(read[each]), "first_position": first[each]} for each in sorted(read)]
    return rows, last


def metric(dataset: StreamingMegadocDataset, stream: str, name: str) -> str:
    """How the monitor calls what it measures of a synthetic stream."""
    return f"megadocs/{stream}/{name}" if len(dataset.run.synthetic) > 1 else f"megadocs/{name}"


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


def plot(
    path: Path, consumed: dict[int, dict[str, Any]], dataset: StreamingMegadocDataset, marks: list[tuple[str, int]]
) -> None:
    """Losses, generations a document and lead by stream; ``marks`` are batches at which something happened."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  (after the backend is chosen)

    figure, (top, middle, bottom) = plt.subplots(3, sharex=True, figsize=(8, 7), height_ratios=[2, 1, 1])
    several = len(dataset.streams) > 2
    for name in dataset.streams if several else ("web", "synthetic"):
        batches, values = zip(*series(consumed, f"loss/stream/{name}" if several else f"loss/{name}"), strict=True)
        smooth = [np.mean(values[max(0, i - _SMOOTH + 1) : i + 1]) for i in range(len(values))]
        top.plot(batches, smooth, color=_COLOURS.get(name), label=name if several else f"{name} sequences")
    for half, style in (("short", ":"), ("long", "--")):
        if held_out := series(consumed, f"metrics/holdout_{half}/loss"):
            top.plot(*zip(*held_out, strict=True), style, color="tab:green", label=f"held-out web, {half}")
    for stream in dataset.run.synthetic:
        for axes, what in ((middle, "generations_per_document"), (bottom, "lead")):
            found = series(consumed, metric(dataset, stream.name, what))
            axes.plot(*zip(*found, strict=True), color=_COLOURS.get(stream.name), label=stream.name)
    for name, batch in marks:
        for axes in (top, middle, bottom):
            axes.axvline(batch, color="black" if name == "killed" else "tab:red", linewidth=0.8)
        top.annotate(name, (batch, 1), xycoords=("data", "axes fraction"), rotation=90, va="top", ha="right", size=8)
    top.set_ylabel("loss (nats a token)")
    top.legend()
    middle.set_ylabel("generations\na document")
    bottom.set_ylabel("lead (documents\nx rounds)")
    bottom.set_xlabel("batch")
    top.set_title("a model trains on what is being written meanwhile")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _print(summary: dict[str, Any], out: Path, seconds: float) -> None:
    """The summary as tables; of the last walk that was read, where it is and what it is about."""
    console = Console()
    table = Table("", "", show_header=False, title="streamdocs demo")
    for name, value in summary.items():
        if not isinstance(value, list | dict):
            table.add_row(name, _told(value))
    console.print(table)
    for title, rows in (
        ("streams", [{"stream": name, **each} for name, each in summary["streams"].items()]),
        ("graph of concepts", summary["editions"]),
    ):
        table = Table(*(name.replace("_", " ") for name in max(rows, key=len, default=())), title=title)
        for row in rows:
            table.add_row(*map(_told, row.values()))
        if rows:
            console.print(table)
    if walk := summary["walk"]:
        where = f"sequence {walk['position']}: walk {walk['number']} of edition {walk['edition']}"
        way = printable(told(walk["topics"], walk["concepts"]))
        console.print(f"{where}: {way}; documents {' and '.join(map(str, walk['documents']))}", highlight=False)
    console.print(
        f"{seconds:.0f} s; plot: {out / 'demo.png'}; where tokens come from: streamdocs inspect {out / 'run.yaml'}"
    )


def _told(value: object) -> str:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if is_count else f"{value:.3f}" if isinstance(value, float) else str(value)
