"""The options that the training examples share, and what they record of a batch."""

import argparse
import json
from pathlib import Path

import torch
import xxhash


def options(page: str | None, keep: str = "--folder", at: str = "checkpoints") -> argparse.ArgumentParser:
    """A parser of what every loop is told: ``page`` begins its help, ``keep`` says where checkpoints go."""
    parser = argparse.ArgumentParser(description=page, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_file", type=Path)
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=8, help="sequences a batch and rank")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(keep, type=Path, default=Path(at), help="where to keep checkpoints, and to go on from")
    parser.add_argument("--checkpoint-every", type=int, default=50, help="batches")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--record", type=Path, help="file for one JSON line a batch and rank")
    return parser


def record(path: Path | None, batch: int, rank: int, input_ids: torch.Tensor) -> None:
    """Note what was read, where that is wanted."""
    if path is None:
        return
    tokens = xxhash.xxh3_64_hexdigest(input_ids.cpu().numpy().tobytes())
    with path.open("a") as file:
        file.write(json.dumps({"batch": batch, "rank": rank, "tokens": tokens}) + "\n")
