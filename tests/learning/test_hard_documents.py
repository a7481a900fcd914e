"""Rounds that say more of hard documents: from reports to plans, records and batches."""

import asyncio
import shutil
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from conftest import generate, make_corpus, make_dataset, make_loop, make_run, make_texts
from streamdocs import ErrorRule, Rephrase, SynthLLM
from streamdocs._base.hashing import text_digest
from streamdocs.commands.generations import generations_of
from streamdocs.commands.inspection import segments_table
from streamdocs.errors import EngineError
from streamdocs.generations.encoding import decode_text
from streamdocs.generations.progress import read_watermark
from streamdocs.learning.hard import HardDocuments
from streamdocs.run import Run
from streamdocs.steering.reports import BINS, Reports
from streamdocs.store import LmdbStore
from streamdocs_server.engines.template import TemplateEngine
from students import LENGTH, WINDOW, lose

DOCUMENTS, CAP = 60, 4
RULE = ErrorRule(share="1/4", cap=CAP)
RECIPE = Rephrase(generations=4, per_round=1, web=False, errors=RULE)
PLAIN = replace(RECIPE, errors=None)
BLOCKS = -(-DOCUMENTS // 16)
MINE = 1, 0


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("hard"), make_texts(DOCUMENTS))


@pytest.fixture
def store(tmp_path) -> LmdbStore:
    return LmdbStore(tmp_path / "store")


def open_dataset(corpus, store, recipe=RECIPE, **more):
    return make_dataset(corpus, store, recipe=recipe, **{"synthetic_fraction": "1/2", **more})


def is_hard(document: int) -> bool:
    """The planted fifth."""
    return document % 5 == 0


def student(segment) -> float:
    return 5.0 if is_hard(segment.document) else 2.0


def begun(corpus, store, windows: int = 12, loss_of=student, **more):
    """A run whose first round was written, read and reported."""
    dataset = open_dataset(corpus, store, **more)
    generate(dataset.run, store, BLOCKS)
    lose(dataset, windows, loss_of)
    return dataset


def subjects(run: Run, round: int) -> Counter[int]:
    """How many items of a round are about each document."""
    return Counter(run.stream().scope.about(document, round)[0] for document in range(DOCUMENTS))


def texts_of(run: Run, store: LmdbStore, rounds: range) -> dict[tuple[int, int], list[str | None]]:
    scope, found = run.stream().scope, {}
    with store.read() as snapshot:
        for document in range(DOCUMENTS):
            for round in rounds:
                key = scope.key(document, round)
                found[document, round] = decode_text(key, snapshot.get("texts", key.digest)).texts
    return found


@pytest.mark.parametrize("judge", ["web", "itself"])
def test_a_planted_hard_fifth_gets_more_than_its_share_of_the_second_round(corpus, store, judge):
    dataset = begun(corpus, store, synthetic_fraction="1/2" if judge == "web" else 1)
    generate(dataset.run, store, 2 * BLOCKS, first=BLOCKS)
    found = subjects(dataset.run, 1)
    planted = [found[document] for document in range(DOCUMENTS) if is_hard(document)]
    assert sum(found.values()) == DOCUMENTS
    assert max(found.values()) <= CAP and min(planted) >= 1
    # Of 60 items a quarter is about hard documents beside their own, which are a fifth.
    assert sum(planted) - len(planted) >= 0.8 * DOCUMENTS // 4 and sum(planted) > 1.8 * len(planted)
    assert sum(found.values()) - len(found) == DOCUMENTS // 4 == RULE.repeats(DOCUMENTS)
    assert subjects(dataset.run, 0) == Counter(range(DOCUMENTS))
    plan = dataset.run.stream().scope.hard.of_round(1)
    assert (plan.first, plan.stop) == (0, 11) and plan.reports != bytes(16)
    # What is written of these is read, in the places of others, and explained.
    read = [segment for position in range(12 * WINDOW, 20 * WINDOW) for segment in dataset.explain(position)]
    repeated = {(each.about, each.document, each.key) for each in read if each.about is not None}
    assert repeated and all(each.generation == MINE for each in read if each.about is not None)
    scope = dataset.run.stream().scope
    for about, place, key in repeated:
        number = scope.about(place, 1)[1]
        digest = text_digest(scope.corpus.document_digest(about) + number.to_bytes(2, "big"))
        assert not is_hard(place) and scope.keyring.key(digest, 1).digest.hex() == key
    texts = texts_of(dataset.run, store, range(1, 2))
    for about, place, _ in repeated:
        (text,) = texts[place, 1]
        assert text and f"ocument {about}" in scope.text(place, 1) and scope.text(place, 1) == scope.sources.text(about)


