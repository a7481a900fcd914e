"""Time to the first batch: of a fresh run, and of one that goes on after 1 %, 50 % and 99 % of its sequences.

From the dataset's constructor to the first batch of the loader, over real shards, a real store and real sealed windows
of a million short documents. Each measurement is a fresh process; the kinds take turns.

    python benchmarks/resume.py [--json] [--repeats 5] [--documents 1000000] [--sequences 10000000]
"""

import argparse
import json
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from data import fill_store, make_corpus, make_dataset, store_folder
from processes import in_fresh_process
from rich.console import Console
from rich.table import Table
from streaming import StreamingDataLoader

from streamdocs import StreamingMegadocDataset
from streamdocs.corpus.columns.values import Keeping
from streamdocs.corpus.files import DOCUMENT_DTYPE, load_index, save_index
from streamdocs.corpus.write import SplitWriter
from streamdocs.generations.records import StoreShelf
from streamdocs.ledger.manifest import Manifest, State
from streamdocs.ledger.windows import window_key
from streamdocs.store import LmdbStore

LENGTH, BATCH, WORDS, GENERATION_TOKENS = 64, 8, 40, 20
RECIPE, GENERATIONS = "stitch", 2
SHARES = {"1 %": 0.01, "50 %": 0.5, "99 %": 0.99}


def make_short_documents(folder: Path, documents: int) -> None:
    """A corpus of tiny random documents, by the real writer; their texts are left out."""
    corpus = make_corpus(folder, 100, WORDS)  # for its tokenizer
    index = load_index(corpus)
    rng = np.random.default_rng(0)
    noise = rng.integers(10, 300, documents + 2 * WORDS).astype(index["tokenizer"]["dtype"])
    for path in (corpus / "train").iterdir():
        path.unlink()
    writer = SplitWriter(corpus / "train", index["tokenizer"]["dtype"], 1 << 22, Keeping(()))
    for document, size in enumerate(rng.integers(WORDS // 2, WORDS * 3 // 2, documents).tolist()):
        digest = document.to_bytes(DOCUMENT_DTYPE["digest"].itemsize, "big")
        writer.write("", noise[document : document + size], digest, ())
    index["splits"]["train"] = writer.finish(index["tokenizer"]["digest"])
    save_index(corpus, index)


def open_dataset(folder: Path, name: str) -> StreamingMegadocDataset:
    return make_dataset(folder, RECIPE, GENERATIONS, LENGTH, name=name)


def state_at(folder: Path, name: str, position: int, *, fill: bool) -> dict[str, Any]:
    """The state of a run that has read so much: its last windows are sealed, with ``fill`` also all before them."""
    dataset = open_dataset(folder, name)
    ledger, mixture = dataset.ledger, dataset.run.mixture
    assert ledger is not None
    last = (position - 1) // mixture.window
    units = mixture.synthetic_before((last - 1) * mixture.window) * LENGTH // (WORDS + 2 * GENERATION_TOKENS + 4)
    sweep, cursor = divmod(units, dataset.num_samples)
    state = State(window=last - 1, sweep=sweep, cursor=cursor)
    with ledger.store.read() as snapshot:
        shelf = StoreShelf(snapshot, ledger.scope, 0, deep=False)
        windows = {}
        for window in (last - 1, last):
            manifest = ledger._sealer.seal(state, shelf)
            assert isinstance(manifest, Manifest)
            windows[window], state = manifest.pack(), manifest.after
    if fill:
        windows |= dict.fromkeys(range(last - 1), windows[last - 1])
    ledger.store.add("windows", {window_key(ledger.id, w, ()): packed for w, packed in windows.items()})
    epoch, sample = divmod(position, dataset.epoch_size)
    dataset.cursor.resume(epoch, sample, position - sample)
    return dataset.state_dict(0, False)


def time_to_first_batch(folder: Path, name: str, state: dict[str, Any] | None) -> float:
    started = time.perf_counter()
    loader = StreamingDataLoader(open_dataset(folder, name), batch_size=BATCH)
    if state:
        loader.load_state_dict(state)
    next(iter(loader))
    return time.perf_counter() - started


def measure(folder: Path, sequences: int, repeats: int) -> dict[str, Any]:
    """Seconds of each kind, and bytes of the largest state."""
    window = open_dataset(folder, "").run.mixture.window
    inside = {kind: int(sequences * share) // window * window + window // 2 for kind, share in SHARES.items()}
    states = {kind: in_fresh_process(partial(state_at, folder, kind, p, fill=True)) for kind, p in inside.items()}
    seconds: dict[str, list[float]] = {}
    for repeat in range(repeats):
        # Another name each time, since a window is sealed once.
        border = in_fresh_process(partial(state_at, folder, f"s{repeat}", inside["99 %"] - window // 2, fill=False))
        kinds = {"fresh": (f"f{repeat}", None), **{kind: (kind, state) for kind, state in states.items()}}
        kinds["99 %, seals"] = (f"s{repeat}", border)
        for kind, (name, state) in kinds.items():
            taken = in_fresh_process(partial(time_to_first_batch, folder, name, state))
            seconds.setdefault(kind, []).append(taken)
    return {"seconds": seconds, "state_bytes": max(len(json.dumps(state)) for state in states.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--sequences", type=int, default=10_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_short_documents(folder, arguments.documents)
        fill_store(
            open_dataset(folder, "").run, LmdbStore(store_folder(folder, RECIPE, GENERATIONS)), GENERATION_TOKENS
        )
        found = measure(folder, arguments.sequences, arguments.repeats)
    report(found, arguments.json)


def report(found: dict[str, Any], as_json: bool) -> None:
    """Medians as a table, and as one JSON object with the ratio of the slower resume at 99 % to a fresh start."""
    medians = {kind: statistics.median(seconds) for kind, seconds in found["seconds"].items()}
    table = Table("from", "first batch s", "to fresh")
    for kind, seconds in medians.items():
        table.add_row(kind, f"{seconds:.3f}", f"{seconds / medians['fresh']:.2f}")
    Console().print(table)
    if as_json:
        ratio = max(medians["99 %"], medians["99 %, seals"]) / medians["fresh"]
        print(json.dumps({"ratio": ratio, "state_bytes": found["state_bytes"], "seconds": medians}))


if __name__ == "__main__":
    main()
