"""Whose losses are whose: token by token, in a plain loop, and as the library works it out."""

from collections import defaultdict

import numpy as np
import pytest

from conftest import generate, make_corpus, make_dataset, make_texts
from streamdocs import Rephrase, Stitch
from streamdocs.auditing.audit import audit, losses_of
from streamdocs.learning.attribution import NONE, attribute, by_author, by_document
from streamdocs.learning.reported import Reported
from streamdocs.store import LmdbStore
from students import BINS, LENGTH, WINDOW, bin_of, lose

#: Windows, of which the last are filled.
READ = 7
RECIPES = {
    "pairs": Rephrase(generations=2, per_round=1, web=False),
    "stitch": Stitch(generations=2, styles={"faq": 1, "table": 1}),
    "short": Rephrase(generations=1),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("attribution"), make_texts(40, most_words=60))


@pytest.fixture
def store(tmp_path) -> LmdbStore:
    return LmdbStore(tmp_path / "store")


@pytest.fixture(params=RECIPES)
def dataset(request, corpus, store):
    dataset = make_dataset(corpus, store, recipe=RECIPES[request.param], synthetic_fraction="2/3", when_behind="web")
    generate(dataset.run, store, 2)  # so that some is filled
    return dataset


def losses_of_windows(windows: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    losses = rng.uniform(1, 9, (windows, WINDOW, BINS)).astype(np.float32)
    losses[rng.random(losses.shape) < 0.2] = np.nan
    losses[:, 3] = np.nan
    return losses


def test_every_token_is_somebodys(dataset):
    """Against a loop over tokens: of each document and generation, the mean losses of the bins that they stand in."""
    losses = losses_of_windows(2)
    for window, lost in enumerate(losses):
        expected = defaultdict(lambda: [0, 0.0])
        for place in range(WINDOW):
            for segment in dataset.explain(window * WINDOW + place):
                for token in range(max(segment.start, 1), segment.stop):
                    if not np.isnan(loss := float(lost[place, bin_of(token)])):
                        round, number = segment.generation or (NONE, NONE)
                        found = expected[segment.stream, segment.kind, segment.document, round, number]
                        found[0] += 1
                        found[1] += loss
        reported = Reported(dataset.run, dataset.store)
        actual = defaultdict(lambda: [0, 0.0])
        for each in attribute(reported._assembler.window(window), lost):
            kinds = np.where(each.of_documents, "web", np.where(each.round != NONE, each.stream.recipe.kind, "mark"))
            columns = (kinds, each.document, each.round, each.number, each.tokens, each.sums)
            for *what, tokens, sums in zip(*(column.tolist() for column in columns), strict=True):
                found = actual[(each.stream.name, *what)]
                found[0] += tokens
                found[1] += sums
        assert actual.keys() == expected.keys()
        for key, (tokens, total) in expected.items():
            assert actual[key] == [tokens, pytest.approx(total)]
        assert len({kind for _, kind, *_ in expected}) == 3


def test_losses_by_author_add_up(dataset):
    lose(dataset, READ, lambda segment: {"web": 2.0, "mark": 1.0}.get(segment.kind, 4.0))
    reported = Reported(dataset.run, dataset.store)
    assert reported.windows() == [*range(READ)]
    found = by_author(stretches for window in range(READ) for stretches in reported.read(window)[1])
    assert sum(loss.tokens for _, loss in found) == READ * WINDOW * (LENGTH - 1)
    assert [author for author, _ in found] == sorted(author for author, _ in found)
    streams = {(author.stream, author.kind) for author, _ in found}
    assert {("web", "web"), ("synthetic", dataset.run.stream().recipe.kind), ("filler", "web")} <= streams
    recipe = dataset.run.stream().recipe
    told = {author.style for author, _ in found if author.kind == recipe.kind}
    assert told == ({"faq", "table"} if recipe.name == "stitch" else {recipe.name})
    assert {author.writer for author, _ in found if author.style} == {"template"}
    for author, loss in found:
        # A bin has its neighbours' losses, too; documents and generations are longer than one.
        assert abs(loss.mean - (2.0 if author.kind == "web" else 4.0)) < 1.0 or author.kind == "mark"
    # What audit tells is the same, of the windows that it is asked about.
    rows = losses_of(audit(dataset, 0, READ * WINDOW), dataset)
    assert [(row["stream"], row["style"], row["tokens"]) for row in rows] == [
        (author.stream, author.style, loss.tokens) for author, loss in found
    ]
    assert sum(row["tokens"] for row in losses_of(audit(dataset, WINDOW, 2 * WINDOW), dataset)) == WINDOW * (LENGTH - 1)


def test_what_was_not_reported_or_not_sealed_is_nothing(dataset):
    reported = Reported(dataset.run, dataset.store)
    assert reported.read(0) is None and losses_of_nothing(dataset) == []
    lose(dataset, 1, lambda segment: 1.0)
    reported._reports.add(0, 5, np.arange(WINDOW), np.ones((WINDOW, BINS), np.float32))
    assert reported.read(0) is not None
    assert reported.read(5) is None and reported._ledgers["synthetic"].count() == 1  # and nothing was sealed for it


def losses_of_nothing(dataset) -> list:
    dataset.explain(0)
    return losses_of(audit(dataset, 0, WINDOW), dataset)


def test_documents_are_added_up():
    documents, tokens, sums = by_document(np.array([7, 3, 7]), np.array([1, 2, 3]), np.array([1.0, 2.0, 3.5]))
    assert (documents.tolist(), tokens.tolist(), sums.tolist()) == ([3, 7], [2, 4], [2.0, 4.5])
