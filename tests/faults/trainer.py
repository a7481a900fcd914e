"""A plain PyTorch loop over a run file from its beginning, which notes the number and digest of every batch:
``trainer.py RUN_YAML WORKERS``.
"""

import json
import sys
import warnings
from itertools import chain, repeat

import xxhash
from streaming import StreamingDataLoader

from streamdocs import StreamingMegadocDataset


def main() -> None:
    """Train until something stops it."""
    run_file, workers = sys.argv[1], int(sys.argv[2])
    warnings.simplefilter("ignore")
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=4)
    loader = StreamingDataLoader(dataset, batch_size=4, num_workers=workers)
    with open(f"{run_file}.batches", "ab", buffering=0) as log:
        for number, batch in enumerate(chain.from_iterable(repeat(loader))):
            log.write(json.dumps([number, digest_of(batch)]).encode() + b"\n")


def digest_of(batch: dict) -> str:
    """Of its tokens."""
    return xxhash.xxh3_64_hexdigest(batch["input_ids"].numpy().tobytes())


if __name__ == "__main__":
    main()
