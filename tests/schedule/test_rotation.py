"""Shares of any number of streams: exact to a sequence in each half of the mixture, and to two over all."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdocs.errors import ConfigError
from streamdocs.schedule import rotation as rotation_module
from streamdocs.schedule.mixture import Mixture, Share
from streamdocs.schedule.rotation import Rotation

parts = st.lists(st.integers(1, 400), min_size=2, max_size=12)


def shares_of(parts: list[int]) -> list[Fraction]:
    return [Fraction(part, sum(parts)) for part in parts]


@given(parts)
@settings(deadline=None)
def test_after_any_number_a_stream_has_had_its_share_within_one(parts):
    rotation, shares = Rotation(shares_of(parts)), shares_of(parts)
    dealt = rotation.between(0, rotation.period)
    counts = np.cumsum(dealt[:, None] == np.arange(len(parts)), axis=0)
    due = np.outer(np.arange(1, rotation.period + 1), [float(share) for share in shares])
    assert (np.abs(counts - due) < 1 + 1e-9).all()
    assert counts[-1].tolist() == [share * rotation.period for share in shares]


@given(parts, st.integers(0, 10**6), st.integers(0, 500), st.integers(1, 40))
@settings(deadline=None)
def test_counts_are_those_of_what_is_dealt(parts, start, size, stride):
    kept, rotation_module._STRIDE = rotation_module._STRIDE, stride
    try:
        rotation = Rotation(shares_of(parts))
        dealt = rotation.between(start, start + size).tolist()
        for stream in range(len(parts)):
            before = rotation.before(stream, start)
            assert rotation.before(stream, start + size) == before + dealt.count(stream)
            last = rotation.last_before(stream, start + size)
            here = [start + at for at, each in enumerate(dealt) if each == stream]
            assert last == (here[-1] if here else rotation.last_before(stream, start)) < start + size
    finally:
        rotation_module._STRIDE = kept


def test_a_stream_of_a_thousandth():
    rotation = Rotation([Fraction(1, 1000), Fraction(333, 1000), Fraction(666, 1000)])
    assert [rotation.before(0, n) for n in (1000, 10**9, 10**9 + 500)] == [1, 10**6, rotation.before(0, 10**9 + 500)]
    assert rotation.before(0, 10**9 + 500) - 10**6 in (0, 1)


def test_shares_that_do_not_fit_each_other():
    with pytest.raises(ConfigError, match=r"common denominator is above 1,000,000"):
        Rotation([Fraction(1, 999983), Fraction(1, 7), 1 - Fraction(1, 999983) - Fraction(1, 7)])


def mixture_of(parts: list[int], kinds: list[bool], window: int = 50) -> Mixture:
    named = zip(shares_of(parts), kinds, strict=False)
    return Mixture([Share(f"s{number}", kind, share) for number, (share, kind) in enumerate(named)], 8, window, 1)


@given(parts, st.lists(st.booleans(), min_size=12, max_size=12), st.integers(0, 10**6), st.integers(1, 300))
@settings(deadline=None)
def test_any_prefix_is_within_two_and_any_run_within_four(parts, kinds, start, batch):
    mixture = mixture_of(parts, kinds)
    several = {kind: sum(share.synthetic == kind for share in mixture.shares) > 1 for kind in (False, True)}
    for number, share in enumerate(mixture.shares):
        most = 1 + several[share.synthetic]
        before, after = mixture.before(number, start), mixture.before(number, start + batch)
        assert abs(before - start * share.fraction) < most
        assert abs(after - before - batch * share.fraction) < 2 * most
        last = mixture.last_before(number, start) if share.synthetic else -1
        assert last < 0 or mixture.before(number, last // 50 * 50 + 50) > mixture.before(number, last // 50 * 50)
    counts = [mixture.before(number, start) for number in range(len(mixture.shares))]
    assert sum(counts) == start


@given(parts, st.lists(st.booleans(), min_size=12, max_size=12), st.integers(0, 10**5), st.integers(1, 80))
@settings(deadline=None)
def test_a_window_holds_the_sequences_of_each_stream_once(parts, kinds, number, window):
    mixture = mixture_of(parts, kinds, window)
    plan = mixture.plan(number)
    for stream in range(len(mixture.shares)):
        rows = plan.row[plan.stream == stream]
        assert sorted(rows.tolist()) == list(range(len(mixture.rows(stream, number))))
    so_far = [mixture.before(stream, number * window) for stream in range(len(mixture.shares))]
    for place, stream in enumerate(plan.stream.tolist()):
        so_far[stream] += 1
        assert so_far[stream] == mixture.before(stream, number * window + place + 1)


def test_web_positions_do_not_move_with_the_synthetic_part():
    one = Mixture([Share("web", False, Fraction(1, 4)), Share("synthetic", True, Fraction(3, 4))], 8, 64, 1)
    three = [Share("a", True, Fraction(1, 8)), Share("b", True, Fraction(3, 8)), Share("c", True, Fraction(1, 4))]
    many = Mixture([Share("web", False, Fraction(1, 4)), *three], 8, 64, 1)
    for window in range(20):
        here = one.plan(window).stream == 0
        np.testing.assert_array_equal(here, many.plan(window).stream == 0)
        np.testing.assert_array_equal(one.plan(window).row[here], many.plan(window).row[here])
