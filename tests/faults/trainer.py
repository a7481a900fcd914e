"""A plain PyTorch loop over a run file, which notes every batch: ``trainer.py RUN_YAML WORKERS WAIT_TIMEOUT``."""

import json
import sys
import warnings

import xxhash
from streaming import StreamingDataLoader

from streamdocs import StreamingMegadocDataset


def main() -> None:
    """Train until something stops it."""
    run_file, workers, wait_timeout = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    warnings.simplefilter("ignore")
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=4, wait_timeout=wait_timeout)
    loader = StreamingDataLoader(dataset, batch_size=4, num_workers=workers)
    with open(f"{run_file}.batches", "ab", buffering=0) as log:
        while True:
            for batch in loader:
                digest = xxhash.xxh3_64_hexdigest(batch["input_ids"].numpy().tobytes())
                log.write(json.dumps([digest]).encode() + b"\n")


if __name__ == "__main__":
    main()
