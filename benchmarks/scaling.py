"""What grows with the corpus: start-up, sealing, speed and memory, from ten thousand to ten million documents.

    python benchmarks/scaling.py [--json] [--repeats 3] [--documents 10000,100000,1000000,10000000]

The index of each corpus is as large as it says, and every document has an identity of its own. Their tokens are those
of ten thousand written by the real writer: further shards are hard links to that shard, so that what is compared is the
number of documents and not the page cache. The store says of every document that its generations exist, but holds only
those of the documents that the measured windows read, which are the first in the order of generation.

- ``index_read_s``: reading the index from the page cache, byte for byte: what start-up is compared with.
- ``start_s``: from the dataset's constructor to the first batch, imports apart. Part of it is ``shuffle_s``: the order
  of all documents in one pass of one stream, made once a pass. Start-up makes two, one for each stream.
- ``start_where_s``: the same over the documents that meet conditions on two columns, nearly all of them.
- ``seal_ms``: sealing a window of 2,048 sequences. ``tokens_per_s``: of batches after the first window, no workers.
- ``worker_uss_mb``, ``worker_pss_mb``: a DataLoader worker of two, its own pages and with its part of shared ones.
- ``cpu``: the same in processor time, the better witness on a machine that is shared.
- ``growth``: how many times each of these is that of the size before, ``documents`` among them.

Each measurement is a fresh process.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from data import fill_store, make_corpus, make_dataset, store_folder
from processes import in_fresh_process, memory_of
from rich.console import Console
from rich.table import Table
from streaming import StreamingDataLoader

from streamdocs import StreamingMegadocDataset
from streamdocs.corpus.columns.file import ColumnWriter
from streamdocs.corpus.files import (
    COLUMNS_FOLDER,
    DOCUMENTS_FILE,
    SHARDS_FILE,
    load_documents,
    load_index,
    save_index,
    split_digest,
)
from streamdocs.generations.progress import Tally, block_key
from streamdocs.schedule.rounds import BLOCK
from streamdocs.store import LmdbStore

SHARD, WORDS = 10_000, 500
RECIPE, GENERATIONS, GENERATION_TOKENS = "stitch", 4, 500
LENGTH, BATCH, WINDOWS = 2048, 8, 12
WHERE = {"quality": {"min": 1}, "language": ["de", "en", "fr"]}
COLUMNS = (
    "index_read_s",
    "index_read_cpu_s",
    "start_s",
    "start_cpu_s",
    "start_where_s",
    "start_where_cpu_s",
    "open_s",
    "shuffle_s",
    "seal_ms",
    "seal_cpu_ms",
    "tokens_per_s",
    "tokens_per_cpu_s",
    "worker_uss_mb",
    "worker_pss_mb",
)


def enlarge(corpus: Path, documents: int) -> None:
    """Make the one shard of a corpus many: the same tokens under other identities."""
    folder, index = corpus / "train", load_index(corpus)
    shards = json.loads((folder / SHARDS_FILE).read_text())
    (first,) = shards["shards"]
    rows = np.array(load_documents(corpus))
    copies = documents // len(rows)
    for copy in range(1, copies):
        name = f"copy.{copy:05}.mds"
        os.link(folder / first["raw_data"]["basename"], folder / name)
        shards["shards"].append({**first, "raw_data": {**first["raw_data"], "basename": name}})
    many = np.tile(rows, copies)
    identities = np.random.default_rng(2).bytes(many["digest"].nbytes)
    many["digest"] = np.frombuffer(identities, many["digest"].dtype)
    np.save(folder / DOCUMENTS_FILE, many)
    (folder / SHARDS_FILE).write_text(json.dumps(shards))
    split = index["splits"]["train"]
    split |= {name: copies * split[name] for name in ("documents", "tokens", "text_bytes")}
    split["columns"] = write_columns(folder / COLUMNS_FOLDER, documents)
    split["digest"] = split_digest(folder, index["tokenizer"]["digest"])
    save_index(corpus, index)


def write_columns(folder: Path, documents: int) -> dict[str, Any]:
    """The columns that ``WHERE`` is on."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    numbers, strings = rng.integers(0, 20, documents), rng.choice(["de", "en", "en", "fr"], documents)
    columns = {}
    for name, kind, values in (("quality", "number", numbers), ("language", "string", strings)):
        writer = ColumnWriter(folder / f"{name}.arrow")
        for value in values.tolist():
            writer.write(value)
        columns[name] = writer.finish(kind)
        writer.close()
    return columns


def prepare(folder: Path, documents: int) -> None:
    """A corpus, and a store that says that all its generations exist."""
    enlarge(make_corpus(folder, min(documents, SHARD), WORDS), documents)
    store = LmdbStore(store_folder(folder, RECIPE, GENERATIONS))
    for where in (None, WHERE):
        run = open_dataset(folder, where).run
        unit = GENERATIONS * GENERATION_TOKENS + run.web[0].tokens // documents
        read = (WINDOWS + 2) * run.mixture.synthetic_before(run.mixture.window) * LENGTH // unit
        scope = run.synthetic[0].scope
        blocks, total = 2 * read // BLOCK, scope.generation_order.blocks_per_round
        fill_store(run, store, GENERATION_TOKENS, min(blocks, total))
        generations = BLOCK * GENERATIONS
        tally = Tally(BLOCK, generations, generations * GENERATION_TOKENS).pack()
        for start in range(blocks, total, 1 << 17):
            chunk = range(start, min(start + (1 << 17), total))
            store.add("blocks", {block_key(scope, number): tally for number in chunk})


