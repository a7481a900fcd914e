"""Runs whose batches, manifests, keys and states were recorded once: nothing may change them silently.

A change on purpose raises ``FORMAT_VERSION``, says so in the changelog, and records anew:
``RECORD=1 pytest tests/test_recorded.py`` writes ``recorded/digests.json``.
"""

import json
import os
import re
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import xxhash
from streaming import StreamingDataLoader

from conftest import TEMPLATE, generate, make_texts
from streamdocs import Correct, Recipe, Rephrase, Stitch, StreamingMegadocDataset, Stretch, SynthLLM, Template, Think
from streamdocs.corpus import prepare_corpus
from streamdocs.run import ledger_id
from streamdocs.store import LmdbStore

FOLDER = Path(__file__).parent / "recorded"
DOCUMENTS, LENGTH, WINDOW, EPOCH, BATCHES = 60, 48, 20, 88, 16
#: So many windows are sealed before the rest is generated.
EARLY_WINDOWS = 2


#: What segments say since the first of these were recorded, and with it what follows: no part of the digests.
_SINCE = re.compile(r", stream='\w+', style=.*?, steps=\(.*?\)(?:, walk=None)?|, about=None")


@dataclass(frozen=True)
class Case:
    """A run, and how its batches of eight are dealt out.

    Args:
        recipe, options: The dataset's.
        blocks: Resolved when its first windows are sealed.
        ranks, workers: That read it.
    """

    recipe: Recipe
    blocks: int = 2
    ranks: int = 1
    workers: int = 0
    options: dict[str, Any] = field(default_factory=dict)


CASES = {
    "stitch, reuse": Case(Stitch(generations=4, per_round=1), workers=1),
    "stitch, wait": Case(Stitch(generations=2), 3, 2, 1, {"when_behind": "wait"}),
    "stitch, web": Case(Stitch(generations=4, per_round=2), 1, 1, 2, {"when_behind": "web"}),
    "stitch, document first": Case(Stitch(generations=3, web="first", separator=" | "), 2, 2, 2),
    "stitch, no document": Case(Stitch(generations=4, per_round=2, web="none"), 2, 4, 0),
    "stitch, endless": Case(Stitch(generations=2, per_round=1, rounds=5), 2, 2, 1, {"name": "endless"}),
    "stretch, reuse": Case(Stretch(generations=4, per_round=1), 5, 2, 0),
    "stretch, between tokens": Case(Stretch(generations=4, per_round=1, cut_at="token"), 5, 2, 0),
    "stretch, wait": Case(Stretch(generations=3), 4, 1, 2, {"when_behind": "wait", "synthetic_fraction": "2/3"}),
    "stretch, web": Case(
        Stretch(generations=6, per_round=3, open_mark="[", close_mark="]"), 1, 4, 1, {"when_behind": "web"}
    ),
    "rephrase, reuse": Case(Rephrase(generations=4, per_round=2), 2, 1, 2),
    "rephrase, wait": Case(Rephrase(generations=2, per_round=1), 4, 4, 1, {"when_behind": "wait"}),
    "rephrase, web": Case(Rephrase(generations=3, web=False), 1, 2, 2, {"when_behind": "web"}),
    "documents apart": Case(Stitch(generations=2), 2, 1, 1, {"block_cross_document_attention": True}),
    "no shuffle": Case(Stitch(generations=2), 2, 1, 1, {"shuffle": False, "shuffle_seed": 3}),
    "other shuffles": Case(
        Rephrase(generations=2), 2, 2, 0, {"shuffle_algo": "py1s", "num_canonical_nodes": 2, "shuffle_block_size": 16}
    ),
    "styles, reuse": Case(
        Stitch(generations=4, per_round=2, styles={"faq": 1, "answer": 1}, writers={"answer": "template"}), 2, 2, 1
    ),
    "programs, wait": Case(Correct(generations=2, per_round=1), 4, 1, 2, {"when_behind": "wait"}),
    "rules, endless": Case(Template(generations=4, per_round=2, rounds=3), 4, 2, 0),
    "questions of documents": Case(SynthLLM(generations=4, layout="append"), 3, 1, 2),
    "questions of concepts": Case(SynthLLM(generations=4, per_round=2, level=2), 3, 2, 1),
    "questions of walks": Case(SynthLLM(generations=4, level=3, layout="megadoc", max_share=1), 3, 2, 1),
    "document, then thoughts": Case(Think(generations=2, open_mark="[", close_mark="]"), 2, 1, 1),
    "all synthetic": Case(Stretch(generations=2), 2, 2, 1, {"synthetic_fraction": 1}),
    "web alone": Case(Stitch(generations=2), 0, 2, 2, {"synthetic_fraction": 0}),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """With a tokenizer that is kept, since the one that is trained on the same text may be another some day."""
    folder = tmp_path_factory.mktemp("recorded")
    texts = folder / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in make_texts(DOCUMENTS, seed=14)))
    options = {"tokenizer": str(FOLDER / "tokenizer.json"), "shard_bytes": 1 << 13, "progress": False}
    prepare_corpus([str(texts)], folder / "corpus", **options)
    return folder / "corpus"


