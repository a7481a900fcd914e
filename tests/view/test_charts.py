"""Charts: every point is within the frame and in the table, and the axis has round numbers around all of them."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamdocs.view.charts import _CHAR, _HEIGHT, _LEFT, _RIGHT, _WIDTH, _ticks, _ticks_below, bar, lines, told_bar
from streamdocs.view.facts import some_of

VALUES = st.floats(-1e9, 1e9, allow_nan=False)
POINTS = st.lists(st.tuples(st.integers(0, 10**6), VALUES), min_size=1, max_size=20, unique_by=lambda each: each[0])


@given(st.dictionaries(st.sampled_from(["a", "b<", "c"]), POINTS.map(sorted), min_size=1))
def test_points_are_within_the_frame_and_in_the_table(series):
    figure = str(lines("Some <figures>", series, "window", "{:.3f}".format))
    drawing = figure[figure.index("<svg") : figure.index("</svg>")]
    places = [map(float, pair.split(",")) for each in re.findall(r'points="([^"]*)"', drawing) for pair in each.split()]
    dots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawing)
    found = [*map(tuple, places), *((float(x), float(y)) for x, y in dots)]
    assert len(found) == sum(map(len, series.values()))
    assert all(0 <= x <= _WIDTH and 0 <= y <= _HEIGHT for x, y in found)
    assert all(f"{value:.3f}" in figure for each in series.values() for _, value in each)
    assert "<figures>" not in figure and "b<" not in figure


@given(VALUES, VALUES)
def test_ticks_are_few_and_around_all(one, other):
    low, high = sorted((one, other))
    ticks = _ticks(min(low, 0.0), high)
    assert 2 <= len(ticks) <= 8 and ticks == sorted(ticks)
    slack = 1e-6 * max(abs(low), abs(high), 1e-9)
    assert ticks[0] <= min(low, 0.0) + slack and ticks[-1] >= high - slack


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_marks_below_are_whole_within_and_have_room(one, other):
    first, last = sorted((one, other))
    ticks = _ticks_below(first, last)
    assert ticks and all(first <= each <= last and each == int(each) for each in ticks)
    assert len(ticks) == 1 or len(ticks) * _CHAR * len(f"{last:,}") <= _WIDTH - _LEFT - _RIGHT
    assert len(ticks) > 1 or first == last or last > 10**6


def test_what_is_never_near_zero_fills_its_chart():
    series = {"held out": [(0, 3.91), (50, 3.85), (100, 3.8)]}

    def up(figure: str) -> float:
        ys = [float(each.split(",")[1]) for each in re.search(r'points="([^"]*)"', figure)[1].split()]
        return max(ys) - min(ys)

    assert (
        up(str(lines("Loss", series, "position", from_zero=False)))
        > _HEIGHT / 3
        > 10 * up(str(lines("Loss", series, "position")))
    )


def test_a_bar_has_its_number():
    assert "100% of 25" in str(told_bar(1.0, " of 25"))


def test_without_points_there_is_no_chart():
    assert lines("None", {}, "window") is None and lines("None", {"a": []}, "window") is None


@given(st.floats(-1, 2))
def test_a_bar_is_never_longer_than_its_ground(share):
    widths = re.findall(r'width="([\d.]+)"', str(bar(share)))
    assert len(widths) == 2 and 0 <= float(widths[1]) <= float(widths[0]) == 100


@given(st.integers(0, 5000), st.integers(1, 100))
def test_some_windows_are_few_even_and_with_the_last(count, most):
    chosen = some_of(range(count), most)
    assert len(chosen) <= most + 1 and chosen == sorted(set(chosen))
    assert not count or (chosen[0] == 0 and chosen[-1] == count - 1)
    assert len({after - before for before, after in pairwise(chosen[:-1])}) <= 1
