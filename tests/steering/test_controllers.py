"""Controllers: what they earn where the best arm is known, and that they stay where nothing speaks for any arm."""

import math
import random

import numpy as np
import pytest

from streamdocs.errors import ConfigError
from streamdocs.steering.controllers import Ado, Arms, Exp3, Schedule, Seen, Ucb
from streamdocs.steering.controllers.ado import learning_speed

MEANS = np.array([0.7, 0.5, 0.3])
ARMS = Arms(("a", "b", "c"), np.full(3, 1 / 3))
UNKNOWN = np.full(3, np.nan)
TIMES = 3000


def alone(shares, rewards, losses=UNKNOWN, read=UNKNOWN) -> Seen:
    return Seen(range(64), shares, shares, np.array(rewards), False, losses, read)


def regret(controller, seed: int, *, together: bool, adversary=None, late: int = 0) -> float:
    """Of shares of arms that pay 0 or 1, against all for the best arm: what was expected less what was expected of it.

    Together, one reward of the mixture is seen, which pays as the arm that a sequence is drawn from; of decisions
    that many times ``late``.
    """
    rng, state, lost = np.random.default_rng(seed), {}, 0.0
    shares = ARMS.shares
    seen, coming = [], [[] for _ in range(late)]
    for time in range(TIMES):
        means = MEANS if adversary is None else adversary(time)
        step = controller.decide(state, seen, ARMS, time, rng.random())
        state, shares = step.state, step.shares
        paid = (rng.random(3) < means).astype(float)
        drawn = rng.choice(3, p=shares)
        rewards = np.full(3, paid[drawn]) if together else paid
        lost += means.max() - float(shares @ means)
        expected = controller.expected(state, shares)
        coming.append([alone(shares, rewards)._replace(expected=expected, together=together)])
        seen = coming.pop(0)
    return lost


def test_ucb_loses_no_more_than_ucb1_may():
    gaps = MEANS.max() - MEANS
    bound = sum(8 * math.log(TIMES) / gap for gap in gaps if gap) + (1 + math.pi**2 / 3) * gaps.sum()
    found = [regret(Ucb(c=2**0.5, floor=0.0), seed, together=True) for seed in range(5)]
    assert np.mean(found) <= bound < 0.9 * gaps.mean() * TIMES  # which is what equal shares lose


@pytest.mark.parametrize("together", [True, False])
def test_exp3_loses_no_more_than_its_weights_and_what_it_mixes_in_may(together):
    bound = 4 * math.sqrt(TIMES * 3 * math.log(3))
    found = [regret(Exp3(floor=0.0), seed, together=together) for seed in range(5)]
    assert np.mean(found) <= bound < 0.8 * (MEANS.max() - MEANS).mean() * TIMES * 3


def test_exp3_divides_by_the_probability_with_which_an_arm_was_read_at_the_time():
    controller, begun = Exp3(floor=0.1), Arms(("a", "b"), np.array([0.5, 0.5]))
    state = {"sums": [0.0, 0.0], "times": 3, "parts": [0.9, 0.1], "drawn": 0}  # as weights are by now
    then = controller.expected({**state, "parts": [0.25, 0.75], "drawn": 1}, np.array([0.1, 0.9]))
    assert then.tolist() == pytest.approx([0.3, 0.7])
    seen = alone(np.array([0.1, 0.9]), [0.8, 0.8])._replace(expected=then, together=True)
    step = controller.decide(state, [seen], begun, 0, 0.5)
    assert step.state["sums"] == pytest.approx([0.3 * 0.1 / 0.3, 0.3 * 0.9 / 0.7])
    assert controller.expected({"drawn": -1, "parts": []}, begun.shares) is begun.shares


def test_exp3_loses_no_more_where_rewards_come_late():
    found = [regret(Exp3(floor=0.0), seed, together=True, late=20) for seed in range(5)]
    assert np.mean(found) <= 4 * math.sqrt(TIMES * 3 * math.log(3))


def test_what_floors_cost_is_all_that_a_controller_loses_besides():
    floor = 0.1
    cost = floor * (MEANS.max() - MEANS).sum() * TIMES
    free = np.mean([regret(Ucb(floor=0.0), seed, together=False) for seed in range(5)])
    assert np.mean([regret(Ucb(floor=floor), seed, together=False) for seed in range(5)]) <= cost + free + 30


@pytest.mark.parametrize("begun", [(0.5, 0.3, 0.2), (1 / 3, 1 / 3, 1 / 3), (0.9, 0.05, 0.05)])
@pytest.mark.parametrize("controller", [Ucb(), Exp3(), Ado()], ids=lambda each: each.name)
def test_where_all_arms_are_as_good_shares_stay_where_they_began(controller, begun):
    arms, state, seen = Arms(ARMS.names, np.array(begun)), {}, []
    for time in range(200):
        step = controller.decide(state, seen, arms, time, 0.5)
        assert np.allclose(step.shares, begun, atol=1e-12)
        read = np.full(3, 64.0 * (time + 1))
        state, seen = step.state, [alone(step.shares, np.full(3, 0.5), np.full(3, 4.0), read)]


def test_judged_together_each_arm_is_tried_once_and_then_shares_are_as_they_began():
    arms, state, seen, found = Arms(ARMS.names, np.array([0.5, 0.3, 0.2])), {}, [], []
    for time in range(20):
        step = Ucb().decide(state, seen, arms, time, 0.5)
        found.append(step.shares.tolist())
        state, seen = step.state, [alone(step.shares, np.full(3, 0.5))._replace(together=True)]
    assert [int(np.argmax(shares)) for shares in found[1:4]] == [0, 1, 2]
    assert all(np.allclose(shares, arms.shares) for shares in [found[0], *found[4:]])


