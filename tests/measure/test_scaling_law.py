"""The rectified scaling law: published points, known constants, and what is not determined."""

import numpy as np
import pytest

from published import ROUNDED, error_rates
from streamdocs.errors import ConfigError
from streamdocs.measure.intervals import Chance
from streamdocs.measure.laws import Law
from streamdocs.measure.runs import Points
from streamdocs.measure.scaling import scaling

LAW = Law(5e6, 0.52, 14.3, 7e4)


def points(name: str, tokens, losses) -> Points:
    return Points(name, name, 0, np.asarray(tokens, np.float64), np.asarray(losses, np.float64))


@pytest.mark.parametrize("name", ["3B", "8B"])
@pytest.mark.parametrize(("hold_out", "noise"), [(0, None), (0, ROUNDED), (1, None), (1, ROUNDED), (2, ROUNDED)])
def test_intervals_have_the_published_points(name, hold_out, noise):
    found = scaling(error_rates(name), hold_out=hold_out, chance=Chance(100, noise))
    assert [each.covered for each in found.predicted] == [True] * 6
    assert [each.held_out for each in found.predicted] == [False] * (6 - hold_out) + [True] * hold_out
    if not hold_out:
        low, high = found.ends["b"]
        assert low < 0.52 < high and not found.warnings
        assert all(abs(each.loss - each.measured) < 0.05 for each in found.predicted)  # to rounding


def test_held_out_points_compare_the_laws():
    found = scaling(error_rates("3B"), hold_out=1, chance=Chance(0))
    assert found.errors["rectified"] < 0.1 < found.errors["power"]
    assert found.ends is None and [each.covered for each in found.predicted] == [None] * 6


def test_four_points_and_four_constants():
    found = scaling(error_rates("3B"), hold_out=2)
    assert found.ends is None and found.fit.noise is None
    assert found.warnings[0].startswith("b is not determined") and "there are no intervals" in found.warnings[0]
    with pytest.raises(ConfigError, match=r"3B: .* after 6 amounts of tokens, 3 of which are held out, .* 4 constants"):
        scaling(error_rates("3B"), hold_out=3)


def test_known_constants_are_found_in_noise():
    rng = np.random.default_rng(3)
    tokens = np.repeat(np.geomspace(1e9, 4e12, 9), 3)
    found = scaling(points("made", tokens, LAW.loss(tokens) + 0.03 * rng.standard_normal(len(tokens))), at=[1e13])
    assert found.fit.law.exponent == pytest.approx(LAW.exponent, rel=0.03)
    assert found.fit.law.floor == pytest.approx(LAW.floor, rel=0.02)
    assert found.fit.noise == pytest.approx(0.03, rel=0.4)
    for name, value in (("b", LAW.exponent), ("E", LAW.floor), ("D_l", LAW.shift), ("B", LAW.scale)):
        assert found.ends[name][0] < value < found.ends[name][1]
    assert not found.warnings
    last = found.predicted[-1]
    assert last.tokens == 1e13 and last.measured is None and last.covered is None and not last.held_out
    assert last.ends[0] < float(LAW.loss(1e13)) < last.ends[1]


def test_an_exponent_that_is_not_determined_is_told():
    rng = np.random.default_rng(5)
    tokens = np.repeat(np.geomspace(1e10, 1e11, 5), 2)
    found = scaling(
        points("narrow", tokens, LAW.loss(tokens) + 0.3 * rng.standard_normal(len(tokens))), chance=Chance(80)
    )
    (said,) = found.warnings
    assert said.startswith("b is not determined: between ") and found.ends["b"][1] > 2 * found.ends["b"][0]


def test_a_noise_that_cannot_be_is_told():
    tokens = np.geomspace(1e9, 4e12, 8)
    wave = 0.5 * (-1.0) ** np.arange(8)
    found = scaling(points("wave", tokens, LAW.loss(tokens) + wave), chance=Chance(20, noise=0.01))
    assert any("more than the noise of 0.01 that was given" in each for each in found.warnings)
