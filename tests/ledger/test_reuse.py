"""What exists is read again while more is to come: told, warned of, and limited by ``max_reuse``."""

import logging
from itertools import pairwise

import pytest

from conftest import STITCH, generate, make_dataset, make_run
from streamdocs import Rephrase, Stretch
from streamdocs.errors import ConfigError, WaitTimeoutError


@pytest.fixture
def begun(small_corpus, store):
    """A run of which two of seven blocks exist."""
    run = make_run(small_corpus, STITCH)
    generate(run, store, blocks=2)
    return run


def reuse_until(dataset, window: int) -> float:
    return dataset.mixed_until((window + 1) * dataset.run.mixture.window)["reuse"]


def test_without_a_limit_nothing_changes(small_corpus, store, begun):
    dataset = make_dataset(small_corpus, store)
    other = make_dataset(small_corpus, store, name="limited", max_reuse=1000)
    for window in range(3):
        assert dataset.ledger.manifest(window).pack() == other.ledger.manifest(window).pack()


@pytest.mark.parametrize("recipe", [STITCH, Stretch(generations=2), Rephrase(generations=2)])
def test_a_window_waits_for_more(small_corpus, store, recipe):
    run = make_run(small_corpus, recipe)
    generate(run, store, blocks=2)
    dataset = make_dataset(small_corpus, store, recipe=recipe, max_reuse=3, wait_timeout=0.05)
    sealed = 0
    with pytest.raises(WaitTimeoutError, match=r"read \d+\.\d times on average, max_reuse is 3"):
        for window in range(60):
            dataset.ledger.manifest(window)
            sealed = window + 1
            assert reuse_until(dataset, window) <= 3
    assert dataset.ledger.count() == sealed < 60
    generate(run, store, first=2)
    dataset.ledger.manifest(60)  # all exists: nothing to wait for
    assert reuse_until(dataset, 60) > 0


def test_a_window_is_filled(small_corpus, store, begun):
    dataset = make_dataset(small_corpus, store, max_reuse=0.5, when_behind="web")
    manifests = [dataset.ledger.manifest(window) for window in range(6)]
    rows = len(dataset.run.stream().rows(0))
    assert manifests[-1].unit_rows == 0 and manifests[-1].after.filler_rows > rows
    assert reuse_until(dataset, 5) <= 0.5
    # What is left over of the last unit comes first again.
    generate(begun, store, first=2)
    after = dataset.ledger.manifest(6)
    assert after.unit_rows > 0 and after.before.skip == manifests[-1].after.skip
    for position in range(7 * 32):
        assert len(dataset[position]["input_ids"]) == 64


def test_much_reuse_is_warned_of_once_and_at_twice_as_much(small_corpus, store, begun, caplog):
    dataset = make_dataset(small_corpus, store)
    with caplog.at_level(logging.WARNING):
        for window in range(40 if reuse_until(dataset, 0) > 1 else 200):
            dataset.ledger.manifest(window)
    times = [record.args[1] for record in caplog.records if "on average" in record.message]
    assert times and times[0] > 16
    assert all(later >= 2 * earlier for earlier, later in pairwise(times))


def test_the_beginning_is_told_before_it_is_read(small_corpus, store):
    dataset = make_dataset(small_corpus, store)
    assert "nothing exists yet" in dataset.describe()
    generate(dataset.run, store, blocks=2)
    assert "times each of what exists now" in dataset.describe()
    generate(dataset.run, store, first=2)
    assert "first window" not in dataset.describe()


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_cannot_be(small_corpus, store, limit):
    with pytest.raises(ConfigError, match="max_reuse"):
        make_dataset(small_corpus, store, max_reuse=limit)
