"""Reports in a store: by what was read, whoever read it and however often."""

import gc
import logging
import weakref
from fractions import Fraction

import numpy as np
import pytest
import torch

from streamdocs.errors import ConfigError
from streamdocs.schedule.mixture import Mixture, Share, plain_shares
from streamdocs.steering.controllers import Ucb
from streamdocs.steering.decisions import Decisions
from streamdocs.steering.reporter import Reporter
from streamdocs.steering.reports import HeldOut, Reports

WINDOW, LENGTH, BINS = 16, 32, 8
RUN = b"r" * 16


@pytest.fixture
def reports(store):
    return Reports(store, RUN, WINDOW, LENGTH)


def full(value: float, places: int = 1) -> np.ndarray:
    return np.full((places, BINS), value, np.float32)


def test_what_is_read_again_takes_the_place_of_what_was_said_before(reports):
    reports.add(0, 3, np.arange(8), full(1, 8))
    reports.add(1, 3, np.arange(8, 16), full(2, 8))
    assert reports.losses(3)[:, 0].tolist() == [1] * 8 + [2] * 8
    reports.add(0, 3, np.array([4, 9]), full(5, 2))  # by one rank alone, from the middle on
    assert reports.losses(3)[:, 0].tolist() == [1] * 4 + [5] + [1] * 3 + [2, 5] + [2] * 6
    assert reports.windows() == [3] and reports.losses(2) is None


def test_the_newest_counts_also_where_another_rank_said_it(reports):
    reports.add(5, 0, np.arange(4), full(1, 4))
    reports.add(2, 0, np.arange(2), full(9, 2))
    assert reports.losses(0)[:4, 0].tolist() == [9, 9, 1, 1] and np.isnan(reports.losses(0)[4:]).all()


def test_it_is_by_place_that_the_newest_counts(reports):
    reports.add(0, 0, np.array([5]), full(1))
    reports.add(1, 0, np.array([5]), full(2))
    reports.add(0, 0, np.array([6]), full(3))
    assert reports.losses(0)[5:7, 0].tolist() == [2, 3]


def test_runs_and_sizes_are_kept_apart(store, reports, caplog):
    reports.add(0, 0, np.arange(4), full(1, 4))
    assert Reports(store, b"s" * 16, WINDOW, LENGTH).losses(0) is None
    assert Reports(store, RUN, WINDOW, 4).losses(0) is None
    assert "a report of window 0 does not count (it is of sequences or windows of another size)" in caplog.text


@pytest.mark.parametrize("data", [b"", b"x" * 40, b"\x28\xb5\x2f\xfd\x20\x01\x09\x00\x00\xc0"])
def test_what_is_no_report_does_not_count_and_says_so(store, reports, data, caplog):
    store.update(b"report/" + RUN + bytes(8) + bytes(4), lambda _: data)
    store.update(b"held out/" + RUN + bytes(8), lambda _: data)
    assert reports.losses(0) is None and reports.held_out(-1, 100) == []
    assert "does not count" in caplog.text
    reports.add(0, 0, np.arange(4), full(1, 4))
    assert reports.losses(0)[0, 0] == 1


def test_evaluations_are_in_order_and_the_last_of_a_position_counts(reports):
    for position, loss in ((256, 3.0), (1, 5.0), (70_000, 2.0), (256, 4.0)):
        reports.add_held_out(position, loss)
    assert reports.held_out(-1, 70_000) == [HeldOut(1, 5.0), HeldOut(256, 4.0), HeldOut(70_000, 2.0)]
    assert reports.held_out(1, 69_999) == [HeldOut(256, 4.0)]


@pytest.fixture
def mixture():
    return Mixture(plain_shares(Fraction(1, 2)), LENGTH, WINDOW, 7)


def batch(mixture, positions) -> dict[str, torch.Tensor]:
    positions = torch.tensor(positions)
    stream = [mixture.plan(p // WINDOW).stream[p % WINDOW] for p in positions.tolist()]
    labels = torch.ones(len(positions), LENGTH, dtype=torch.int64)
    return {"position": positions, "stream": torch.tensor(stream), "labels": labels}


def test_token_losses_are_means_of_bins_of_what_is_to_be_learned(reports, mixture):
    reporter, said = Reporter(reports, mixture, 0, 1), batch(mixture, [3, 17])
    said["labels"][1, 8:12] = -100
    losses = torch.arange(2 * (LENGTH - 1), dtype=torch.float32).reshape(2, LENGTH - 1)
    reporter.add(**said, losses=losses)
    # Token 0 has no loss; bins have four tokens.
    expected = [[losses[row, max(4 * part - 1, 0) : 4 * part + 3].mean().item() for part in range(8)] for row in (0, 1)]
    assert np.allclose(reports.losses(0)[3], expected[0])
    found = reports.losses(1)[1]
    assert np.isnan(found[2]) and np.allclose(np.delete(found, 2), np.delete(expected[1], 2))


def test_losses_of_sequences_are_those_of_all_bins(reports, mixture):
    Reporter(reports, mixture, 0, 1).add(**batch(mixture, [1, 2]), losses=torch.tensor([3.0, 4.0]))
    assert reports.losses(0)[1].tolist() == [3.0] * 8 and reports.losses(0)[2].tolist() == [4.0] * 8


def test_what_is_said_waits_until_there_is_enough_of_it(reports, mixture):
    reporter = Reporter(reports, mixture, 0, 3)
    for position in range(0, 4, 2):
        reporter.add(**batch(mixture, [position, position + 1]), losses=torch.ones(2))
        assert reports.losses(0) is None
    reporter.add(**batch(mixture, [4, 5]), losses=torch.ones(2))
    assert (~np.isnan(reports.losses(0))).any(axis=1).sum() == 6
    reporter.add(**batch(mixture, [6, 7]), losses=torch.ones(2))
    reporter.held_out(8, 3.0)
    assert (~np.isnan(reports.losses(0))).any(axis=1).sum() == 8


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), 65504.0, -1.0])
def test_what_is_no_number_does_not_count(reports, mixture, caplog, wrong):
    reporter = Reporter(reports, mixture, 0, 1)
    reporter.add(**batch(mixture, [0, 1]), losses=torch.tensor([wrong, 2.0]))
    reporter.held_out(5, wrong)
    assert np.isnan(reports.losses(0)[0]).all() and reports.losses(0)[1, 0] == 2 and reports.held_out(-1, 99) == []
    assert "1 of 2 sequences are no numbers" in caplog.text and "position 5 is no number" in caplog.text


