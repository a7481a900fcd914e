"""Off-line replay: the run's own controller decides as it did, and regret is what it is by hand."""

from fractions import Fraction

import numpy as np
import pytest

from streamdocs.errors import ConfigError
from streamdocs.schedule.mixture import Mixture, Share
from streamdocs.steering.controllers import Ado, Arms, Exp3, Schedule, Ucb
from streamdocs.steering.decision import PARTS
from streamdocs.steering.decisions import Decisions
from streamdocs.steering.recorded import Recorded, Row, load_rows, rows_of, save_rows
from streamdocs.steering.reports import HeldOut, Reports
from streamdocs.steering.rewards import Lost
from streamdocs.steering.simulation import candidates, judged, replay

WINDOW, LENGTH, WINDOWS = 32, 16, 24
RUN, FINGERPRINT, ARMS = b"r" * 16, {"window": WINDOW, "name": "x", "controller": "ucb 1"}, ("a", "b", "c")
#: Nats by which each arm's loss falls with a logarithm of what was read of it; b is the best.
SPEEDS = {"a": 0.1, "b": 0.5, "c": 0.2}


def mixture_of(arms=ARMS) -> Mixture:
    shares = [Share(name, True, Fraction(1, 2 * len(arms))) for name in arms]
    return Mixture([Share("web", False, Fraction(1, 2)), *shares], LENGTH, WINDOW, 7)


def train(store, controller, *, held_out=True, losses=True, seed=0) -> Decisions:
    """Decide on all windows of a run; what it reports, it reports late, in part, or not at all."""
    mixture, rng = mixture_of(), np.random.default_rng(seed)
    decisions = Decisions(controller, mixture)
    decisions.attach(store, RUN)
    reports, learned, late = decisions.reports, 0.0, {}
    speeds = np.array([0.0, *SPEEDS.values()])
    for window in range(WINDOWS):
        made = decisions.make(window)
        for each in [each for each in late if each <= window]:
            reports.add(0, *late.pop(each))
        learned += float(np.array(list(SPEEDS.values())) @ made.shares) / PARTS / (window + 1)
        stream = mixture.plan(window).stream
        lost = 4 - speeds[stream] * np.log(window + 2) + rng.normal(0, 0.05, WINDOW)
        places = np.flatnonzero(rng.random(WINDOW) < rng.choice([0, 0.1, 1])) if losses else []
        if len(places):
            rows = np.repeat(lost[places, None].astype(np.float32), reports.bins, axis=1)
            late[window + int(rng.integers(0, 4)) + window / 1e3] = (window, places, rows)
        if held_out and rng.random() < 0.7:
            reports.add_held_out((window + 1) * WINDOW, 5 - learned + rng.normal(0, 0.02))
    return decisions


