"""Repeats: how often hard documents are said more of, and in whose places."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdocs.schedule.repeats import Repeats, deal_repeats

excesses = st.lists(
    st.one_of(st.floats(-3, 9, width=32), st.sampled_from([np.nan, np.inf, 0.0, 1e-6, 1e6])), max_size=40
).map(lambda each: np.array(each, np.float32))


@given(excesses, st.integers(0, 60), st.integers(1, 5))
def test_all_are_dealt_to_what_is_hard_and_to_none_too_many(excess, total, most):
    found = deal_repeats(excess, total, most)
    hard = np.isfinite(excess) & (excess > 0)
    assert found.dtype == np.int64 and found.min(initial=0) >= 0 and found.max(initial=0) <= most
    assert not found[~hard].any()
    assert found.sum() == min(total, most * hard.sum())


@given(excesses, st.integers(1, 60), st.integers(1, 5))
def test_the_harder_gets_no_less_and_each_its_part(excess, total, most):
    found = deal_repeats(excess, total, most)
    hard = np.flatnonzero(np.isfinite(excess) & (excess > 0))
    for one, other in product(hard, repeat=2):
        assert excess[one] <= excess[other] or found[one] >= found[other]
    free = hard[found[hard] < most]
    if len(free) and len(free) < 200:
        # What the full ones leave is dealt by excess, within one.
        weights = excess[free].astype(np.float64)
        parts = weights / weights.sum() * found[free].sum()
        capped = np.flatnonzero(found[hard] == most)
        assert len(capped) or (abs(found[free] - parts) < 1.01).all()


def test_in_proportion_as_far_as_the_cap_goes():
    assert deal_repeats(np.array([1.0, 2.0, 3.0, -1.0, np.nan]), 6, 9).tolist() == [1, 2, 3, 0, 0]
    assert deal_repeats(np.array([1.0, 1.0, 98.0]), 6, 4).tolist() == [1, 1, 4]
    assert deal_repeats(np.array([5.0, 1.0, 1.0]), 9, 2).tolist() == [2, 2, 2]
    assert deal_repeats(np.array([], np.float32), 9, 2).tolist() == []


@given(st.data(), st.sets(st.integers(0, 200), min_size=2, max_size=60), st.integers(0, 9))
def test_every_item_is_about_one_document_and_every_hard_one_keeps_its_own(data, numbers, seed):
    sources = np.array(sorted(numbers))
    hard = data.draw(st.lists(st.sampled_from(sorted(numbers)), unique=True, max_size=len(sources) // 2).map(sorted))
    counts = [data.draw(st.integers(1, 3)) for _ in hard]
    while sum(counts) > len(sources) - len(hard):
        hard, counts = hard[1:], counts[1:]
    repeats = Repeats(sources, np.array(hard, np.int32), np.array(counts, np.int32), seed)
    about, repeat = repeats.about(sources)
    assert about.dtype == repeat.dtype == np.int64
    items = list(zip(about.tolist(), repeat.tolist(), strict=True))
    # No two ask the same, and of each hard document there are exactly so many beside its own.
    assert len({*items}) == len(sources)
    assert Counter(document for document, number in items if number) == Counter(dict(zip(hard, counts, strict=True)))
    assert all(
        document == place for place, (document, number) in zip(sources.tolist(), items, strict=True) if not number
    )
    for document, count in zip(hard, counts, strict=True):
        places = repeats.places(document)
        assert [items[np.searchsorted(sources, each)] for each in places] == [
            (document, number) for number in range(count + 1)
        ]
        assert places[0] == document
    # The same of some of them alone, and for whoever asks again.
    again = Repeats(sources, np.array(hard, np.int32), np.array(counts, np.int32), seed)
    some = sources[::3]
    assert [each.tolist() for each in again.about(some)] == [about[::3].tolist(), repeat[::3].tolist()]


def test_places_are_spread_and_differ_by_seed():
    sources, hard = np.arange(4000), np.arange(0, 4000, 20, dtype=np.int32)
    found = [Repeats(sources, hard, np.full(200, 3, np.int32), "a stream", round) for round in (1, 2)]
    given_up = [np.flatnonzero(each.about(sources)[1]) for each in found]
    assert len({*given_up[0].tolist()} & {*given_up[1].tolist()}) < 200  # of 600, by chance some 95
    assert np.histogram(given_up[0], bins=4, range=(0, 4000))[0] == pytest.approx([150] * 4, abs=50)
