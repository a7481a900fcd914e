"""Laws: known constants are found again, and inverted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from streamdocs.errors import ConfigError
from streamdocs.measure.intervals import Chance, draw, interval
from streamdocs.measure.laws import Known, Law, fit

#: Losses of ensembles of 300 M models at four amounts of web text, as the public code of arXiv 2509.14786 has them.
PUBLIC = np.array([0.2097152e9, 0.4194304e9, 0.8388608e9, 1.6777216e9]), np.array([3.27298, 3.15040, 3.10190, 3.01724])
AMOUNTS = np.geomspace(5e7, 3e9, 8)


@pytest.mark.parametrize(
    ("form", "law"),
    [("power", Law(5e3, 0.45, 2.6)), ("power", Law(40, 0.2, 1.5)), ("rectified", Law(5e6, 0.52, 14.3, 7e4))],
)
def test_constants_of_data_without_noise_are_found(form, law):
    tokens = AMOUNTS if form == "power" else np.geomspace(1e9, 4e12, 8)
    found = fit(form, tokens, law.loss(tokens))
    assert found.law.exponent == pytest.approx(law.exponent, rel=1e-4)
    assert found.law.floor == pytest.approx(law.floor, rel=1e-4)
    assert found.law.scale == pytest.approx(law.scale, rel=1e-2)
    assert found.law.shift == pytest.approx(law.shift, rel=1e-2, abs=1e-2)


def test_it_is_the_fit_of_the_papers_public_code():
    tokens, losses = PUBLIC
    expected, _ = curve_fit(
        lambda x, a, b, c: a / x**b + c, tokens / 1e9, losses, p0=[1.0, 0.5, 2.0], bounds=([0, 0, 0], np.inf)
    )
    found = fit("power", tokens, losses)
    a, b, c = expected
    assert (found.law.exponent, found.law.floor) == pytest.approx((b, c), rel=1e-3)
    assert found.law.scale == pytest.approx(a * 1e9**b, rel=1e-2)
    assert found.freedom == 1 and found.noise == pytest.approx(np.sqrt(found.residual))


@given(st.floats(0.05, 2), st.floats(0, 4), st.floats(0, 50), st.floats(1e6, 1e12))
def test_what_is_lost_after_tokens_takes_so_many(exponent, floor, shift, tokens):
    law = Law(0.5 * 1e9**exponent, exponent, floor, shift)
    above = float(law.loss(tokens)) - floor
    if above > 1e-6:
        assert float(law.tokens(law.loss(tokens))) == pytest.approx(tokens, rel=1e-3 / exponent)
    assert law.tokens(floor) == np.inf and law.tokens(floor - 0.1) == np.inf


def test_where_less_than_nothing_is_needed_none_is():
    law = Law(10.0, 0.5, 1.0, 5.0)
    assert law.loss(0.0) == 3.0 and law.tokens(4.0) == 0


def test_given_constants_stay():
    law = Law(5e3, 0.45, 2.6)
    tokens = AMOUNTS[:2]
    found = fit("power", tokens, law.loss(tokens), Known(floor=2.6))
    assert found.law.floor == 2.6 and found.law.exponent == pytest.approx(0.45, rel=1e-4)
    (one,) = (fit("power", tokens[:1], law.loss(tokens[:1]), Known(0.45, 2.6)).law,)
    assert (one.exponent, one.floor) == pytest.approx((0.45, 2.6)) and one.scale == pytest.approx(5e3, rel=1e-6)
    with pytest.raises(ConfigError, match="not above the asymptote 3"):
        fit("power", tokens, law.loss(tokens) * 0 + 2.9, Known(floor=3.0))
    with pytest.raises(ConfigError, match="3 constants cannot be fitted to runs of 2 different"):
        fit("power", tokens, law.loss(tokens))
    for wrong in (Known, lambda value: Known(floor=value)):
        with pytest.raises(ConfigError, match=r"an exponent of -1|an asymptote of -1"):
            wrong(-1)


def test_intervals_have_the_truth_about_as_often_as_they_say():
    law, rng = Law(5e3, 0.45, 2.6), np.random.default_rng(1)
    tokens = np.repeat(np.geomspace(5e7, 3e9, 5), 2)
    inside, trials = 0, 40
    for seed in range(trials):
        losses = law.loss(tokens) + 0.01 * rng.standard_normal(len(tokens))
        found = fit("power", tokens, losses)
        draws = draw(found, tokens, losses, Chance(60, seed=seed))
        low, high = interval(np.array([float(each.loss(1e9)) for each in draws.laws]))
        inside += low <= float(law.loss(1e9)) <= high
    assert inside >= 0.75 * trials  # of 0.9 of them


def test_without_more_runs_than_constants_nothing_says_how_large_the_noise_is():
    tokens, losses = PUBLIC
    found = fit("power", tokens[:3], losses[:3])
    assert found.noise is None and draw(found, tokens[:3], losses[:3], Chance(20)) is None
    draws = draw(found, tokens[:3], losses[:3], Chance(20, noise=0.005))
    assert len(draws.laws) == 20 and len({law.exponent for law in draws.laws}) == 20
    with pytest.raises(ConfigError, match="above 0"):
        Chance(noise=0.0)