@pytest.fixture
def decisions(store):
    """Those of a run of two arms."""
    found = Decisions(Ucb(), Mixture([Share(name, True, Fraction(1, 2)) for name in "ab"], LENGTH, WINDOW, 7))
    found.attach(store, RUN)
    return found


@pytest.mark.parametrize("again", [64, 32])
def test_an_evaluation_whose_position_does_not_go_on_is_told_once(reports, decisions, caplog, again):
    reporter = Reporter(reports, decisions._mixture, 0, 1, decisions)
    decisions.make(3)
    for position in (32, 48, 64, 64, 32):  # while nothing is decided by them they may be corrected
        reporter.held_out(position, 3.0)
    assert not caplog.records and decisions.evaluated() == -1
    decisions.make(6)
    assert decisions.evaluated() == 64
    for _ in range(3):
        reporter.held_out(again, 2.0)
    (said,) = caplog.messages
    assert said.startswith(f"the held-out loss at position {again} was reported after that at 64: whatever was decided")
    assert reports.held_out(again - 1, again) == [HeldOut(again, 2.0)]  # it is kept, for what is not decided yet


@pytest.mark.parametrize("position", [65, 65 * LENGTH, 10**12])
def test_an_evaluation_to_which_no_run_came_is_told_once(reports, decisions, caplog, position):
    reporter = Reporter(reports, decisions._mixture, 0, 1, decisions)
    decisions.make(3)
    for each in (0, 1, 64, 64):
        reporter.held_out(each, 3.0)
    assert not caplog.records
    for each in (position, position, position + 1):
        reporter.held_out(each, 3.0)
    (said,) = caplog.messages
    assert said.startswith(
        f"the held-out loss at position {position} is of window {(position - 1) // WINDOW}, to which"
    )
    assert said.endswith("not tokens")


def test_of_some_batches_as_much_is_kept_at_a_time_as_of_all(reports, mixture):
    reporter = Reporter(reports, mixture, 0, 6)
    for position in (0, 6):
        assert reports.losses(0) is None
        reporter.add(**batch(mixture, [position, position + 1]), losses=torch.ones(2), every=3)
    assert (~np.isnan(reports.losses(0))).any(axis=1).sum() == 4
    reporter.add(**batch(mixture, [12]), losses=torch.ones(1), every=3)
    assert (~np.isnan(reports.losses(0))).any(axis=1).sum() == 4


def test_an_arm_of_which_nothing_is_reported_is_told_once(reports, decisions, caplog):
    for window in range(12):
        decisions.make(window)
        places = np.flatnonzero(decisions._mixture.plan(window).stream == 0)
        reports.add(0, window, places, full(3, len(places)))
    (said,) = caplog.messages
    assert said.startswith("window 5: in 4 windows nothing was reported of b's own text")


def test_where_nothing_is_decided_by_evaluations_their_order_is_free(reports, mixture, caplog):
    for position in (64, 32):
        Reporter(reports, mixture, 0, 1).held_out(position, 3.0)
    assert not caplog.records


def test_what_is_of_another_run_does_not_count(reports, mixture, caplog):
    said = batch(mixture, [0, 1, 2, 3])
    said["stream"] = 1 - said["stream"]
    Reporter(reports, mixture, 0, 1).add(**said, losses=torch.ones(4))
    assert reports.losses(0) is None and "window 0 is of another run" in caplog.text


@pytest.mark.parametrize("shape", [(3,), (2, LENGTH + 1), (2, LENGTH - 2), (2, LENGTH, 1), ()])
def test_losses_of_another_shape_are_refused(reports, mixture, shape):
    with pytest.raises(ConfigError, match="give one for each sequence"):
        Reporter(reports, mixture, 0, 1).add(**batch(mixture, [0, 1]), losses=torch.ones(shape))


def test_one_that_is_let_go_lets_go_of_its_store(reports, mixture, caplog):
    reporter = Reporter(reports, mixture, 0, 5)
    gone = weakref.ref(reporter)
    del reporter
    gc.collect()
    assert gone() is None and not [each for each in caplog.records if each.levelno > logging.INFO]
