"""The whole loader against a straightforward reference, token for token."""

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import TEMPLATE, generate, make_dataset, make_texts
from reference import places, synthetic_rows, web_rows
from streamdocs import (
    Answer,
    Append,
    Correct,
    Judge,
    Rephrase,
    Stitch,
    StreamingMegadocDataset,
    Stretch,
    SynthLLM,
    Template,
    Think,
)
from streamdocs.corpus import prepare_corpus
from streamdocs.store import LmdbStore

LENGTH, WINDOW = 64, 32

RECIPES = [
    Stitch(generations=4, web="last"),
    Stitch(generations=4, web="first", per_round=2),
    Stitch(generations=3, web="none", per_round=1),
    Stretch(generations=4),
    Stretch(generations=6, per_round=2),
    Stretch(generations=5, cut_at="token"),
    Rephrase(generations=3),
    Rephrase(generations=4, per_round=1),
    Rephrase(generations=2, web=False),
    Append(generations=2, per_round=1),
    Think(generations=2),
    Think(generations=2, web="last", open_mark="<think>", close_mark="</think>"),
    Answer(generations=2, per_round=1),
    Correct(generations=1),
    Judge(generations=2),
    Template(generations=4, web=False),
    SynthLLM(generations=5),
    SynthLLM(generations=4, per_round=2, level=2, layout="megadoc"),
    SynthLLM(generations=2, level=2, layout="append", separator="\n"),
]


def check(dataset: StreamingMegadocDataset, store: LmdbStore, windows: int) -> set[tuple[str, bool]]:
    """Compare the first windows of a run with the reference; which streams were read, and whether as units."""
    run, length, position = dataset.run, dataset.run.mixture.max_seq_len, 0
    samples = list(dataset._samples(np.arange(windows * run.mixture.window)))
    manifests = {s.name: [dataset.ledgers[s.name].manifest(w) for w in range(windows)] for s in run.synthetic}
    rows = {}
    for stream in run.web:
        wanted = run.mixture.before(stream.number, windows * run.mixture.window)
        rows[stream.name] = [(row, False) for _, row in zip(range(wanted), web_rows(stream, length), strict=False)]
    for stream in run.synthetic:
        watermarks = [manifest.watermark for manifest in manifests[stream.name]]
        rows[stream.name] = list(synthetic_rows(stream, store, length, watermarks))
    seen = set()
    for position, (stream, number) in enumerate(places(run, windows)):
        sample, ((tokens, numbers), synthetic) = samples[position], rows[stream.name][number]
        assert (int(sample["stream"]), bool(sample["synthetic"])) == (stream.number, synthetic), position
        np.testing.assert_array_equal(sample["input_ids"].numpy(), tokens)
        np.testing.assert_array_equal(sample["labels"].numpy(), tokens)
        assert ("sequence_id" in sample) == dataset.block_cross_document_attention
        if dataset.block_cross_document_attention:
            np.testing.assert_array_equal(sample["sequence_id"].numpy(), np.array(numbers) - numbers[0])
        seen.add((stream.name, synthetic))
    return seen


@pytest.mark.parametrize("block_attention", [False, True])
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.name}-{recipe.generations}")
def test_a_run_of_two_streams(recipe, block_attention, small_corpus, store):
    options = {"when_behind": "wait", "block_cross_document_attention": block_attention, "window": WINDOW}
    dataset = make_dataset(small_corpus, store, recipe=recipe, max_seq_len=LENGTH, **options)
    generate(dataset.run, store)
    stream = dataset.run.stream()
    # More than a pass over the megadocs, and over the web documents.
    held = sum(int(dataset.ledger.manifest(0).units.tokens.mean()) for _ in range(recipe.generations)) * 100
    passes = max(4.4 * dataset.run.web[0].tokens, 1.5 * (held + recipe.sweeps * stream.filler.tokens)) / LENGTH
    assert len(check(dataset, store, int(passes) // WINDOW + 1)) == 2


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> tuple[Path, Path]:
    """Two corpora with one tokenizer, and columns."""
    folder = tmp_path_factory.mktemp("corpora")
    made = []
    for name, texts, options in (
        ("one", make_texts(60), {"train_tokenizer": 400}),
        ("two", make_texts(40, seed=3), {"tokenizer": str(folder / "one")}),
    ):
        rows = ({"text": text, "quality": number % 5, "kind": "ab"[number % 2]} for number, text in enumerate(texts))
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        options |= {"keep": ["quality", "kind"], "shard_bytes": 1 << 13, "progress": False}
        prepare_corpus([str(folder / f"{name}.jsonl")], folder / name, **options)
        made.append(folder / name)
    return tuple(made)


def three(other: Path) -> dict:
    return {
        "web": {"share": "1/4"},
        "megadocs": {"share": "1/2", "recipe": Stitch(generations=4, per_round=2)},
        "faq": {"share": "1/4", "corpus": other, "recipe": Rephrase(generations=2, per_round=1)},
    }


def five(other: Path) -> dict:
    return {
        "web": {"share": "0.2", "where": {"quality": {"min": 1}}},
        "lab": {"share": "0.1", "corpus": other},
        "megadocs": {"share": "0.35", "recipe": Stitch(generations=2, web="first"), "where": {"kind": "a"}},
        "thoughts": {"share": "0.2", "corpus": other, "recipe": Stretch(generations=3, per_round=1)},
        "rephrases": {"share": "0.15", "recipe": Rephrase(generations=3, per_round=1), "where": {"quality": [0, 1]}},
    }


def make(streams, corpora: tuple[Path, Path], store: LmdbStore, **options) -> StreamingMegadocDataset:
    defaults = {"generator": TEMPLATE, "max_seq_len": LENGTH, "window": 40, "shuffle_seed": 17, "batch_size": 4}
    named = {"local": corpora[0], "store": store, "streams": streams(corpora[1]), "wait_timeout": 5}
    return StreamingMegadocDataset(**{**defaults, **named, **options})


@pytest.mark.parametrize("block_attention", [False, True])
@pytest.mark.parametrize("when_behind", ["wait", "reuse", "web"])
@pytest.mark.parametrize("streams", [three, five], ids=["three", "five"])
def test_a_run_of_many_streams(streams, when_behind, block_attention, corpora, store):
    """While generations grow: what existed when a window was sealed is another in each."""
    options = {"when_behind": when_behind, "block_cross_document_attention": block_attention}
    dataset = make(streams, corpora, store, **options)
    behind = 0
    for window in range(12):
        generate(dataset.run, store, blocks=99 if when_behind == "wait" else 1 + window // 4)
        for ledger in dataset.ledgers.values():
            manifest = ledger.manifest(window)
            behind += manifest.watermark < ledger.scope.generation_order.total_items
    seen = check(dataset, store, 12)
    assert {name for name, _ in seen} == set(dataset.streams)
    assert when_behind == "wait" or behind > 8
    filled = {name for name, synthetic in seen if not synthetic} - {stream.name for stream in dataset.run.web}
    assert bool(filled) == (when_behind == "web")
