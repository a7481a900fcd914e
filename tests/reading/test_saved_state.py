"""A state from a checkpoint is JSON from outside: it is a run's own, or refused by an error that says why."""

import json
import logging

import numpy as np
import pytest

from conftest import make_dataset
from streamdocs.errors import FingerprintError, StoreError

NAN, INFINITE = float("nan"), float("inf")
DIGEST = "0" * 32


@pytest.fixture
def state(small_corpus, full_store):
    dataset = make_dataset(small_corpus, full_store)
    samples = iter(dataset)
    for _ in range(40):
        next(samples)
    return dataset.state_dict(40, True)


@pytest.fixture
def load(small_corpus, full_store):
    return lambda state, **options: make_dataset(small_corpus, full_store, **options).load_state_dict(state)


def test_states_load_as_they_are_and_after_json(state, load, small_corpus, full_store):
    load(state)
    load(json.loads(json.dumps(state)))
    load({**state, "epoch": np.int64(state["epoch"]), "position": np.uint32(state["position"])})
    web = make_dataset(small_corpus, synthetic_fraction=0)
    read = web.state_dict(8, True)
    assert "sealed" not in read
    web.load_state_dict(read)


@pytest.mark.parametrize("value", [None, [], "x", 1, 1.0, True, b"{}", [("epoch", 1)]])
def test_what_is_no_mapping_is_refused(load, value):
    with pytest.raises(FingerprintError, match="the state is none of a streamdocs run, or damaged"):
        load(value)


@pytest.mark.parametrize("value", [-1, 1 << 64, 10**400, 1.5, None, []])
def test_a_fingerprint_of_other_values_is_refused(load, state, value):
    with pytest.raises(FingerprintError, match=r"fingerprint\.window"):
        load({**state, "fingerprint": {**state["fingerprint"], "window": value}})


@pytest.mark.parametrize("field", ["epoch", "sample_in_epoch", "position"])
@pytest.mark.parametrize(
    "value", [None, True, -1, 1 << 48, 1 << 63, 10**400, 0.0, 1.5, NAN, INFINITE, "", "1", [1], {}, np.float64(1)]
)
def test_numbers_that_are_none_are_refused_by_name(load, state, field, value):
    with pytest.raises(FingerprintError, match=field):
        load({**state, field: value})


@pytest.mark.parametrize("field", ["epoch", "sample_in_epoch", "position", "fingerprint"])
def test_a_missing_field_is_named(load, state, field):
    with pytest.raises(FingerprintError, match=f"{field}: is missing"):
        load({name: value for name, value in state.items() if name != field})


@pytest.mark.parametrize(
    "numbers",
    [(0, 0, 40), (0, 40, 39), (0, 40, 41), (1, 40, 40), (3, 0, 2), (1, 0, 0), (0, 1 << 47, 5), (5, 1, 0)],
)
def test_numbers_that_contradict_each_other_are_refused(load, state, numbers):
    changed = dict(zip(("epoch", "sample_in_epoch", "position"), numbers, strict=True))
    with pytest.raises(FingerprintError, match=r"position .* contradicts sample"):
        load({**state, **changed})


@pytest.mark.parametrize("sealed", [5, b"x", "x", DIGEST[:-1], DIGEST.upper()[:-1] + "A", DIGEST + "\n", NAN, [], {}])
def test_a_seal_that_is_no_digest_is_refused(load, state, sealed):
    with pytest.raises(FingerprintError, match="sealed"):
        load({**state, "sealed": sealed})


def test_a_state_that_does_not_say_what_was_sealed_is_refused_at_once(load, state):
    without = {name: value for name, value in state.items() if name != "sealed"}
    for damaged in (without, {**state, "sealed": None}):
        with pytest.raises(FingerprintError, match="does not say which sealed window"):
            load(damaged)


def test_a_state_without_a_seal_needs_the_window_before_it(load, state):
    """A rank may save one before the seal of a window that others read from is there; at 2**40 nobody ever read."""
    load({**state, "sealed": ""})
    with pytest.raises(StoreError, match="was never sealed"):
        load({**state, "sealed": "", "sample_in_epoch": 1 << 40, "position": 1 << 40})


@pytest.mark.parametrize("fingerprint", [None, [], "x", {"corpus": None}, {"corpus": [1]}, {1: "x"}, {"window": NAN}])
def test_a_fingerprint_that_is_none_is_refused(load, state, fingerprint):
    with pytest.raises(FingerprintError, match="fingerprint"):
        load({**state, "fingerprint": fingerprint})


def test_epochs_of_another_length_are_told(load, state, caplog, small_corpus, full_store):
    caplog.set_level(logging.WARNING)
    web = make_dataset(small_corpus, synthetic_fraction=0, epoch_size=8)
    for _ in range(2):
        list(web)
    make_dataset(small_corpus, synthetic_fraction=0).load_state_dict(web.state_dict(4, True))
    assert "epoch 1 began at position 8 and not at" in caplog.text