@pytest.mark.parametrize(
    "controller", [Ucb(), Exp3(lag=3), Ado(), Ucb(reward="progress", patience=2), Exp3(reward="loss")]
)
@pytest.mark.parametrize("held_out", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_a_runs_own_controller_would_have_decided_as_it_did(store, controller, held_out, seed):
    decisions = train(store, controller, held_out=held_out, seed=seed)
    rows = rows_of(mixture_of(), decisions, decisions.reports)
    assert len(rows) == WINDOWS and any(row.lost for row in rows) and held_out == any(row.held_out for row in rows)
    found = replay(Recorded.of(mixture_of(), rows), {"own": controller}, controller.reward, controller.floor)
    made = [np.array(each.shares) / PARTS for each in decisions.made()]
    assert found.controllers["own"].shares.tolist() == np.array(made).tolist()
    assert len({tuple(each) for each in found.controllers["own"].shares.tolist()}) > 1


def test_what_was_due_is_by_the_probabilities_with_which_each_window_was_drawn(store):
    """Evaluations draw an arm each; without any for two windows shares are those of the beginning."""
    controller = Exp3(patience=2)
    decisions = train(store, controller, losses=False)
    made = list(decisions.made())
    ways = {(each.silent >= 2, each.state["controller"]["drawn"] >= 0) for each in made}
    assert ways >= {(False, True), (True, True), (False, False)}
    expected = np.zeros(3)
    for each in made[2:20]:
        state = each.state["controller"]
        drawn = each.silent < 2 and state["drawn"] >= 0
        shares = 0.05 + 0.85 * np.array(state["parts"]) if drawn else np.array(each.shares) / PARTS
        expected += shares * (8 if each.window == 19 else 16)
    assert decisions.due(2 * WINDOW, 19 * WINDOW + 16) == pytest.approx(expected)
    assert decisions.due(0, 640).sum() == pytest.approx(decisions.read(640).sum()) == 320
    assert decisions.read(640).tolist() == list(made[20].before)


def two(*rows: Row) -> Recorded:
    return Recorded.of(mixture_of(("a", "b")), rows)


def lost(window: int, *means: float) -> Lost:
    return Lost(window, tuple(8 * each for each in means), (8, 8), (8, 8))


def test_regret_is_that_of_the_sums_by_hand():
    """By raw loss, which is the reward before it is scaled: a is always 1 above b, so that both are scaled alike."""
    recorded = two(*(Row(window=w, counts=(8, 8), lost=(lost(w - 1, 3.0, 2.0),) if w else ()) for w in range(5)))
    found = replay(recorded, {"fixed": None, "ucb": Ucb(floor=0.1)}, "loss", 0.1)
    rewards = np.array([each.rewards for each in judged(recorded, "loss")])
    # Scaled by a mean and a size of 2.5: (3 - 2.5) / 10 + 1/2, and as much below; they stay so.
    assert rewards == pytest.approx(np.array([[0.55, 0.45]] * 4))
    assert found.best.tolist() == [0.9, 0.1] and found.judgements == 4 and found.apart
    assert found.controllers["fixed"].reward == pytest.approx(0.5)
    assert found.controllers["fixed"].regret == pytest.approx(4 * (0.9 * 0.55 + 0.1 * 0.45 - 0.5))
    ucb = found.controllers["ucb"]
    dealt = [rewards[w] @ (np.round(ucb.shares[w] * 16) / 16) for w in range(4)]
    assert ucb.regret == pytest.approx(4 * (0.9 * 0.55 + 0.1 * 0.45) - sum(dealt), abs=0.02)
    assert ucb.regret < found.controllers["fixed"].regret and ucb.shares[-1].tolist() == [0.9, 0.1]


def alternating(shares: list[tuple[int, int]], worth=(0.6, 0.1)) -> Recorded:
    """Evaluations after each window, whose loss falls by what the sequences of its arms are worth."""
    rows, loss, falls = [], 5.0, np.log((np.arange(len(shares)) + 2) / (np.arange(len(shares)) + 1))
    for window, counts in enumerate(shares):
        rows.append(Row(window=window, counts=counts, held_out=(HeldOut(window * WINDOW, loss),)))
        loss -= float(np.array(counts) @ worth) / sum(counts) * falls[window]
    return two(*rows)


def test_arms_that_were_judged_together_are_told_apart_by_least_squares():
    rng = np.random.default_rng(0)
    recorded = alternating([(int(n), 16 - int(n)) for n in rng.integers(1, 16, 60)])
    found = replay(recorded, {"fixed": None, "ucb": Ucb(), "exp3": Exp3()}, "auto", 0.05)
    assert found.apart and found.judgements == 59 and found.best == pytest.approx([0.95, 0.05])
    # Rewards are the falls over four of their running size, so that a's is well above b's.
    assert found.rewards[0] - found.rewards[1] > 0.2
    assert found.controllers["ucb"].regret < 0.5 * found.controllers["fixed"].regret
    assert found.controllers["ucb"].shares[-20:, 0].mean() > 0.8


def test_shares_that_never_moved_tell_no_arms_apart():
    found = replay(alternating([(8, 8)] * 20), candidates(two().arms, None), "auto", 0.05)
    assert not found.apart and found.judgements == 19
    assert [each.regret for each in found.controllers.values()] == pytest.approx([0] * 4, abs=1e-9)


def test_without_any_reports_shares_stay():
    found = replay(two(*(Row(window=w, counts=(8, 8)) for w in range(5))), candidates(two().arms, None), "auto", 0.05)
    assert found.judgements == 0 and not found.apart
    assert all(each.shares.tolist() == [[0.5, 0.5]] * 5 and each.regret == 0 for each in found.controllers.values())


def test_the_others_are_as_by_default_and_the_runs_own_as_it_is():
    arms = two().arms
    assert candidates(arms, None) == {"fixed": None, "ucb": Ucb(), "exp3": Exp3(), "ado": Ado()}
    own = Exp3(floor=0.2, lag=4)
    assert candidates(arms, own)["exp3"] is own and candidates(arms, own)["ucb"] == Ucb()
    schedule = Schedule(shares={0: {"a": 0.5, "b": 0.5}, 64: {"a": 1, "b": 0}})
    found = replay(two(*(Row(window=w, counts=(8, 8)) for w in range(4))), candidates(arms, schedule), "auto", 0.0)
    assert found.controllers["schedule"].shares.tolist() == [[0.5, 0.5]] * 2 + [[1, 0]] * 2
    few = arms._replace(shares=np.array([0.99, 0.01]))
    assert candidates(few, None)["ucb"] == Ucb(floor=0.005)


@pytest.mark.parametrize("controller", [None, Schedule(shares={0: dict.fromkeys(ARMS[:2], "1/3") | {"c": "1/3"}})])
def test_where_nobody_decides_by_reports_each_is_known_as_soon_as_it_may_be(store, controller):
    mixture = mixture_of()
    decisions = Decisions(controller, mixture) if controller else None
    reports = Reports(store, RUN, WINDOW, LENGTH)
    if decisions:
        decisions.attach(store, RUN)
        decisions.make(4)
    for window in (0, 1, 2, 4):
        reports.add(0, window, np.arange(WINDOW), np.full((WINDOW, reports.bins), window, np.float32))
        reports.add_held_out((window + 1) * WINDOW, 3.0)
    reports.add_held_out(0, 4.0)
    rows = rows_of(mixture, decisions, reports)
    assert [row.window for row in rows] == list(range(5))
    assert [[each.window for each in row.lost] for row in rows] == [[], [], [0], [1], [2]]
    assert [[each.position for each in row.held_out] for row in rows] == [[0], [32], [64], [96], []]
    assert rows[3].lost[0].means.tolist() == [1, 1, 1] and rows[3].lost[0].dealt == rows[1].counts
    assert all(sum(row.counts) == WINDOW // 2 and max(row.counts) - min(row.counts) <= 1 for row in rows)


def test_a_file_holds_what_was_recorded(store, tmp_path):
    decisions, file = train(store, Ucb()), tmp_path / "reports.jsonl"
    rows = rows_of(mixture_of(), decisions, decisions.reports)
    save_rows(file, FINGERPRINT, ARMS, rows)
    assert load_rows(file, {**FINGERPRINT, "controller": "exp3 2"}, ARMS, mixture_of()) == rows
    assert load_rows(file, {each: FINGERPRINT[each] for each in ("window", "name")}, ARMS, mixture_of()) == rows


def test_many_arms_have_lower_floors():
    arms = Arms(tuple(map(str, range(24))), np.full(24, 1 / 24))
    for controller in candidates(arms, None).values():
        if controller:
            controller.check(arms)


def test_an_evaluation_where_no_run_comes_is_told(store):
    reports = Reports(store, RUN, WINDOW, LENGTH)
    reports.add_held_out(10**12, 4.0)
    with pytest.raises(ConfigError, match="positions are sequences, not tokens"):
        rows_of(mixture_of(), None, reports)
