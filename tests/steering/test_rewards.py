"""Rewards, and how windows are dealt by shares."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdocs.steering.controllers import Arms, Ucb
from streamdocs.steering.decider import LATEST, Decider
from streamdocs.steering.decision import PARTS, Decision, deal, in_parts
from streamdocs.steering.reports import HeldOut
from streamdocs.steering.rewards import Lost, Rewards

WINDOW = 64


class Even:
    """Of two arms that have a quarter of all sequences each, or what they had between positions."""

    def __init__(self, had=()) -> None:
        self._had = dict(had)

    def read(self, position):
        had = [each for stop, each in self._had.items() if stop <= position]
        return np.sum(had, axis=0) if self._had else np.full(2, position / 4)

    def due(self, start, stop):
        return self.read(stop) - self.read(start)


EVEN = Even()


def lost(window: int, losses, dealt=(16, 16)) -> Lost:
    return Lost(window, tuple(loss * 8 for loss in losses), (8, 8), dealt)


@pytest.mark.parametrize("by", ["progress", "loss"])
def test_what_is_always_the_same_is_one_half(by):
    rewards, state = Rewards(by, WINDOW), {}
    for window in range(20):
        state, (seen,) = rewards.seen(state, [lost(window, (4.0, 4.0))], [], EVEN)
        assert set(seen.rewards[~np.isnan(seen.rewards)]) <= {0.5}


@given(scale=st.floats(1e-3, 1e3))
def test_no_unit_of_the_loss_changes_a_reward(scale):
    def found(by):
        rewards, state, all_seen = Rewards(by, WINDOW), {}, []
        for window in range(12):
            losses = (scale * 5 / (window + 1), scale * (5 + math.sin(window)))
            state, seen = rewards.seen(state, [lost(window, losses)], [], EVEN)
            all_seen += seen
        return np.array([each.rewards for each in all_seen])

    unit, scale = scale, 1.0
    plain = [found("progress"), found("loss")]
    scale = unit
    for ours, theirs in zip(plain, [found("progress"), found("loss")], strict=True):
        assert np.allclose(ours, theirs, equal_nan=True, atol=1e-6)


def test_an_arm_that_learns_faster_has_the_higher_reward():
    rewards, state, total = Rewards("progress", WINDOW), {}, np.zeros(2)
    for window in range(30):
        state, (seen,) = rewards.seen(state, [lost(window, (5 * (window + 1) ** -0.3, 5.0))], [], EVEN)
        total += np.nan_to_num(seen.rewards)
    assert total[0] > total[1] + 1


@pytest.mark.parametrize("far", [50.0, 900.0])
@pytest.mark.parametrize("by", ["progress", "loss"])
def test_a_loss_that_is_far_off_counts_once(by, far):
    def found(at: int) -> np.ndarray:
        rewards, state, all_seen = Rewards(by, WINDOW), {}, []
        for window in range(40):
            losses = (3 * (window + 1) ** -0.3, far if window == at else 3 * (window + 1) ** -0.1)
            state, seen = rewards.seen(state, [lost(window, losses)], [], EVEN)
            all_seen += seen
        assert len(str(state)) < 2000  # it is sealed with each decision
        return np.array([each.rewards for each in all_seen])

    plain, off = found(-1), found(12)
    assert np.array_equal(off[:12], plain[:12], equal_nan=True) and off[12, 1] == (by == "loss")
    assert off[12, 0] == plain[12, 0]  # it is judged by what was before
    difference = np.abs(off - plain)[13:].max(axis=1)
    assert difference[:2].max() < 0.1 and difference[2:].max() < 0.03  # while it is one of the last three losses
    assert np.abs(plain[13:, 0] - plain[13:, 1]).min() > 0.07  # which is more than that
    early = found(1)  # when next to nothing is known
    assert np.abs(early[8:] - plain[8:]).max() < 0.06


def test_what_was_not_reported_was_read_nevertheless():
    """Windows 1 to 8 are not reported, and of window 9 one arm alone; the arm has come ten windows further by then."""
    rewards = Rewards("progress", WINDOW)
    state, (first,) = rewards.seen({}, [lost(0, (5.0, 5.0))], [], EVEN)
    state, (later,) = rewards.seen(state, [Lost(9, (32.0, 0.0), (8, 0), (16, 16))], [], EVEN)
    assert first.read.tolist() == [16, 16] and later.read.tolist() == [160, 160]
    assert state["means"] == pytest.approx([1 / math.log((160 + WINDOW) / (16 + WINDOW))])
    assert state["read"] == [160, 16]  # of the other arm nothing is known since
    state, (last,) = rewards.seen(state, [lost(4, (4.0, 3.0))], [], EVEN)  # late
    assert last.read.tolist() == [80, 80] and np.isnan(last.rewards).tolist() == [True, False]
    assert state["means"][1:] == pytest.approx([2 / math.log((80 + WINDOW) / (16 + WINDOW))])
    assert state["read"] == [160, 80]


def test_an_evaluation_judges_all_that_was_read_since_the_one_before():
    rewards = Rewards("auto", WINDOW)
    dealt = Even({64: [32.0, 32.0], 128: [30.0, 10.0], 192: [10.0, 30.0]})
    state, seen = rewards.seen({}, [], [HeldOut(64, 5.0)], dealt)
    assert seen == []
    state, (first,) = rewards.seen(state, [], [HeldOut(128, 4.5)], dealt)
    _, (better,) = rewards.seen(state, [], [HeldOut(192, 3.0)], dealt)
    assert first.together and first.shares.tolist() == [0.75, 0.25] and set(first.rewards) == {0.5}
    assert better.rewards[0] == better.rewards[1] > 0.5


def test_before_the_first_evaluation_arms_are_judged_by_their_own_losses():
    rewards, state = Rewards("auto", WINDOW), {}
    state, _ = rewards.seen(state, [lost(0, (5, 5))], [], EVEN)
    state, (seen,) = rewards.seen(state, [lost(1, (4, 5))], [], EVEN)
    assert not seen.together and seen.rewards[0] > seen.rewards[1]
    state, (seen,) = rewards.seen(state, [lost(2, (4, 5))], [HeldOut(200, 4.0)], EVEN)
    assert np.isnan(seen.rewards).all()


def test_an_arm_of_which_nothing_was_reported_has_no_reward():
    seen = Rewards("loss", WINDOW).seen({}, [Lost(0, (8.0, 0.0), (2, 0), (16, 16))], [], EVEN)[1]
    assert np.isnan(seen[0].rewards).tolist() == [False, True] and seen[0].losses[0] == 4.0


shares = st.lists(st.floats(0.01, 1), min_size=2, max_size=6).map(lambda found: np.array(found) / sum(found))


@given(
    windows=st.lists(st.tuples(shares, st.integers(0, 3000)), min_size=1, max_size=30).filter(
        lambda found: len({len(each[0]) for each in found}) == 1
    )
)
def test_counts_add_up_and_no_arm_is_ever_two_sequences_from_its_shares(windows):
    arms = len(windows[0][0])
    owed, had, due = (0,) * arms, np.zeros(arms, int), np.zeros(arms)
    for share, sequences in windows:
        parts = in_parts(share)
        counts, owed = deal(sequences, parts, owed)
        assert sum(parts) == PARTS and sum(counts) == sequences and min(counts) >= 0
        had += counts
        due += np.array(parts) * sequences / PARTS
        assert np.abs(had - due).max() < 2
        assert np.allclose(np.array(owed) / PARTS, due - had, atol=1e-6)


def test_without_reports_shares_are_those_that_the_run_begins_with(caplog):
    arms = Arms(("a", "b"), np.array([0.3, 0.7]))
    decider, last, total = Decider(Ucb(patience=5), arms, WINDOW, 7), None, np.zeros(2)
    for window in range(20):
        last = decider.decide(window, 33, last)
        total += last.counts
        assert last.shares == (300_000, 700_000)
    assert total.tolist() == [198, 462] and last.why == "nothing was reported for 19 windows"
    assert caplog.text.count("nothing was reported for 5 windows") == 1


def test_reports_that_end_bring_back_the_shares_of_the_beginning_and_those_that_come_again_the_others():
    arms = Arms(("a", "b"), np.array([0.5, 0.5]))
    decider, last, found = Decider(Ucb(patience=4, reward="loss"), arms, WINDOW, 7), None, []
    for window in range(24):
        reports = [lost(window, (2.0, 6.0))] if window < 8 or window > 16 else []
        last = decider.decide(window, 32, last, reports, dealt=EVEN)
        found.append(last.shares[1])
    assert found[7] == 950_000 and found[14] == 500_000 and found[20] == 950_000


def test_a_decision_is_the_same_after_it_was_packed():
    arms = Arms(("a", "b"), np.array([0.5, 0.5]))
    last = None
    for window in range(5):
        last = Decider(Ucb(), arms, WINDOW, 7).decide(
            window, 32, last, [lost(window, (5 / (window + 1), 4.0))], [HeldOut(64 * window, 5.0)], EVEN
        )
        again = Decision.unpack(last.pack())
        assert again == last and again.digest == last.digest and again.pack() == last.pack()


def test_in_what_decisions_differ_is_told_whatever_it_is():
    decider = Decider(Ucb(), Arms(("a", "b"), np.array([0.5, 0.5])), WINDOW, 7)
    made = decider.decide(4, 32, None, [lost(1, (5, 4)), lost(2, (5, 4))], [HeldOut(64, 5.0)], EVEN)
    other = decider.decide(4, 32, None, [lost(1, (5, 4)), lost(2, (5, 3))], [HeldOut(64, 5.0), HeldOut(96, 5.0)], EVEN)
    same = "50.0% : 50.0%, some arm is not known yet, both times; they differ in"
    assert made.difference(other) == f"{made} and {other}" and str(made) != str(other)
    other = replace(other, shares=made.shares, why=made.why)
    assert made.difference(other) == f"{same} losses of windows 2 and held-out losses at positions 96"
    assert made.difference(replace(made, owed=(1, -1), silent=9)) == f"{same} owed and silent"


@pytest.mark.parametrize(
    "data",
    [b"", b"nonsense", Decision(window=0, shares=(1, 2), counts=(1,), before=(0,), owed=(0,), why="", state={}).pack()],
)
def test_what_is_no_decision_is_refused(data):
    with pytest.raises(ValueError):
        Decision.unpack(data)


@pytest.mark.parametrize("lag", [1, 2, 3, 70])
def test_each_report_counts_once(lag):
    arms, last, taken = Arms(("a", "b"), np.array([0.5, 0.5])), None, []
    decider = Decider(Ucb(lag=lag), arms, WINDOW, 7)
    for window in range(200):
        newest = window - 1 - lag
        known = last.taken if last else ()
        new = [each for each in range(max(newest - LATEST, 0), newest + 1) if each not in known]
        taken += new
        last = decider.decide(window, 32, last, [lost(each, (5.0, 4.0)) for each in new], dealt=EVEN)
    assert taken == [*range(200 - 1 - lag)]


def test_a_trial_ends_when_evaluations_do():
    arms, last = Arms(("a", "b"), np.array([0.5, 0.5])), None
    decider = Decider(Ucb(patience=10), arms, WINDOW, 7)
    for window in range(60):
        held_out = [HeldOut(64 * window, 5.0 - window)] if window < 3 else []
        last = decider.decide(window, 32, last, [lost(window, (4.0, 4.0))], held_out, EVEN)
    assert last.shares == (500_000, 500_000) and last.why.startswith("nothing was reported")