def test_exp3_draws_arms_as_often_as_their_weights_say_where_none_is_better():
    arms, state, seen, rng = Arms(ARMS.names, np.array([0.5, 0.3, 0.2])), {}, [], random.Random(3)
    total = np.zeros(3)
    for time in range(3000):
        step = Exp3().decide(state, seen, arms, time, rng.random())
        state, seen = step.state, [alone(step.shares, np.full(3, 0.5))._replace(together=True)]
        total += step.shares
    assert np.allclose(state["parts"], (arms.shares - 0.05) / 0.85)
    assert np.abs(total / 3000 - arms.shares).max() < 3 * math.sqrt(0.25 / 3000)


def test_what_was_chosen_stays_until_something_new_is_seen():
    controller = Ucb()
    state = controller.decide({}, [alone(ARMS.shares, [0.1, 0.9, 0.1])], ARMS, 0, 0)
    again = controller.decide(state.state, [], ARMS, 1, 0.9)
    assert again.shares.tolist() == state.shares.tolist() and again.shares.argmax() == 1
    assert again.why == "b may be the best"


def test_ado_gives_shares_by_how_fast_laws_fall():
    laws = [(2.0, 3.0, 0.5), (1.0, 2.0, 0.25), (3.0, 0.0, 0.5)]
    state, seen, read = {}, [], np.zeros(3)
    controller = Ado(floor=0.0, smoothing=0.0)
    for time in range(100):
        step = controller.decide(state, seen, ARMS, time, 0.5)
        read = read + 640 * step.shares
        losses = np.array([e + b * n**-a for (e, b, a), n in zip(laws, read, strict=True)])
        state, seen = step.state, [alone(step.shares, UNKNOWN, losses, read)]
    step = controller.decide(state, seen, ARMS, 100, 0.5)
    speeds = np.array([a * b * n ** (-a - 1) for (_, b, a), n in zip(laws, read, strict=True)])
    assert np.allclose(step.shares, speeds / speeds.sum(), atol=0.02)


def test_no_law_is_made_of_two_points_or_of_a_loss_that_rises():
    assert learning_speed(np.array([[1.0, 5.0], [2.0, 4.0]])) == 0
    assert learning_speed(np.array([[1.0, 3.0], [2.0, 4.0], [4.0, 5.0]])) == 0
    assert learning_speed(np.array([[7.0, 3.0], [7.0, 4.0], [7.0, 5.0]])) == 0


def test_schedules_are_arithmetic():
    shares = {0: {"a": "1/2", "b": "1/2"}, 1000: {"a": 0.9, "b": 0.1}}
    arms = Arms(("a", "b"), np.array([0.5, 0.5]))
    at = [0, 250, 999, 1000, 5000]
    found = [Schedule(shares=shares).decide({}, [], arms, position, 0).shares[0] for position in at]
    assert found == [0.5, 0.5, 0.5, 0.9, 0.9]
    ramp = [Schedule(shares=shares, ramp=True).decide({}, [], arms, position, 0).shares[0] for position in at]
    assert np.allclose(ramp, [0.5, 0.6, 0.8996, 0.9, 0.9])


@pytest.mark.parametrize(
    ("controller", "arms", "said"),
    [
        (Ucb(), Arms(("a",), np.ones(1)), "give two or more"),
        (Ucb(), Arms((), np.ones(0)), "give two or more"),
        (Schedule(floor=0.1, shares={0: {"a": 1, "b": 0}}), Arms(("a", "b"), np.array([0.5, 0.5])), "below floor=0.1"),
        (Ucb(floor=0.4), Arms(("a", "b"), np.array([0.7, 0.3])), r"floor=0.4: below 1/2.*\(b, 0.3000\)"),
        (Exp3(floor=0.5), Arms(("a", "b"), np.array([0.5, 0.5])), "below 1/2"),
        (Ado(reward="loss"), Arms(("a", "b"), np.array([0.5, 0.5])), "it goes by how fast losses fall"),
        (Schedule(), Arms(("a", "b"), np.array([0.5, 0.5])), "say those of position 0"),
        (Schedule(shares={5: {"a": 1, "b": 0}}), Arms(("a", "b"), np.array([0.5, 0.5])), "say those of position 0"),
        (Schedule(shares={0: {"a": 1}}), Arms(("a", "b"), np.array([0.5, 0.5])), "one for each of a, b"),
        (Schedule(shares={0: {"a": 0.5, "b": 0.4}}), Arms(("a", "b"), np.array([0.5, 0.5])), "which add up to 1"),
    ],
)
def test_what_cannot_be_steered_is_refused(controller, arms, said):
    with pytest.raises(ConfigError, match=said):
        controller.check(arms)


def test_a_field_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="floor"):
        Ucb(floor=-0.1)
    with pytest.raises(ConfigError, match="reward"):
        Exp3(reward="best")


def test_an_arm_may_begin_at_its_floor():
    arms = Arms(("a", "b"), np.array([(0.75 * 19 / 20) / 0.75, (0.75 / 20) / 0.75 - 1e-17]))
    Ucb(floor=0.05).check(arms)
    seen = alone(arms.shares, [0.1, 0.9])
    assert Ucb(floor=0.05).decide({}, [seen], arms, 0, 0.5).shares.tolist() == pytest.approx([0.05, 0.95])
