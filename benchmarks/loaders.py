"""One measurement of one loader.

Each loader as its own documentation would have it, and a batch ends as int64 for all: ours, memmap and HF datasets
deliver that; StreamingDataset and LitData's TokensLoader deliver what is stored, so batches are widened as they arrive
(as litgpt does). Only ours also makes labels.
"""

import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import make_dataset
from processes import memory_of
from torch.utils.data import DataLoader, Dataset

BATCH = 8
OURS = ("stitch", "rephrase", "stretch", "web", "four")
OTHERS = ("streaming", "litdata", "memmap", "hf")


class Memmap(Dataset[torch.Tensor]):
    """The usual flat file of tokens."""

    def __init__(self, path: Path, length: int) -> None:
        tokens = np.memmap(path, np.uint16, mode="r")
        self.tokens = tokens[: len(tokens) // length * length].reshape(-1, length)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.tokens[index].astype(np.int64))


def open_ours(name: str, folder: Path, workers: int, length: int, generations: int) -> DataLoader[Any]:
    from streaming import StreamingDataLoader  # noqa: PLC0415

    sequences = int((folder / "sequences").read_text()) * 2048 // length
    dataset = make_dataset(folder, name, generations, length, epoch_size=sequences)
    return StreamingDataLoader(dataset, batch_size=BATCH, num_workers=workers, persistent_workers=workers > 0)


def open_streaming(folder: Path, workers: int, length: int) -> DataLoader[Any]:
    from streaming import StreamingDataLoader, StreamingDataset  # noqa: PLC0415

    dataset = StreamingDataset(local=str(folder / f"mds-{length}"), batch_size=BATCH, shuffle=True)
    return StreamingDataLoader(dataset, batch_size=BATCH, num_workers=workers, persistent_workers=workers > 0)


def open_litdata(folder: Path, workers: int, length: int) -> DataLoader[Any]:
    from litdata import StreamingDataLoader, StreamingDataset, TokensLoader  # noqa: PLC0415

    dataset = StreamingDataset(str(folder / "litdata"), item_loader=TokensLoader(length), shuffle=True)
    return StreamingDataLoader(dataset, batch_size=BATCH, num_workers=workers, persistent_workers=workers > 0)


def open_hf(folder: Path, workers: int, length: int) -> DataLoader[Any]:
    from datasets import load_from_disk  # noqa: PLC0415

    dataset = load_from_disk(str(folder / f"hf-{length}")).with_format("torch")
    return DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)


def open_memmap(folder: Path, workers: int, length: int) -> DataLoader[Any]:
    dataset = Memmap(folder / "tokens.bin", length)
    return DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)


def tokens_of(name: str, batch: Any) -> torch.Tensor:
    """The tokens of a batch as int64."""
    found: torch.Tensor = batch["input_ids"] if name in OURS else batch["tokens"] if isinstance(batch, dict) else batch
    return found.long()


def endless(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def measure(name: str, generations: int, workers: int, length: int, folder: Path, seconds: float) -> dict[str, Any]:
    """Tokens a second after the first batch, and what it took from nothing to that batch."""
    started = time.perf_counter()
    if name in OURS:
        loader = open_ours(name, folder, workers, length, generations)
    else:
        loader = globals()[f"open_{name}"](folder, workers, length)
    batches = endless(loader)
    first = tokens_of(name, next(batches))
    times, cpu = [time.perf_counter()], cpu_seconds()
    assert first.shape == (BATCH, length) and first.dtype == torch.int64
    sizes = 0
    while times[-1] - times[0] < seconds:
        sizes += tokens_of(name, next(batches)).numel()
        times.append(time.perf_counter())
    memory = [memory_of(pid) for pid in processes()]
    own = [each.pss - each.mapped for each in memory]
    return {
        "samples_per_s": sizes / length / (times[-1] - times[0]),
        "tokens_per_s": sizes / (times[-1] - times[0]),
        "cpu_us_per_batch": (cpu_seconds() - cpu) / (len(times) - 1) * 1e6,
        "first_batch_s": times[0] - started,
        "p99_ms": float(np.percentile(np.diff(times), 99)) * 1e3,
        "memory_mb": sum(own),
        "worker_memory_mb": max(own[1:], default=own[0]),
        "mapped_mb": sum(each.mapped for each in memory),
    }


def processes() -> list[int]:
    """This one, and its workers."""
    return [os.getpid(), *(child.pid for child in multiprocessing.active_children() if child.pid)]


def cpu_seconds() -> float:
    """Of this process and its workers: unlike the clock, it hardly minds what else the machine does."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in processes()]
    return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")