@pytest.fixture(scope="module")
def recorded():
    """What was recorded, by case."""
    path = FOLDER / "digests.json"
    found = {} if "RECORD" in os.environ else json.loads(path.read_text())
    yield found
    if "RECORD" in os.environ:
        path.write_text(json.dumps(found, indent=1) + "\n")


@pytest.mark.parametrize("name", CASES)
def test_is_as_it_was_recorded(name, corpus, store, recorded, monkeypatch):
    found = read(CASES[name], corpus, store, monkeypatch)
    if "RECORD" in os.environ:
        recorded[name] = found
    for what, digest in recorded[name].items():
        assert found[what] == digest, what
    assert found.keys() == recorded[name].keys()


def test_the_cases_are_many(recorded):
    assert len(CASES) >= 12 and recorded.keys() == CASES.keys()
    assert {case.recipe.name for case in CASES.values()} == {
        "stitch",
        "stretch",
        "rephrase",
        "correct",
        "template",
        "think",
        "synthllm",
    }
    batches = [each["batches"] for each in recorded.values()]
    assert len(set(map(str, batches))) == len(batches)


def read(case: Case, corpus: Path, store: LmdbStore, monkeypatch) -> dict[str, Any]:
    """What is recorded of a case."""
    one = open_dataset(case, corpus, store, 1)
    if one.ledger:
        generate(one.run, store, case.blocks)
        for window in range(EARLY_WINDOWS):
            one[window * WINDOW]
        generate(one.run, store)
        one[8 * BATCHES]  # whether a state names a window that only other ranks read from is a matter of timing
    ranks = [read_rank(case, corpus, store, rank, monkeypatch) for rank in range(case.ranks)]
    states = ranks[0][1]
    batches = zip(*(rows for rows, _ in ranks), strict=True)
    found = {
        "fingerprint": one.run.fingerprint,
        "ledger": ledger_id(one.run.fingerprint, "").hex(),
        "states": digest(json.dumps(states)),
        "last state": states[-1],
        "batches": [digest("".join(chain(*rows))) for rows in batches],
        "origins": digest(_SINCE.sub("", repr([one.explain(p) for p in range(2 * WINDOW)]))),
    }
    if one.ledger:
        # The units of a manifest, and not what zstd makes of it, which its versions are free to change.
        manifests = [one.ledger.manifest(window) for window in range(8 * BATCHES // WINDOW)]
        found["scope"] = one.run.stream().scope.id.hex()
        found["keys"] = digest(repr(keys(one)))
        found["manifests"] = [digest(repr([each.before, each.units.listed(), each.after])) for each in manifests]
        found["watermarks"] = [each.watermark for each in manifests]
        found["store"] = digest(repr(contents(store)))
    return found


def open_dataset(case: Case, corpus: Path, store: LmdbStore, ranks: int) -> StreamingMegadocDataset:
    options = {"synthetic_fraction": 0.75, "shuffle_seed": 17, **case.options}
    return StreamingMegadocDataset(
        local=corpus,
        store=store,
        recipe=case.recipe,
        generator=TEMPLATE,
        max_seq_len=LENGTH,
        window=WINDOW,
        batch_size=8 // ranks,
        epoch_size=EPOCH,
        wait_timeout=5,
        **options,
    )


def read_rank(case: Case, corpus: Path, store: LmdbStore, rank: int, monkeypatch) -> tuple[list[list[str]], list[Any]]:
    """A digest of each row of each batch of a rank, and the state after each batch."""
    numbers = {"RANK": rank, "WORLD_SIZE": case.ranks, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": case.ranks}
    for variable, value in numbers.items():
        monkeypatch.setenv(variable, str(value))
    dataset = open_dataset(case, corpus, store, case.ranks)
    loader = StreamingDataLoader(dataset, batch_size=8 // case.ranks, num_workers=case.workers)
    batches, states = [], []
    while len(batches) < BATCHES:  # into the second epoch
        for _, batch in zip(range(BATCHES - len(batches)), loader, strict=False):
            columns = [batch[name].numpy() for name in sorted(batch) if name not in ("stream", "position")]
            batches.append(
                [digest(b"".join(column[row].tobytes() for column in columns)) for row in range(len(columns[0]))]
            )
            states.append(loader.state_dict())
    return batches, states


def keys(dataset: StreamingMegadocDataset) -> list[tuple[bytes, bytes]]:
    """Digest and check of every key of the first rounds."""
    scope = dataset.run.stream().scope
    rounds = range(scope.recipe.total_rounds)
    return [tuple(scope.key(document, round)) for round in rounds for document in range(DOCUMENTS)]


def contents(store: LmdbStore) -> list[tuple[bytes, bytes]]:
    """Texts as they were packed, tokens as they are."""
    with store.read() as snapshot:
        texts = [key for key, _ in snapshot.scan("texts", b"")]
        return [*texts, *((key, bytes(value)) for key, value in snapshot.scan("tokens", b""))]


def digest(value: str | bytes) -> str:
    return xxhash.xxh3_64_hexdigest(value)
