"""A training step on a GPU, fed by the loader, against the same step on one batch that never changes.

    python benchmarks/gpu_step.py [--json] [--steps 40] [--turns 5] [--batch 4]

A Llama-like model of some 300 million parameters at 4,096 tokens in bfloat16, with AdamW. The loader reads stitched
megadocs with two workers, pinned memory and copies that do not block; windows are sealed as it goes. The two take
turns, so that clocks and temperature are the same for both. ``ratio``: the median step time with the loader over that
without.

Without a GPU it says so and does nothing.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from data import fill_store, make_corpus, make_dataset, store_folder
from rich.console import Console
from rich.table import Table
from streaming import StreamingDataLoader

from streamdocs.store import LmdbStore

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from model import LanguageModel, next_token_loss

LENGTH, RECIPE, GENERATIONS, GENERATION_TOKENS = 4096, "stitch", 8, 700
VOCABULARY, WIDTH, LAYERS, HEADS = 32_000, 1024, 20, 16
WARM_UP = 5

Batch = dict[str, torch.Tensor]


def batches_of(folder: Path, batch: int) -> Iterator[Batch]:
    """Batches on the device, without end."""
    dataset = make_dataset(folder, RECIPE, GENERATIONS, LENGTH, batch_size=batch)
    loader = StreamingDataLoader(dataset, batch_size=batch, num_workers=2, pin_memory=True, persistent_workers=True)
    for read in chain.from_iterable(repeat(loader)):
        yield {name: column.cuda(non_blocking=True) for name, column in read.items()}


def make_step(parameters: list[int]) -> Callable[[Batch], None]:
    """A training step of a new model, whose number of parameters is noted in ``parameters``."""
    torch.manual_seed(17)
    model = LanguageModel(VOCABULARY, WIDTH, LAYERS, HEADS).cuda()
    parameters.append(sum(each.numel() for each in model.parameters()))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step(batch: Batch) -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = next_token_loss(model(batch["input_ids"]), batch["labels"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def time_steps(step: Callable[[Batch], None], batches: Iterator[Batch], steps: int) -> float:
    """Seconds a step, from one synchronisation to the next: what runs ahead meanwhile is free, as in training."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        step(next(batches))
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps


def measure(folder: Path, steps: int, turns: int, batch: int) -> dict[str, Any]:
    """Both, in turns."""
    make_corpus(folder, 2000, 900)
    run = make_dataset(folder, RECIPE, GENERATIONS, LENGTH).run
    fill_store(run, LmdbStore(store_folder(folder, RECIPE, GENERATIONS)), GENERATION_TOKENS)
    parameters: list[int] = []
    step, loaded = make_step(parameters), batches_of(folder, batch)
    constant = repeat(next(loaded))
    for batches in (loaded, constant):
        time_steps(step, batches, WARM_UP)
    times: dict[str, list[float]] = {"loader": [], "constant": []}
    for turn in range(turns):
        both = [("loader", loaded), ("constant", constant)]
        for name, batches in both if turn % 2 == 0 else reversed(both):
            times[name].append(time_steps(step, batches, steps))
    medians = {name: statistics.median(each) for name, each in times.items()}
    return {
        "gpu": torch.cuda.get_device_name(),
        "ratio": medians["loader"] / medians["constant"],
        "loader_step_ms": medians["loader"] * 1e3,
        "constant_step_ms": medians["constant"] * 1e3,
        "tokens_per_s": batch * LENGTH / medians["loader"],
        "parameters": parameters[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--steps", type=int, default=40, help="of a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4, help="sequences a batch")
    arguments = parser.parse_args()
    if torch.cuda.is_available():
        with tempfile.TemporaryDirectory() as temporary:
            found = measure(Path(temporary), arguments.steps, arguments.turns, arguments.batch)
        table = Table("figure", "value")
        for name, value in found.items():
            table.add_row(
                name, f"{value:,.3f}" if isinstance(value, float) else f"{value:,}" if name != "gpu" else value
            )
        Console().print(table)
    else:
        found = {"gpu": None}
        print("no GPU here: nothing is measured")
    if arguments.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
