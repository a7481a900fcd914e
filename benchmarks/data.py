"""What the benchmarks read: a corpus of random words, random generations, and the same written out in full."""

import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from streaming import MDSWriter, StreamingDataLoader

from streamdocs import Generator, Recipe, Rephrase, Stitch, StreamingMegadocDataset, Stretch, SynthLLM
from streamdocs.corpus import prepare_corpus
from streamdocs.generations.encoding import encode_tokens
from streamdocs.generations.progress import Tally, block_key
from streamdocs.generations.records import token_key
from streamdocs.run import Run
from streamdocs.store import LmdbStore, Table
from streamdocs.streams import SyntheticStream

GENERATOR = Generator(model="random")
RECIPES: dict[str, type[Recipe]] = {"stitch": Stitch, "rephrase": Rephrase, "stretch": Stretch}
#: The same, and those that only runs of one recipe have here.
_ALONE: dict[str, Callable[..., Recipe]] = {**RECIPES, "synthllm": partial(SynthLLM, level=3)}
FRACTION = 0.75
#: Streams of the run that has four: each recipe's a quarter.
SHARE = "1/4"
#: That walks are from, which nobody looks at who reads tokens.
_EDITION = bytes(16)
_COMMIT = 8192  # records in a transaction
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


def fill_store(run: Run, store: LmdbStore, tokens: int, blocks: int | None = None) -> None:
    """The first blocks of each stream (default all), generations of ``tokens`` random tokens on average; no texts."""
    noise = np.random.default_rng(1).integers(10, 900, tokens * 4).astype(run.corpus.dtype)
    for stream in run.synthetic:
        rng, size = np.random.default_rng(1), stream.recipe.round_size

        def random_bodies(_: int, rng: np.random.Generator = rng, size: int = size) -> list[np.ndarray]:
            sizes = rng.integers(tokens // 2, tokens * 3 // 2, size).tolist()
            begins = rng.integers(0, tokens * 2, size).tolist()
            return [noise[begin : begin + size] for begin, size in zip(begins, sizes, strict=True)]

        fill_stream(stream, store, random_bodies, blocks)


def fill_stream(
    stream: SyntheticStream, store: LmdbStore, bodies_of: Callable[[int], list[np.ndarray]], blocks: int | None = None
) -> None:
    """The first blocks of a stream (default all), with the tokens of a document's next generations; no texts."""
    scope, recipe = stream.scope, stream.recipe
    scope.attach(store)
    if scope.plans:
        for round in range(recipe.cycle):
            scope.plans.seal(round, _EDITION)
    order = scope.generation_order
    total = recipe.cycle * order.blocks_per_round if blocks is None else blocks
    entries: dict[Table, dict[bytes, bytes]] = {"tokens": {}, "blocks": {}}
    for number in range(total):
        block = order.block(number)
        documents = order.sources_of(block).tolist()
        written = 0
        for document in documents:
            key, bodies = scope.key(document, block.round), bodies_of(document)
            entries["tokens"][token_key(scope, key.digest)] = encode_tokens(key, bodies)
            written += sum(map(len, bodies))
        tally = Tally(len(documents), len(documents) * recipe.round_size, written)
        entries["blocks"][block_key(scope, number)] = tally.pack()
        if len(entries["tokens"]) >= _COMMIT or number == total - 1:
            store.add_all(entries)
            entries = {"tokens": {}, "blocks": {}}


def store_folder(folder: Path, recipe: str, generations: int) -> Path:
    """Where the generations of a recipe are."""
    return folder / f"store-{recipe}-{generations}"


def make_dataset(
    folder: Path,
    recipe: str,
    generations: int,
    length: int,
    *,
    batch_size: int = 8,
    name: str | None = None,
    where: dict[str, Any] | None = None,
    **options: object,
) -> StreamingMegadocDataset:
    """A dataset over the benchmark's corpus and store; recipe ``"web"`` reads web text alone, ``"four"`` four streams.

    It is a run of its own, so it seals its windows as it goes. ``where`` chooses the documents of a run of one recipe.
    """
    mixed: dict[str, object] = {}
    if recipe == "four":
        recipes = {each: make(generations=generations) for each, make in RECIPES.items()}
        synthetic = {each: {"share": SHARE, "recipe": made} for each, made in recipes.items()}
        mixed = {"streams": {"web": {"share": SHARE}, **synthetic}}
    elif where is not None:
        synthetic = {"share": FRACTION, "recipe": _ALONE[recipe](generations=generations), "where": where}
        mixed = {"streams": {"web": {"share": 1 - FRACTION, "where": where}, "chosen": synthetic}}
    elif recipe != "web":
        mixed = {"recipe": _ALONE[recipe](generations=generations), "synthetic_fraction": FRACTION}
    return StreamingMegadocDataset(
        local=folder / "corpus",
        store=LmdbStore(store_folder(folder, recipe, generations)) if mixed else None,
        generator=GENERATOR,
        max_seq_len=length,
        batch_size=batch_size,
        name=str(time.time_ns()) if name is None else name,
        **mixed,  # type: ignore[arg-type]
        **options,  # type: ignore[arg-type]
    )


def all_sequences(folder: Path, generations: int, length: int) -> int:
    """Sequences that hold the corpus and every generation once."""
    dataset = make_dataset(folder, "stitch", generations, length)
    store = LmdbStore(store_folder(folder, "stitch", generations))
    with store.read() as snapshot:
        tallies = [Tally.unpack(value) for _, value in snapshot.scan("blocks", b"")]
    tokens = dataset.run.web[0].tokens + sum(tally.tokens for tally in tallies)
    return tokens // length // 8 * 8


def write_out(folder: Path, generations: int, lengths: list[int], sequences: int) -> None:
    """The first sequences of the stitched mixture as ready-made token samples of each length.

    As MDS shards (``mds-LENGTH``), Arrow (``hf-LENGTH``), LitData chunks (``litdata``) and a flat file
    (``tokens.bin``); ``sequences`` are of the first length, and the others are the same tokens cut anew.
    """
    dataset = make_dataset(folder, "stitch", generations, lengths[0], epoch_size=sequences)
    dtype = dataset.corpus.dtype
    batches = (batch["input_ids"].numpy() for batch in StreamingDataLoader(dataset, batch_size=8))
    tokens = np.concatenate([batch.astype(dtype) for batch in batches]).ravel()
    tokens.tofile(folder / "tokens.bin")
    for length in lengths:
        samples = tokens[: len(tokens) // length * length].reshape(-1, length)
        shutil.rmtree(folder / f"mds-{length}", ignore_errors=True)
        with MDSWriter(out=str(folder / f"mds-{length}"), columns={"tokens": f"ndarray:{dtype.name}:{length}"}) as out:
            for sample in samples:
                out.write({"tokens": sample})
        _write_arrow(samples, folder / f"hf-{length}")
    _write_litdata(folder, tokens, max(lengths))


def _write_arrow(samples: np.ndarray, folder: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415
    from datasets import Dataset  # noqa: PLC0415

    column = pa.FixedSizeListArray.from_arrays(pa.array(samples.ravel()), samples.shape[1])
    Dataset(pa.table({"tokens": column})).save_to_disk(str(folder))


def _write_litdata(folder: Path, tokens: np.ndarray, block: int) -> None:
    from litdata import TokensLoader, optimize  # noqa: PLC0415

    optimize(
        fn=torch.from_numpy,
        inputs=np.array_split(tokens, max(len(tokens) // (block * 512), 1)),
        output_dir=str(folder / "litdata"),
        chunk_size=block * 512,
        item_loader=TokensLoader(),
        num_workers=1,
    )