def test_own_items_are_as_they_were(corpus, store, tmp_path):
    """Which texts there are beside those that are new: the same, under the same keys."""
    dataset = begun(corpus, store)
    generate(dataset.run, store, 2 * BLOCKS, first=BLOCKS)
    plain, other = make_run(corpus, PLAIN, fraction="1/2"), LmdbStore(tmp_path / "plain")
    generate(plain, other, 2 * BLOCKS)
    ours, theirs = (texts_of(*pair, range(2)) for pair in ((dataset.run, store), (plain, other)))
    scope = dataset.run.stream().scope
    own = [item for item in ours if not scope.about(*item)[1]]
    assert len(own) == 2 * DOCUMENTS - DOCUMENTS // 4
    assert all(ours[item] == theirs[item] and scope.key(*item) == plain.stream().scope.key(*item) for item in own)
    assert all(ours[item] != theirs[item] for item in ours if item not in own)


@pytest.mark.parametrize("silent", ["nothing", "nan", "foreign", "not sealed", "without excess"])
def test_without_reports_nothing_changes(corpus, store, tmp_path, silent):
    dataset = begun(corpus, store, 0 if silent != "without excess" else 4, lambda _: 3.0)
    run_id = bytes(16) if silent == "foreign" else dataset.run.id
    reports = Reports(store, run_id, WINDOW, LENGTH)
    losses = np.full((WINDOW, BINS), np.nan if silent == "nan" else 7.0, np.float32)
    for window in range(4) if silent in ("nan", "foreign", "not sealed") else ():
        reports.add(0, window, np.arange(WINDOW), losses)
        if silent != "not sealed":
            dataset.explain(window * WINDOW)
    generate(dataset.run, store, 2 * BLOCKS, first=BLOCKS)
    assert not len(dataset.run.stream().scope.hard.of_round(1).hard)
    plain, other = open_dataset(corpus, LmdbStore(tmp_path / "plain"), PLAIN), LmdbStore(tmp_path / "plain")
    generate(plain.run, other, BLOCKS)
    if silent != "not sealed":
        plain.explain(3 * WINDOW)
    generate(plain.run, other, 2 * BLOCKS, first=BLOCKS)
    for position in range(8 * WINDOW):
        ours, theirs = dataset[position], plain[position]
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for table in ("texts", "tokens"):
        with store.read() as one, other.read() as another:
            assert [*one.keys(table, b"")] == [*another.keys(table, b"")]


def serve(*loops) -> None:
    async def work() -> None:
        await asyncio.gather(*(loop.run() for loop in loops))

    asyncio.run(work())


class Mortal(TemplateEngine):
    """One that ends after so many answers."""

    def __init__(self, answers: int) -> None:
        super().__init__()
        self._left = answers

    async def generate(self, request, seed):
        self._left -= 1
        if self._left < 0:
            raise EngineError("out of power")
        return await super().generate(request, seed)


def test_a_plan_replays_whoever_goes_on(corpus, tmp_path):
    """Killed servers, two servers, and one that is there before: the same plans, texts and batches."""
    first = tmp_path / "first"
    begun(corpus, LmdbStore(first))
    found = []
    for way in ("one", "two", "killed"):
        shutil.copytree(first, tmp_path / way)
        store = LmdbStore(tmp_path / way)
        runs = [make_run(corpus, RECIPE, fraction="1/2") for _ in range(2)]
        if way == "killed":
            for answers in (7, 20, 1, 40):
                with pytest.raises(EngineError, match="out of power"):
                    serve(make_loop(make_run(corpus, RECIPE, fraction="1/2"), store, engine=Mortal(answers)))
                # What training reports meanwhile is for the rounds to come.
                lose(open_dataset(corpus, store), 1, lambda segment: segment.document % 7, first=12)
        names = {"one": ["a:1"], "two": ["a:1", "b:1"], "killed": ["c:1"]}[way]
        loops = [make_loop(run, store, name=name, max_lead=10**6) for run, name in zip(runs, names, strict=False)]
        serve(*loops)
        again = open_dataset(corpus, store)
        scope = again.run.stream().scope
        plan = scope.hard.of_round(1)
        with store.read() as snapshot:
            assert read_watermark(snapshot, scope) == 4 * DOCUMENTS
        assert subjects(again.run, 1) == Counter({**dict.fromkeys(range(DOCUMENTS), 0), **subjects(runs[0], 1)})
        found.append(
            (plan.pack(), texts_of(again.run, store, range(2)), [again[12 * WINDOW + n] for n in range(WINDOW)])
        )
    for packed, texts, batch in found[1:]:
        assert packed == found[0][0] and texts == found[0][1]
        if packed is found[1][0]:
            assert all(
                torch.equal(one[name], two[name]) for one, two in zip(batch, found[0][2], strict=True) for name in one
            )


def test_each_plan_is_made_of_what_came_since_the_one_before(corpus, store):
    dataset = begun(corpus, store, 5)
    hard = HardDocuments(dataset.run, dataset.run.stream(), store)
    first = hard.plan(1)
    assert hard.plan(0) is None and (first.first, first.stop) == (0, 4)
    assert hard.plan(1) is first
    lose(dataset, 4, lambda segment: 5.0 if segment.document % 5 == 1 else 2.0, first=5)
    other = HardDocuments(dataset.run, dataset.run.stream(), store)
    second = other.plan(2)
    assert (second.first, second.stop) == (4, 8)
    assert hard.plan(2) is second
    # With the window that was the newest at first, which had the old reports.
    repeats = dict(zip(second.hard.tolist(), second.counts.tolist(), strict=True))
    assert sum(count for document, count in repeats.items() if document % 5 == 1) > 0.6 * sum(repeats.values())
    third = hard.plan(3)
    assert (third.first, third.stop) == (8, 8) and not len(third.hard)


