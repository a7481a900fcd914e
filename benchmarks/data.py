"""What the benchmarks read: a corpus of random words, a store of random generations, and the same written out."""

import json
import shutil
from pathlib import Path

import numpy as np
from streaming import MDSWriter

from streamdocs import Generator, Recipe, StreamingMegadocDataset
from streamdocs.corpus import prepare_corpus
from streamdocs.ledger import token_key
from streamdocs.progress import Tally, block_key
from streamdocs.records import encode_tokens
from streamdocs.run import Run
from streamdocs.store import LmdbStore

GENERATOR = Generator(model="random")
WORDS = [
    f"{first}{last}" for first in ("ba", "ko", "lu", "mi", "ne", "ro", "su", "ta") for last in ("den", "far", "gil")
]


def make_corpus(folder: Path, documents: int, words: int) -> Path:
    """A corpus of documents of ``words`` random words on average."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "texts.jsonl").open("w") as file:
        for size in rng.integers(words // 2, words * 3 // 2, documents):
            file.write(json.dumps({"text": " ".join(rng.choice(WORDS, size))}) + "\n")
    prepare_corpus([str(folder / "texts.jsonl")], folder / "corpus", train_tokenizer=1000, progress=False)
    return folder / "corpus"


def fill_store(run: Run, store: LmdbStore, tokens: int) -> None:
    """Every generation of a run, ``tokens`` random tokens long on average; no texts."""
    assert run.scope is not None
    rng = np.random.default_rng(1)
    order, recipe = run.scope.generation_order, run.recipe
    noise = rng.integers(10, 900, tokens * 2).astype(run.corpus.dtype)
    for number in range(recipe.cycle * order.blocks_per_round):
        block = order.block(number)
        documents = order.documents_of(block).tolist()
        records = {}
        for document in documents:
            key = run.scope.keyring.key(run.corpus.document_digest(document), block.round)
            sizes = rng.integers(tokens // 2, tokens * 3 // 2, recipe.round_size)
            records[token_key(run.scope, key.digest)] = encode_tokens(key, [noise[:size] for size in sizes])
        tally = Tally(len(documents), len(documents) * recipe.round_size, len(documents) * recipe.round_size * tokens)
        store.add_all({"tokens": records, "blocks": {block_key(run.scope, number): tally.pack()}})


def make_dataset(
    folder: Path, recipe: Recipe, fraction: float, length: int, **options: object
) -> StreamingMegadocDataset:
    """A dataset over the benchmark's corpus and store."""
    return StreamingMegadocDataset(
        local=folder / "corpus",
        store=LmdbStore(folder / "store"),
        recipe=recipe,
        generator=GENERATOR,
        synthetic_fraction=fraction,
        max_seq_len=length,
        batch_size=8,
        **options,  # type: ignore[arg-type]
    )


def write_out(dataset: StreamingMegadocDataset, folder: Path, sequences: int) -> None:
    """The first sequences of a dataset as ready-made token samples: MDS shards, and one flat file."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    dtype = dataset.corpus.dtype.name
    writer = MDSWriter(out=str(folder / "mds"), columns={"tokens": f"ndarray:{dtype}"})
    with writer, (folder / "tokens.bin").open("wb") as flat:
        for position in range(sequences):
            tokens = dataset[position].tokens
            writer.write({"tokens": np.ascontiguousarray(tokens)})
            flat.write(tokens.tobytes())