def open_dataset(folder: Path, where: dict[str, Any] | None = None) -> StreamingMegadocDataset:
    """The run; with ``where`` both of its streams read the documents that meet it."""
    return make_dataset(folder, RECIPE, GENERATIONS, LENGTH, batch_size=BATCH, where=where)


def time_index(folder: Path) -> dict[str, float]:
    started, cpu = time.perf_counter(), time.process_time()
    for name in (DOCUMENTS_FILE, SHARDS_FILE):
        (folder / "corpus/train" / name).read_bytes()
    return {"index_read_s": time.perf_counter() - started, "index_read_cpu_s": time.process_time() - cpu}


def time_where(folder: Path) -> dict[str, float]:
    """Start-up over chosen documents."""
    started, cpu = time.perf_counter(), time.process_time()
    next(iter(StreamingDataLoader(open_dataset(folder, WHERE), batch_size=BATCH)))
    return {"start_where_s": time.perf_counter() - started, "start_where_cpu_s": time.process_time() - cpu}


def time_reading(folder: Path) -> dict[str, float]:
    """Start-up, and the speed of some windows after the first."""
    started, cpu = time.perf_counter(), time.process_time()
    dataset = open_dataset(folder)
    opened = time.perf_counter()
    batches = iter(StreamingDataLoader(dataset, batch_size=BATCH))
    next(batches)
    begun, start_cpu = time.perf_counter(), time.process_time() - cpu
    count = dataset.run.mixture.window // BATCH
    for _ in islice(batches, count - 1):
        pass
    first, cpu = time.perf_counter(), time.process_time()
    for _ in islice(batches, WINDOWS * count):
        pass
    seconds, cpu = time.perf_counter() - first, time.process_time() - cpu
    tokens = WINDOWS * count * BATCH * LENGTH
    speeds = {"tokens_per_s": tokens / seconds, "tokens_per_cpu_s": tokens / cpu}
    return {"start_s": begun - started, "start_cpu_s": start_cpu, "open_s": opened - started, **speeds}


def time_sealing(folder: Path) -> dict[str, float]:
    """One shuffle of all documents, and sealing a window after the first."""
    dataset = open_dataset(folder)
    started = time.perf_counter()
    dataset.run.web[0].order.order(0)
    shuffled = time.perf_counter() - started
    assert dataset.ledger
    dataset.ledger.manifest(0)
    times = [(time.perf_counter(), time.process_time())]
    for window in range(1, WINDOWS):
        dataset.ledger.manifest(window)
        times.append((time.perf_counter(), time.process_time()))
    seal, seal_cpu = np.median(np.diff(times, axis=0), axis=0).tolist()
    return {"shuffle_s": shuffled, "seal_ms": seal * 1e3, "seal_cpu_ms": seal_cpu * 1e3}


def worker_memory(folder: Path) -> dict[str, float]:
    """Of the larger of two workers that have read some windows."""
    batches = iter(StreamingDataLoader(open_dataset(folder), batch_size=BATCH, num_workers=2))
    for _ in islice(batches, 1024):
        pass
    found = [memory_of(child.pid) for child in multiprocessing.active_children() if child.pid]
    return {"worker_uss_mb": max(each.uss for each in found), "worker_pss_mb": max(each.pss for each in found)}


def measure(documents: int, repeats: int) -> dict[str, Any]:
    """Medians for one size."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        in_fresh_process(partial(prepare, folder, documents))
        runs: list[dict[str, float]] = []
        for _ in range(repeats):
            parts = (time_index, time_reading, time_where, time_sealing, worker_memory)
            runs.append(
                {name: value for part in parts for name, value in in_fresh_process(partial(part, folder)).items()}
            )
        size = sum((folder / "corpus/train" / name).stat().st_size for name in (DOCUMENTS_FILE, SHARDS_FILE))
        shutil.rmtree(folder / "corpus")
    medians = {name: statistics.median(run[name] for run in runs) for name in COLUMNS}
    return {"documents": documents, "index_mb": size / 1e6, **medians}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--documents",
        type=lambda text: [int(each) for each in text.split(",")],
        default=[10**4, 10**5, 10**6, 10**7],
        help="sizes, multiples of 10,000 in rising order",
    )
    arguments = parser.parse_args()
    rows = [measure(documents, arguments.repeats) for documents in arguments.documents]
    growth = [
        {name: larger[name] / smaller[name] for name in ("documents", *COLUMNS)} for smaller, larger in pairwise(rows)
    ]
    report(rows, growth)
    if arguments.json:
        print(json.dumps({"rows": rows, "growth": growth}))


def report(rows: list[dict[str, Any]], growth: list[dict[str, float]]) -> None:
    """A table of the figures, each with its growth from the row before."""
    table = Table("figure", *(f"{row['documents']:,}" for row in rows))
    for name in ("index_mb", *COLUMNS):
        cells = []
        for row, grown in zip(rows, [{}, *growth], strict=True):
            value = f"{row[name] / 1e6:.0f} M" if name.startswith("tokens") else f"{row[name]:.3g}"
            cells.append(f"{value} (x{grown[name]:.1f})" if name in grown else value)
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
