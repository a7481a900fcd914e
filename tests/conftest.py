"""Real corpora and stores, small enough to make for every test."""

import asyncio
import multiprocessing
import os
import random
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
import yaml
from anyio import CapacityLimiter

from streamdocs import RunFile, Stitch, StreamingMegadocDataset
from streamdocs.corpus import prepare_corpus
from streamdocs.generations.encoding import TokenRecord, decode_tokens, encode_tokens
from streamdocs.generations.records import token_key
from streamdocs.ledger.ledger import Ledger
from streamdocs.recipes.keys import RULES, Generator
from streamdocs.recipes.programs.tasks import DEFAULT_WRITER
from streamdocs.run import Run
from streamdocs.store import LmdbStore, SharedStore
from streamdocs_server.engines.template import TemplateEngine
from streamdocs_server.engines.writer import Writer
from streamdocs_server.gates.gates import Gates
from streamdocs_server.work.desk import Desk
from streamdocs_server.work.lanes import make_lanes
from streamdocs_server.work.lanes.blocks import Blocks
from streamdocs_server.work.loop import GenerationLoop
from streamdocs_server.work.outcome import Outcome
from streamdocs_server.work.statistics import Statistics

# How long an example takes says something of the machine.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

NOBODY = 65534
TEMPLATE = Generator(model="template", revision="1")
STITCH = Stitch(generations=2)
#: Accepts whatever is text: tests of mixing should not depend on what the template engine writes.
OPEN_GATES = Gates(
    chat=False,
    min_ratio=None,
    max_ratio=None,
    min_thought=0,
    max_repeated_lines=1,
    max_repeated_ngrams=1,
    max_copied=1,
    same_language=False,
    min_shared=0,
    distinct=False,
)

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
    options = {"tokenizer": None, "train_tokenizer": 400, "shard_bytes": 1 << 14, "progress": False, **options}
    prepare_corpus([str(source)], out, **options)
    return out


def make_run(
    corpus: Path, recipe, *, seed: int = 17, fraction="0.75", length: int = 64, window: int = 32, by=TEMPLATE, **more
) -> Run:
    """A run as the dataset makes it, written ``by`` a generator; ``recipe`` may be a mapping of streams."""
    mix = {"max_seq_len": length, "window": window, "shuffle_seed": seed, **more}
    if isinstance(recipe, dict):
        return Run.of(RunFile(corpus=str(corpus), store="nowhere", streams=recipe, mix=mix), by)
    mix["synthetic_fraction"] = fraction
    return Run.of(RunFile(corpus=str(corpus), store="nowhere", recipe=recipe, mix=mix), by)


def make_loop(
    run: Run,
    store: LmdbStore,
    *,
    engine=None,
    desk=None,
    gates=OPEN_GATES,
    name="test:1",
    max_in_flight=64,
    max_lead=None,
    slots=None,
    when_behind=None,
    budget=None,
) -> GenerationLoop:
    """A server's loop."""
    counts = Statistics()
    for stream in run.synthetic:
        stream.when_behind = when_behind or stream.when_behind
    if desk is None:
        made, slots = engine or TemplateEngine(), slots or CapacityLimiter(max_in_flight)
        names = [name for name in run.writers if name not in (DEFAULT_WRITER, RULES)]
        desk = Desk([*Desk.of(made, slots).writers, *(Writer(name, lambda: made, slots) for name in names)])
    lanes = make_lanes(run, store, desk, gates, name, counts, max_lead=max_lead)
    return GenerationLoop(lanes, store, name, counts, desk=desk, budget=budget)


def ledger_of(run: Run, store: LmdbStore) -> Ledger:
    """That of a run's only synthetic stream, which never waits."""
    return Ledger(run, run.stream(), store, 0)


def generate(run: Run, store: LmdbStore, blocks: int | None = None, *, engine=None, gates=OPEN_GATES, first=0) -> None:
    """Resolve the first blocks of every stream, or all that there are."""

    async def work() -> None:
        loop = make_loop(run, store, engine=engine, gates=gates)
        loop.statistics.outcome = Outcome(patience=1 << 30)  # also of what is good for nothing
        for lane in loop.lanes:
            order, rounds = lane.order, lane.scope.recipe.total_rounds
            total = blocks if blocks is not None and lane.scope.is_read else rounds * order.blocks_per_round
            if rounds is not None:
                total = min(total, rounds * order.blocks_per_round)
            for number in range(first, total):
                lane.look()
                assert lane._is_planned(order.block(number).round)
                await Blocks(loop.desk, loop.statistics).begin(lane, number)
            if not lane.scope.is_read:
                lane.look()
                lane.keep_up()

    asyncio.run(work())


