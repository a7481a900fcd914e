"""Every state of every kind of run, restored in fresh processes while a generator writes and retires."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product

import pytest

from conftest import generate, ledger_of, make_corpus, make_texts
from exactness import Child, Setup, Split, differences, generate_for_ever, restored, uninterrupted, wait_until
from streamdocs import Rephrase, Stitch, Stretch, SynthLLM
from streamdocs.generations.records import StoreShelf
from streamdocs.ledger.manifest import Manifest, State
from streamdocs.store import LmdbStore

DOCUMENTS = 40
EXHAUSTIVE = "EXHAUSTIVE" in os.environ
SPLITS = [Split(ranks, workers) for ranks, workers in product((1, 2, 4), (0, 1, 3))]
ALL_SPLITS = [
    *SPLITS,
    Split(ranks=2, workers=1, nodes=2),
    Split(ranks=4, workers=0, nodes=2),
    Split(ranks=4, workers=1, replication=2),
    Split(ranks=2, workers=3, replication=2),
    Split(ranks=4, workers=0, nodes=2, replication=4),
]
#: Each number of ranks and of workers.
SOME = SPLITS if EXHAUSTIVE else [Split(), Split(ranks=2, workers=1), Split(ranks=4), Split(ranks=1, workers=3)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), make_texts(DOCUMENTS))


def growing(recipe) -> dict:
    """Rounds until all generations exist; a run waits for some of them on its way."""
    gates = {5: (2 * DOCUMENTS, 0)}
    return {"recipe": recipe(generations=4, per_round=1), "gates": gates, "steps": 10}


def retiring(recipe) -> dict:
    """Rounds without end. The last ten states are kept; before the last step a round has left the store."""
    gates = {2: (3 * DOCUMENTS, 0), 19: (0, 1)}
    endless = recipe(generations=2, per_round=1, rounds=None)
    return {"recipe": endless, "gates": gates, "steps": 20, "keep_checkpoints": 7}


def generate_some(setup: Setup, runs: list[str]) -> int:
    """Generate what all runs begin with; the runs then wait at the first of their gates. How many items that was."""
    run, store, blocks = setup.run(), setup.opened(), 2
    generate(run, store, blocks)
    # To wait for all generations of a document may take most of a round: each has an order of its own.
    while not can_begin(run, store, setup.when_behind):
        generate(run, store, blocks + 1, first=blocks)
        blocks += 1
    wait_until(lambda: all(ledger_of(setup.run(name), store).sealed(0) for name in runs))
    return run.stream().scope.generation_order.first_item(blocks)


def can_begin(run, store: LmdbStore, when_behind: str) -> bool:
    """Whether a first window can be sealed over what there is. Seals none."""
    run.stream().when_behind = when_behind
    sealer = ledger_of(run, store)._sealer
    with store.read() as snapshot:
        return isinstance(sealer.seal(State(), StoreShelf(snapshot, run.stream().scope, 0, deep=False)), Manifest)


def cases() -> list:
    """Every recipe with either kind of rounds once, every mode twice; with EXHAUSTIVE=1 all combinations."""
    axes = [Rephrase, Stitch, Stretch], [growing, retiring], ["wait", "reuse", "web"]
    every = product(*(list(enumerate(axis)) for axis in axes))
    wanted = [each for each in every if EXHAUSTIVE or sum(number for number, _ in each) % 3 == 0]
    found = [[value for _, value in each] for each in wanted]
    shared = found if EXHAUSTIVE else [[Stitch, growing, "reuse"], [Rephrase, retiring, "web"]]
    return [*([*each, "{}/store"] for each in found), *([*each, "file://{}/shared"] for each in shared)]


@pytest.mark.timeout(1200 if EXHAUSTIVE else 300)
@pytest.mark.parametrize(("recipe", "rounds", "when_behind", "store"), cases())
def test_every_state_of_every_split(corpus, tmp_path, recipe, rounds, when_behind, store):
    corpus = shutil.copytree(corpus, tmp_path / "corpus")  # caches are beside it
    setup = Setup(corpus, store.format(tmp_path), when_behind=when_behind, **rounds(recipe))
    with ThreadPoolExecutor(len(SOME)) as pool:  # all at once over one store, each with windows of its own
        futures = [pool.submit(uninterrupted, setup, split, str(split)) for split in SOME]
        items = generate_some(setup, [str(split) for split in SOME])
        with Child(generate_for_ever, setup, 6000):
            readings = [future.result() for future in futures]
            found = differences(readings, range(setup.steps - 10, setup.steps, 1 if EXHAUSTIVE else 5))
    assert found == []
    for reading in readings:
        assert len({str(batch) for batch in reading.batches}) == setup.steps
        assert all(len(state) <= 4096 for state in reading.states)
        ledger = ledger_of(setup.run(reading.name), setup.opened())
        assert (
            ledger.manifest(0).watermark <= items <= ledger.manifest(ledger.count() - 1).watermark
        )  # it was written meanwhile
        assert when_behind == "wait" or items < ledger.manifest(ledger.count() - 1).watermark


def many_streams(corpus) -> dict:
    """Four, each growing at its own pace."""
    return {
        "web": {"share": "1/4"},
        "megadocs": {"share": "3/8", "recipe": Stitch(generations=4, per_round=1)},
        "thoughts": {"share": "1/4", "recipe": Stretch(generations=2, per_round=1)},
        "rephrases": {"share": "1/8", "corpus": str(corpus), "recipe": Rephrase(generations=3, per_round=1)},
    }


def questions(corpus) -> dict:
    """One for each level, over the graph's editions, which are sealed while the first windows are read."""

    def about(level: int, **more) -> SynthLLM:
        return SynthLLM(level=level, generations=4, per_round=1, **more)

    return {
        "web": {"share": "1/4"},
        "documents": {"share": "1/4", "recipe": about(1, layout="append")},
        "concepts": {"share": "1/4", "recipe": about(2, layout="megadoc")},
        "walks": {"share": "1/4", "recipe": about(3, editions=("1/5", "1/2", 1), max_share=1)},
    }


