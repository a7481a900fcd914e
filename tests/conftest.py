"""Real corpora and stores, small enough to make for every test."""

import asyncio
import random
from pathlib import Path

import pytest

from streamdocs.corpus import prepare_corpus
from streamdocs.corpus.reader import Corpus
from streamdocs.keys import Generator
from streamdocs.run import Run
from streamdocs.schedule import DocumentOrder, exact_fraction
from streamdocs.store import LmdbStore
from streamdocs_server.engines.template import TemplateEngine
from streamdocs_server.gates import Gates
from streamdocs_server.loop import GenerationLoop
from streamdocs_server.resolve import Resolver

TEMPLATE = Generator(model="template", revision="1")
#: Accepts whatever is text: tests of mixing should not depend on what the template engine writes.
OPEN_GATES = Gates(min_ratio=None, max_ratio=None, min_thought=0, max_repeated_lines=1, max_repeated_ngrams=1)

WORDS = "the of and river mountain city light under north old people water small first green stone when".split()  # noqa: SIM905


def make_texts(count: int, seed: int = 0, most_words: int = 120) -> list[str]:
    """Distinct texts of sentences, of very different lengths."""
    rng = random.Random(seed)
    texts = []
    for number in range(count):
        words = [f"Document {number}"] + [rng.choice(WORDS) for _ in range(rng.randint(3, most_words))]
        text = " ".join(words)
        texts.append(". ".join(text[i : i + 60].strip().capitalize() for i in range(0, len(text), 60)) + ".")
    return texts


def make_corpus(folder: Path, texts: list[str], **options) -> Path:
    """A corpus of ``texts`` with a tokenizer of its own."""
    import json

    source = folder / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    out = folder / "corpus"
    options = {"train_tokenizer": 400, "shard_bytes": 1 << 14, "progress": False, **options}
    prepare_corpus([str(source)], out, tokenizer=None, **options)
    return out


def make_run(
    corpus: Path, recipe, *, seed: int = 17, fraction="0.75", length: int = 64, window: int = 32, **more
) -> Run:
    """A run as the dataset makes it."""
    opened = Corpus(corpus)
    order = DocumentOrder(opened.shard_sizes, seed)
    return Run(
        opened,
        recipe,
        order,
        TEMPLATE,
        synthetic_fraction=exact_fraction(fraction),
        max_seq_len=length,
        window=window,
        **more,
    )


def make_loop(run: Run, store: LmdbStore, *, engine=None, gates=OPEN_GATES, name="test:1", **limits) -> GenerationLoop:
    """A server's loop."""
    resolver = Resolver(run.scope, store, engine or TemplateEngine(), gates, attempts=1)
    return GenerationLoop(run, store, resolver, name, **{"max_in_flight": 64, "max_lead": None, **limits})


def generate(run: Run, store: LmdbStore, blocks: int | None = None, *, engine=None, gates=OPEN_GATES, first=0) -> None:
    """Resolve the first blocks of a run, or all that there are."""

    async def work() -> None:
        loop = make_loop(run, store, engine=engine, gates=gates)
        order = run.scope.generation_order
        total = blocks if blocks is not None else run.recipe.total_rounds * order.blocks_per_round
        for number in range(first, total):
            await loop._resolve_block(number)

    asyncio.run(work())


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory) -> Path:
    """100 documents in several shards."""
    return make_corpus(tmp_path_factory.mktemp("small"), make_texts(100))


@pytest.fixture(scope="session")
def large_corpus(tmp_path_factory) -> Path:
    """1,000 documents in several shards."""
    return make_corpus(tmp_path_factory.mktemp("large"), make_texts(1000))


@pytest.fixture
def store(tmp_path) -> LmdbStore:
    """An empty store."""
    return LmdbStore(tmp_path / "store")
