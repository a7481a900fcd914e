"""How long the pages of `streamdocs view` take to answer over a large store.

    python benchmarks/view.py [--json] [--documents 1000000] [--folder FOLDER]

Documents of some forty words, each with an identity of its own, two generations of each as texts and tokens, and sealed
windows of 2,048 sequences of 512 tokens. Corpus and store are made by the writers that a run uses, and stay where
``--folder`` names a place. Each page is asked for over HTTP, from the start of the command on:

- ``first_s``: until the first answer, which may be a page that says that it is being counted and looks again by itself.
- ``there_s``: until the page is there.
- ``later_s``: the slowest of five answers after that, each of another position, document, text or walk.
"""

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml
from data import GENERATOR, WORDS, make_corpus
from rich.console import Console
from rich.table import Table

from streamdocs import RunFile, StreamingMegadocDataset
from streamdocs._base.hashing import text_digest
from streamdocs.corpus.columns.values import Keeping
from streamdocs.corpus.files import load_index, save_index
from streamdocs.corpus.reader import Corpus
from streamdocs.corpus.write import SplitWriter
from streamdocs.generations.encoding import TextRecord, encode_text, encode_tokens
from streamdocs.generations.progress import Tally, block_key
from streamdocs.generations.records import token_key
from streamdocs.run import Run
from streamdocs.store import LmdbStore
from streamdocs.store import Table as StoreTable
from streamdocs.view.serve import View

LENGTH, GENERATIONS, WINDOWS, COMMIT = 512, 2, 24, 8192
SHARD_BYTES = 1 << 24
#: Texts that are told apart by their documents' numbers alone.
KINDS = 4096


def make(folder: Path, documents: int) -> Path:
    """The run file of a run over so many documents, all of which are written about."""
    make_large_corpus(folder, documents)
    run_file = folder / "run.yaml"
    fields = {
        "corpus": "corpus",
        "store": "store",
        "recipe": {"name": "stitch", "generations": GENERATIONS},
        "generator": {"model": GENERATOR.model},
        "mix": {"synthetic_fraction": 0.75, "max_seq_len": LENGTH},
    }
    run_file.write_text(yaml.safe_dump(fields))
    store = LmdbStore(folder / "store")
    fill(Run.of(RunFile.load(run_file), GENERATOR), store)
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=8)
    for window in range(WINDOWS):
        dataset.ledgers["synthetic"].manifest(window)
    return run_file


def make_large_corpus(folder: Path, documents: int) -> None:
    """A corpus of documents that differ in their first words."""
    corpus = make_corpus(folder, 100, 40)  # for its tokenizer
    index, rng = load_index(corpus), np.random.default_rng(0)
    tokenizer = Corpus(corpus).tokenizer
    texts = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(20, 60, KINDS)]
    tails = tokenizer.encode_batch([f" {text}" for text in texts])
    for path in (corpus / "train").iterdir():
        path.unlink()
    dtype = index["tokenizer"]["dtype"]
    writer = SplitWriter(corpus / "train", dtype, SHARD_BYTES, Keeping(()))
    for document in range(documents):
        head, kind = f"Document {document}", int(rng.integers(KINDS))
        text = f"{head} {texts[kind]}"
        tokens = np.concatenate([tokenizer.encode_batch([head])[0], tails[kind]]).astype(dtype)
        writer.write(text, tokens, text_digest(text.encode()), ())
    index["splits"]["train"] = writer.finish(index["tokenizer"]["digest"])
    save_index(corpus, index)


def fill(run: Run, store: LmdbStore) -> None:
    """All generations of the run's stream; one of a hundred is rejected."""
    scope, rng = run.stream().scope, np.random.default_rng(1)
    order = scope.generation_order
    texts = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(20, 60, KINDS)]
    tokens = run.corpus.tokenizer.encode_batch(texts)
    none = np.zeros(0, run.corpus.dtype)
    entries: dict[StoreTable, dict[bytes, bytes]] = {"texts": {}, "tokens": {}, "blocks": {}}
    for number in range(order.blocks_per_round):
        block, tally = order.block(number), Tally()
        for document in order.sources_of(block).tolist():
            key, kinds = scope.key(document, block.round), rng.integers(KINDS, size=GENERATIONS).tolist()
            good = [kind % 100 != 0 for kind in kinds]
            said = [texts[kind] if fine else None for kind, fine in zip(kinds, good, strict=True)]
            causes = [None if fine else "too short" for fine in good]
            bodies = [tokens[kind] if fine else none for kind, fine in zip(kinds, good, strict=True)]
            entries["texts"][key.digest] = encode_text(key, TextRecord(said, causes))
            entries["tokens"][token_key(scope, key.digest)] = encode_tokens(key, bodies)
            tally.items += 1
            tally.generations += sum(good)
            tally.tokens += sum(map(len, bodies))
            tally.rejected.update(cause for cause in causes if cause)
        entries["blocks"][block_key(scope, number)] = tally.pack()
        if len(entries["texts"]) >= COMMIT or number == order.blocks_per_round - 1:
            store.add_all(entries)
            entries = {"texts": {}, "tokens": {}, "blocks": {}}


def measure(run_file: Path, documents: int) -> dict[str, dict[str, float]]:
    """Seconds of each page."""
    rng = np.random.default_rng(2)
    last = WINDOWS * RunFile.load(run_file).mix.window

    def some(below: int) -> int:
        return int(rng.integers(below))

    pages = {
        "run": lambda: "",
        "position": lambda: f"position?at={some(last)}",
        "document": lambda: f"document?number={some(documents)}",
        "generation": lambda: f"generation?number={some(documents)}&round=0&which=0",
        "rejected": lambda: "rejected",
        "search": lambda: f"search?text={WORDS[some(len(WORDS))]}",
        "search, rare": lambda: f"search?where=documents&text=document+{some(documents)}",
    }
    view, found = View(run_file), {}
    threading.Thread(target=view.serve, daemon=True).start()
    with httpx.Client(timeout=60) as client:
        for name, address in pages.items():
            began, path = time.monotonic(), address()
            answer = client.get(view.url + path)
            first = time.monotonic() - began
            while answer.status_code == 202:
                time.sleep(0.05)
                answer = client.get(view.url + path)
            answer.raise_for_status()
            there, later = time.monotonic() - began, []
            for _ in range(5):
                began = time.monotonic()
                client.get(view.url + address()).raise_for_status()
                later.append(time.monotonic() - began)
            found[name] = {"first_s": first, "there_s": there, "later_s": max(later)}
    view.close()
    return found


def main() -> None:
    """Make the run, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where it is made, and taken from if it is there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        run_file = folder / "run.yaml"
        found = measure(run_file if run_file.exists() else make(folder, arguments.documents), arguments.documents)
    table = Table("page", "first s", "there s", "later s", title=f"{arguments.documents:,} documents")
    for name, seconds in found.items():
        table.add_row(name, *(f"{each:.3f}" for each in seconds.values()))
    Console().print(table)
    if arguments.json:
        slowest: dict[str, Any] = {what: max(each[what] for each in found.values()) for what in ("first_s", "later_s")}
        print(json.dumps({"documents": arguments.documents, **slowest, "pages": found}))


if __name__ == "__main__":
    main()