@pytest.mark.parametrize("restarted", [False, True])
def test_documents_that_grow_harder(corpus, store, restarted):
    recipe = replace(RECIPE, errors=replace(RULE, reference="earlier"))
    dataset = begun(corpus, store, 9, recipe=recipe)
    made = HardDocuments(dataset.run, dataset.run.stream(), store)
    made.plan(1)
    # Those that were hard stay so; others become nearly as hard.
    now = {0: 5.0, 1: 4.5}
    lose(dataset, 9, lambda segment: now.get(segment.document % 5, 2.0), first=9)
    made = HardDocuments(dataset.run, dataset.run.stream(), store) if restarted else made
    plan = made.plan(2)
    repeats = dict(zip(plan.hard.tolist(), plan.counts.tolist(), strict=True))
    assert sum(count for document, count in repeats.items() if document % 5 == 1) > 0.8 * sum(repeats.values())


def test_a_window_that_is_damaged_does_not_count(corpus, store, caplog):
    dataset = begun(corpus, store, 4)
    with store.read() as snapshot:
        keys = [key for key, _ in snapshot.scan("windows", dataset.ledgers["synthetic"].id)]
    store.replace({"windows": {keys[1]: b"nothing"}})
    fresh = make_run(corpus, RECIPE, fraction="1/2")
    plan = HardDocuments(fresh, fresh.stream(), store).plan(1)
    assert plan.stop == 3 and "window 1 does not count" in caplog.text


def test_items_about_one_document_ask_for_different_texts(corpus, store):
    """Also where programs write, whose steps have keys of their own."""
    recipe = SynthLLM(generations=2, per_round=1, level=2, rounds=2, errors=replace(RULE, share="1/2"))
    dataset = begun(corpus, store, 8, recipe=recipe)
    generate(dataset.run, store, 2 * BLOCKS, first=BLOCKS)
    scope, tasks = dataset.run.stream().scope, {}
    for document in range(DOCUMENTS):
        about, number = scope.about(document, 1)
        (task,) = scope.tasks(document, 1)
        assert (task.ordinal == recipe.tasks[1].ordinal) == (number == 0)
        assert (about, task.ordinal) not in tasks
        tasks[about, task.ordinal] = document
    assert len(scope.hard.of_round(1).hard)
    steps = Counter()
    with store.read() as snapshot:
        for document in range(DOCUMENTS):
            key = scope.key(document, 1)
            record = decode_text(key, snapshot.get("texts", key.digest))
            steps.update(record.steps[0][1:] if record.steps else [])
    assert steps and max(steps.values()) == 1  # but for the concepts, which all items about a document share


def test_training_says_it_by_itself(corpus, store):
    """From batches and losses of tokens, as a trainer has them, to the plan."""
    dataset = open_dataset(corpus, store, batch_size=8)
    generate(dataset.run, store, BLOCKS)
    for first in range(0, 10 * WINDOW, 8):
        rows = [dataset[position] for position in range(first, first + 8)]
        batch = {name: torch.stack([row[name] for row in rows]) for name in ("labels", "position", "stream")}
        losses = torch.full((8, LENGTH), 2.0)
        for row in range(8):
            for segment in dataset.explain(first + row):
                losses[row, segment.start : segment.stop] = student(segment)
        dataset.report(batch, losses[:, 1:])
    dataset._reporter.flush()
    plan = HardDocuments(dataset.run, dataset.run.stream(), store).plan(1)
    planted = sum(int(count) for document, count in zip(plan.hard, plan.counts, strict=True) if is_hard(document))
    assert planted >= 0.8 * plan.counts.sum() and plan.counts.sum() == DOCUMENTS // 4


def test_what_looks_at_a_run_says_what_an_item_is_about(corpus, store):
    dataset = begun(corpus, store, 6)
    generate(dataset.run, store, 2 * BLOCKS, first=BLOCKS)
    scope = dataset.run.stream().scope
    told = {(each.document, each.round): each.about for each in generations_of(store, scope)}
    for (document, round), about in told.items():
        assert about == (scope.about(document, round)[0] if scope.about(document, round)[1] else None)
    assert sum(about is not None for about in told.values()) == DOCUMENTS // 4
    every = ((position, dataset.explain(position)) for position in range(6 * WINDOW, 16 * WINDOW))
    position, found = next(each for each in every if any(segment.about is not None for segment in each[1]))
    console = Console(width=200, record=True, file=StringIO())
    console.print(segments_table(dataset, position, found))
    segment = next(each for each in found if each.about is not None)
    assert f"{segment.about} in the place of {segment.document}" in console.export_text()