def forked(processes: int = 4) -> ProcessPoolExecutor:
    """Forks of this process that end when they are told to.

    Those of ``multiprocessing.Pool`` are ended by SIGTERM, for which Composer sets a handler wherever it is imported:
    one that comes just before a wait for the next task is seen only after it, which is never.
    """
    return ProcessPoolExecutor(processes, multiprocessing.get_context("fork"))


def make_dataset(corpus, store=None, **options) -> StreamingMegadocDataset:
    """The dataset of ``make_run``'s run of STITCH."""
    defaults = {
        "recipe": STITCH,
        "generator": TEMPLATE,
        "synthetic_fraction": 0.75 if store else 0,
        "max_seq_len": 64,
        "window": 32,
        "shuffle_seed": 17,
        "batch_size": 4,
        "wait_timeout": 5,
    }
    return StreamingMegadocDataset(local=corpus, store=store, **{**defaults, **options})


def read_tokens(snapshot, scope, document: int, round: int) -> TokenRecord:
    """The record of a round of a document."""
    key = scope.keyring.key(scope.corpus.document_digest(document), round)
    return decode_tokens(key, snapshot.get("tokens", token_key(scope, key.digest)))


def rewrite(dataset, document: int, round: int, change) -> None:
    """Change the tokens of a record; None of them deletes it."""
    scope, store = dataset.run.stream().scope, dataset.store
    key = scope.keyring.key(scope.corpus.document_digest(document), round)
    with store.read() as snapshot:
        record = read_tokens(snapshot, scope, document, round)
        tokens = [record.generation(number).copy() for number in range(len(record.lengths))]
    where, changed = token_key(scope, key.digest), change(tokens)
    store.delete("tokens", [where])
    if changed is not None:
        store.add("tokens", {where: encode_tokens(key, changed)})


def corrupt(dataset, document: int, round: int) -> None:
    """Flip a bit of the last token of a record."""
    scope, store = dataset.run.stream().scope, dataset.store
    where = token_key(scope, scope.keyring.key(scope.corpus.document_digest(document), round).digest)
    with store.read() as snapshot:
        record = bytearray(snapshot.get("tokens", where))
    record[-1] ^= 1
    store.delete("tokens", [where])
    store.add("tokens", {where: bytes(record)})


def write_run_file(path: Path, dataset: StreamingMegadocDataset, **mix) -> Path:
    """A run file of a dataset's run."""
    recipe, mixture = dataset.run.stream().recipe, dataset.run.mixture
    fields = {
        "corpus": str(dataset.corpus.local),
        "store": dataset.store.location,
        "recipe": {
            "name": recipe.name,
            "generations": recipe.generations,
            "per_round": recipe.per_round,
            **({"styles": dict(recipe.styles)} if recipe.styles else {}),
        },
        "generator": {"model": TEMPLATE.model, "revision": TEMPLATE.revision},
        "mix": {
            "synthetic_fraction": str(mixture.fraction),
            "max_seq_len": mixture.max_seq_len,
            "window": mixture.window,
            "shuffle_seed": mixture.seed,
            "when_behind": dataset.run.stream().when_behind,
            **mix,
        },
    }
    path.write_text(yaml.safe_dump(fields))
    return path


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take the right to write a folder and its files away."""
    for each in folder.iterdir():
        each.chmod(0o444)
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(0o755)


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder of a user for whom rights count; the test runs as this user."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory(prefix="streamdocs-nobody-") as folder:
        if root:
            os.chown(folder, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)


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


@pytest.fixture
def full_store(small_corpus, store) -> LmdbStore:
    """Everything is generated for STITCH on the small corpus."""
    generate(make_run(small_corpus, STITCH), store)
    return store


@pytest.fixture
def no_pace(monkeypatch):
    """A shared store appends at once what nobody waits for."""
    monkeypatch.setattr("streamdocs.store.shared.store._PACE", 0.0)


@pytest.fixture
def opened(tmp_path):
    """Opens a shared store in a folder on a node."""
    return lambda name="one", **options: SharedStore(f"file://{tmp_path}/shared", tmp_path / name, **options)