WHEN_BEHIND = ["wait", "reuse", "web"]


@pytest.mark.parametrize(
    ("streams", "when_behind"),
    [*product([many_streams], WHEN_BEHIND), *product([questions], WHEN_BEHIND if EXHAUSTIVE else WHEN_BEHIND[1:2])],
)
def test_every_state_of_a_run_of_many_streams(corpus, tmp_path, streams, when_behind):
    some = SPLITS if EXHAUSTIVE else SOME[:3]
    gates = {4: (2 * DOCUMENTS, 0)}
    setup = Setup(corpus, tmp_path / "store", streams(corpus), when_behind, steps=10, gates=gates)
    with Child(generate_for_ever, setup, 8000), ThreadPoolExecutor(len(some)) as pool:
        readings = [pool.submit(uninterrupted, setup, split, str(split)) for split in some]
        found = differences([each.result() for each in readings], range(0, 10, 1 if EXHAUSTIVE else 5))
    assert found == []
    assert all(len(state) <= 4096 for each in readings for state in each.result().states)


@pytest.mark.parametrize("streams", [many_streams, questions])
def test_a_run_of_many_streams_for_any_number_of_ranks_and_workers(corpus, tmp_path, streams):
    setup = Setup(corpus, tmp_path / "store", streams(corpus), steps=8)
    with Child(generate_for_ever, setup, 8000):
        first = uninterrupted(setup, Split(), "")
        for split in ALL_SPLITS if EXHAUSTIVE else ALL_SPLITS[4::5]:
            other = uninterrupted(setup, split, "")
            assert (other.batches, other.states) == (first.batches, first.states), split


def test_the_helper_sees_a_difference(corpus, tmp_path):
    setup = Setup(corpus, tmp_path / "store", **growing(Stitch))
    with Child(generate_for_ever, setup, None):
        reading = uninterrupted(setup, Split(), "")
    shifted = replace(reading, states=reading.states[1:] + reading.states[:1])
    assert differences([reading], range(2)) == []
    assert differences([shifted], range(2)) == [f"{Split()}, step 0", f"{Split()}, step 1"]


def test_one_run_for_any_number_of_nodes_ranks_and_workers_that_changes_at_every_resume(corpus, tmp_path):
    splits = ALL_SPLITS if EXHAUSTIVE else ALL_SPLITS[::3]
    setup = Setup(corpus, tmp_path / "store", **{**growing(Stitch), "steps": 2 * len(splits)})
    with Child(generate_for_ever, setup, 6000):
        first = uninterrupted(setup, Split(), "")
        for split in splits:
            other = uninterrupted(setup, split, "")
            assert (other.batches, other.states) == (first.batches, first.states), split
        batches = []
        for split in splits:
            some, state = Child(restored, setup, split, "", first.states[len(batches)], 2).result()
            batches += some
            assert [state] == first.states[len(batches) :][:1] or split == splits[-1]
    assert batches == first.batches
