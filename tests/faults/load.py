"""A generator at full rate and eight processes that read, for minutes or hours: nothing may grow that should not.

    python -m tests.faults.load --minutes 60 [--gigabytes 5]

Prints a line every few seconds: the store's file and what of it is in use, handles and memory of all processes. What is
kept for ever are sealed windows, some kilobytes each: as small as they are here, the file grows by them. The last line
is one JSON object.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from conftest import make_corpus, make_texts  # noqa: E402
from exactness import Child, Setup, Split, endless, generate_for_ever  # noqa: E402
from faults.world import entries  # noqa: E402
from streamdocs import Stitch  # noqa: E402
from streamdocs.store import LmdbStore  # noqa: E402

READERS = 8
EVERY = 10.0


def main() -> int:
    """Exit status 1 where something grew in the second half."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--gigabytes", type=float, default=0.0, help="also fill, open, read and empty a store of these")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="streamdocs-load-") as folder:
        result = load(Path(folder), arguments.minutes * 60)
    with tempfile.TemporaryDirectory(prefix="streamdocs-load-") as folder:
        if arguments.gigabytes:
            result |= large(Path(folder), int(arguments.gigabytes * 1e9))
    print(json.dumps(result))
    return int(not result["flat"])


def load(folder: Path, seconds: float) -> dict[str, object]:
    """Rounds without end: they are generated, read and retired all the time."""
    corpus = make_corpus(folder, make_texts(300))
    recipe = Stitch(generations=2, per_round=1, rounds=None)
    setup = Setup(corpus, folder / "store", recipe)
    generator = Child(generate_for_ever, setup, None)
    readers = [Child(read_for_ever, setup, str(number)) for number in range(READERS)]
    samples = []
    try:
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            time.sleep(min(EVERY, seconds / 4))
            children = [generator, *readers]
            assert all(child.process.is_alive() for child in children), "somebody died"
            samples.append(sample(setup, [child.process.pid for child in children]))
            print(json.dumps({"seconds": round(time.monotonic() - began), **samples[-1]}), flush=True)
    finally:
        for child in (generator, *readers):
            child.kill()
    middle, last = samples[len(samples) // 2 : -len(samples) // 4], samples[-len(samples) // 4 :]
    # Their peaks, since what is there at a moment goes up and down with every round.
    growth = {name: peak(last, name) / max(peak(middle, name), 1) for name in ("generations", "handles", "rss")}
    rounded = {f"{name}_growth": round(value, 3) for name, value in growth.items()}
    return {**samples[-1], **rounded, "flat": all(value < 1.1 for value in growth.values())}


def peak(samples: list[dict[str, int]], name: str) -> int:
    return max(sample[name] for sample in samples)


def read_for_ever(setup: Setup, name: str) -> None:
    """One run of its own over the shared store, which saves a state now and then so that rounds can retire."""
    loader = setup.loader(Split(), 0, name)
    for step, _ in enumerate(endless(loader)):
        if step % 20 == 0:
            loader.state_dict()
        time.sleep(0.001)


def sample(setup: Setup, processes: list[int]) -> dict[str, int]:
    store = LmdbStore(setup.store)
    return {
        "file": os.path.getsize(setup.store / "data.mdb"),
        "in_use": store.size(),
        "generations": entries(store, "tokens"),
        "windows": entries(store, "windows"),
        "handles": sum(len(os.listdir(f"/proc/{each}/fd")) for each in processes),
        "rss": sum(rss(each) for each in processes),
    }


def rss(process: int) -> int:
    """Bytes of memory of its own: mapped files are the page cache's."""
    text = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(text.partition("RssAnon:")[2].split()[0])


def large(folder: Path, size: int) -> dict[str, object]:
    """How long a store of so many bytes takes to open, to read from and to empty."""
    store = LmdbStore(folder)
    record, many = os.urandom(50_000), 2000
    keys = [number.to_bytes(16, "big") for number in range(size // len(record))]
    began = time.monotonic()
    for start in range(0, len(keys), many):
        store.add("tokens", dict.fromkeys(keys[start : start + many], record))
    filled = time.monotonic() - began
    found = Child(open_and_read, folder, keys[:: max(1, len(keys) // 1000)]).result()
    file, began = os.path.getsize(folder / "data.mdb"), time.monotonic()
    for start in range(0, len(keys), many):
        store.delete("tokens", keys[start : start + many])
    retired = time.monotonic() - began
    store.add("tokens", dict.fromkeys(keys[: len(keys) // 2], record))
    again = os.path.getsize(folder / "data.mdb")
    times = {"fill_seconds": filled, **found, "retire_seconds": retired}
    rounded = {name: round(value, 3) for name, value in times.items()}
    return {"large_file": file, **rounded, "large_file_after_writing_again": again}


def open_and_read(folder: Path, keys: list[bytes]) -> dict[str, float]:
    began = time.monotonic()
    store = LmdbStore(folder)
    with store.read():
        opened = time.monotonic() - began
    began = time.monotonic()
    with store.read() as snapshot:
        for value in snapshot.get_many("tokens", keys).listed():
            assert value is not None and len(bytes(value)) == 50_000
    return {"open_seconds": opened, "read_1000_records_seconds": time.monotonic() - began}


if __name__ == "__main__":
    sys.exit(main())
