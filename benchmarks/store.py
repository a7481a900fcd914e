"""The store: how large it is against what is in it, whether it stays within its bound, and how fast it is.

    python benchmarks/store.py [--json] [--seconds 5] [--documents 512]

- ``token_bytes_ratio``: bytes of the pages that hold token records against the bare arrays of tokens; the largest of
  uint16 and uint32 tokens, 32 generations of some 700 tokens in rounds of 4 and of 8, written block by block as a
  server does. ``slack`` is the part of the pages that holds nothing of a record, in the same measure.
- ``text_bytes_ratio``: bytes of compressed text records against UTF-8 text, for rounds of 8 rephrases of reference
  texts (by the template engine, which repeats the document's sentences: a language model's are further apart);
  ``text_pages_ratio``: the pages that hold them.
- ``rounds_peak``: with endless rounds and a trainer that takes checkpoints, the most rounds that the store ever held
  above those that units draw on.
- ``puts_per_s``, ``gets_per_s``: records, put durably in blocks of 16, and got in random order.
- ``reader_share``: speed of a reader while a generator writes at full rate into its store, against its speed alone.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import chain, islice, product, repeat
from pathlib import Path
from typing import Any

import numpy as np
from data import fill_store, make_corpus, make_dataset, store_folder
from generator import make_text_corpus, run_file, serve
from processes import Beside, in_fresh_process
from rich.console import Console
from rich.table import Table as Grid
from streaming import StreamingDataLoader

from streamdocs import Stitch, StreamingMegadocDataset
from streamdocs.config import RunFile
from streamdocs.demo.run import reference_texts
from streamdocs.generations.encoding import TextRecord, encode_text, encode_tokens
from streamdocs.generations.records import token_keys
from streamdocs.recipes.keys import Key
from streamdocs.schedule.rounds import BLOCK
from streamdocs.store import LmdbStore, Table
from streamdocs_server.engines.template import TemplateEngine

GENERATIONS, GENERATION_TOKENS = 32, 700
DTYPES, ROUND_SIZES = ("uint16", "uint32"), (4, 8)
CYCLE, ROUNDS = 2, 8
READER = ("stitch", 8)


def token_records(dtype: str, per_round: int, documents: int) -> Iterator[tuple[bytes, bytes, int]]:
    """Key, record and bytes of bare tokens of every round of some documents."""
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 60_000, 1 << 16).astype(dtype)
    for _ in range(GENERATIONS // per_round * documents):
        sizes = rng.integers(GENERATION_TOKENS // 2, GENERATION_TOKENS * 3 // 2, per_round).tolist()
        begins = rng.integers(0, 60_000, per_round).tolist()
        bodies = [noise[begin : begin + size] for begin, size in zip(begins, sizes, strict=True)]
        key = Key(rng.bytes(16), rng.bytes(8))
        yield bytes(8) + key.digest, encode_tokens(key, bodies), sum(body.nbytes for body in bodies)


def put(folder: Path, table: Table, records: list[tuple[bytes, bytes, int]]) -> dict[str, float]:
    """Put records in blocks; bytes of them, of the store and of what is in them, and records a second."""
    store = LmdbStore(folder)
    before = store.size()
    started = time.perf_counter()
    for at in range(0, len(records), BLOCK):
        store.add_all({table: {key: record for key, record, _ in records[at : at + BLOCK]}})
    seconds = time.perf_counter() - started
    bare, packed = sum(size for *_, size in records), sum(len(record) for _, record, _ in records)
    return {
        "pages_ratio": (store.size() - before) / bare,
        "records_ratio": packed / bare,
        "slack": (store.size() - before - packed) / bare,
        "puts_per_s": len(records) / seconds,
    }


def get(folder: Path, table: Table, keys: list[bytes]) -> float:
    """Records a second, looked up in random order."""
    order = [keys[at] for at in np.random.default_rng(4).permutation(len(keys))]
    with LmdbStore(folder).read() as snapshot:
        started = time.perf_counter()
        found = snapshot.get_many(table, order)
        seconds = time.perf_counter() - started
    assert None not in found.buffers
    return len(order) / seconds


def measure_tokens(folder: Path, dtype: str, per_round: int, documents: int) -> dict[str, Any]:
    """One kind of token record."""
    records = list(token_records(dtype, per_round, documents))
    row = put(folder, "tokens", records)
    row["gets_per_s"] = get(folder, "tokens", [key for key, *_ in records])
    return {"record": f"tokens {dtype}", "per_round": per_round, **row}


def measure_texts(folder: Path, documents: int) -> dict[str, Any]:
    """Text records of rephrases of reference texts."""
    recipe, engine = Stitch(generations=GENERATIONS, per_round=8), TemplateEngine()
    records = []
    for number, text in enumerate(reference_texts()[:documents]):
        for round in range(recipe.cycle):
            (request,) = recipe.requests(text, [], round)
            answer = asyncio.run(engine.generate(request, seed=number * recipe.cycle + round))
            texts = [completion.text for completion in answer.completions]
            key = Key(np.random.default_rng([number, round]).bytes(16), bytes(8))
            record = encode_text(key, TextRecord(list(texts), [None] * len(texts)))
            records.append((key.digest, record, sum(len(each.encode()) for each in texts)))
    row = put(folder, "texts", records)
    row["gets_per_s"] = get(folder, "texts", [key for key, *_ in records])
    return {"record": "texts", "per_round": 8, **row}


def measure_rounds(folder: Path, seconds: float) -> dict[str, float]:
    """Rounds in the store while a trainer reads and takes checkpoints, and a server never stops."""
    corpus = make_text_corpus(folder, documents=64, characters=400)
    recipe = {"name": "stitch", "generations": CYCLE, "per_round": 1, "rounds": None}
    mix = {"synthetic_fraction": 0.75, "max_seq_len": 64, "window": 32}
    file = run_file(corpus, folder / "store", recipe, **mix)
    with Beside(serve, file):
        return in_fresh_process(partial(watch_rounds, file, seconds))


def watch_rounds(file: RunFile, seconds: float) -> dict[str, float]:
    """Train for a while; the most rounds above those that units draw on, and how many were begun."""
    dataset = StreamingMegadocDataset(**file.dataset_arguments(), batch_size=8)
    loader = StreamingDataLoader(dataset, batch_size=8)
    end, peak, newest = time.monotonic() + seconds, 0, 0
    for _ in chain.from_iterable(repeat(loader)):
        loader.state_dict()  # a checkpoint: what is before it may retire
        held = rounds_held(dataset, newest)
        newest = max([newest, *held])
        peak = max(peak, len(held) - CYCLE)
        if time.monotonic() > end:
            break
    return {"rounds_peak": peak, "rounds_written": newest + 1}


def rounds_held(dataset: StreamingMegadocDataset, newest: int) -> list[int]:
    """The rounds of which any record is in the store."""
    scope, corpus = dataset.run.stream().scope, dataset.corpus
    assert scope and dataset.store
    digests = corpus.document_digests(np.arange(len(corpus.documents)))
    held = []
    with dataset.store.read() as snapshot:
        for round in range(max(newest - 2 * CYCLE - 4, 0), newest + 3):
            keys = token_keys(scope, scope.keyring.digests(digests, [round] * len(digests)))
            if any(snapshot.get("tokens", key) is not None for key in keys):
                held.append(round)
    return held


def measure_reader(folder: Path, seconds: float) -> dict[str, float]:
    """Tokens a second of a reader alone and beside a generator that writes into its store, in turns."""
    make_corpus(folder, 500, 900)
    store = store_folder(folder, *READER)
    fill_store(make_dataset(folder, *READER, 2048).run, LmdbStore(store), GENERATION_TOKENS)
    texts = make_text_corpus(folder / "texts", documents=700, characters=3000)
    recipe = {"name": "stitch", "generations": 64, "per_round": 1}
    alone, beside, written = [], [], []
    for turn in range(3):
        alone.append(in_fresh_process(partial(read, folder, seconds)))
        before = LmdbStore(store).size()
        # Other keys each time, so that there is always something to write.
        with Beside(serve, run_file(texts, store, recipe | {"max_tokens": 1024 + turn})):
            beside.append(in_fresh_process(partial(read, folder, seconds)))
        written.append((LmdbStore(store).size() - before) / seconds / 1e6)
    speed, slowed = statistics.median(alone), statistics.median(beside)
    return {
        "reader_tokens_per_s": speed,
        "reader_beside_tokens_per_s": slowed,
        "reader_share": slowed / speed,
        "written_mb_per_s": statistics.median(written),
    }


def read(folder: Path, seconds: float) -> float:
    """Tokens a second of a loader without workers."""
    dataset = make_dataset(folder, *READER, 2048)
    batches = chain.from_iterable(repeat(StreamingDataLoader(dataset, batch_size=8)))
    next(batches)
    started, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < seconds:
        count += sum(batch["input_ids"].numel() for batch in islice(batches, 16))
    return count / passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement of speed; twice that for rounds")
    parser.add_argument("--documents", type=int, default=512, help="whose records are written")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = [
            in_fresh_process(partial(measure_tokens, folder / f"{dtype}-{size}", dtype, size, arguments.documents))
            for dtype, size in product(DTYPES, ROUND_SIZES)
        ]
        texts = in_fresh_process(partial(measure_texts, folder / "text-records", arguments.documents))
        found = {
            "token_bytes_ratio": max(row["pages_ratio"] for row in rows),
            "text_bytes_ratio": texts["records_ratio"],
            "text_pages_ratio": texts["pages_ratio"],
            **measure_rounds(folder / "rounds", 2 * arguments.seconds),
            **measure_reader(folder / "reader", arguments.seconds),
            "rows": [*rows, texts],
        }
    report(found)
    if arguments.json:
        print(json.dumps(found))


def report(found: dict[str, Any]) -> None:
    """Two tables: records by kind, and all other figures."""
    records = Grid("records", "per round", "pages to bare", "records to bare", "slack", "puts/s", "gets/s")
    for row in found["rows"]:
        ratios = [f"{row[name]:.3f}" for name in ("pages_ratio", "records_ratio", "slack")]
        speeds = [f"{row[name]:,.0f}" for name in ("puts_per_s", "gets_per_s")]
        records.add_row(row["record"], str(row["per_round"]), *ratios, *speeds)
    Console().print(records)
    others = Grid("figure", "value")
    for name, value in found.items():
        if name != "rows":
            others.add_row(name, f"{value:,.3f}" if value < 100 else f"{value:,.0f}")
    Console().print(others)


if __name__ == "__main__":
    main()
