import pickle
from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdocs._base.typed import exact_fraction
from streamdocs.errors import ConfigError
from streamdocs.recipes import Rephrase, Stitch
from streamdocs.schedule.mixture import Mixture, plain_shares
from streamdocs.schedule.order import Shuffle, SourceOrder
from streamdocs.schedule.rounds import BLOCK, GenerationOrder

fractions = st.decimals(0, 1, places=4).map(lambda number: Fraction(str(number)))


@given(fractions, st.integers(1, 300), st.integers(0, 10**9), st.integers(1, 200))
def test_the_mix_is_exact_in_every_run_of_sequences(fraction, window, start, batch):
    mixture = Mixture(plain_shares(fraction), 8, window, 1)
    synthetic = mixture.synthetic_before(start + batch) - mixture.synthetic_before(start)
    assert floor(batch * fraction) <= synthetic <= ceil(batch * fraction)
    assert [mixture.before(stream, start) for stream in (0, 1)] == [
        start - mixture.synthetic_before(start),
        mixture.synthetic_before(start),
    ]


@pytest.mark.parametrize("per_round", [1, 2, 4])
@pytest.mark.parametrize("rounds", ["enough", None])
def test_what_is_wanted_only_grows(per_round, rounds):
    for recipe in (Rephrase, Stitch):
        order = GenerationOrder(
            recipe(generations=4, per_round=per_round, rounds=rounds),
            SourceOrder(np.array([50]), Shuffle(1), "synthetic"),
        )
        wanted = [order.wanted_items(sweep, cursor) for sweep in range(12) for cursor in range(0, 50, 7)]
        assert wanted == sorted(wanted)


@given(fractions, st.integers(1, 100), st.integers(0, 10**6))
def test_a_window_holds_its_sequences_once_each(fraction, window, number):
    mixture = Mixture(plain_shares(fraction), 8, window, 1)
    plan = mixture.plan(number)
    for stream in (0, 1):
        assert sorted(plan.row[plan.stream == stream].tolist()) == list(range(len(mixture.rows(stream, number))))
    positions = range(number * window, (number + 1) * window)
    assert (plan.stream == 1).tolist() == [floor((p + 1) * fraction) > floor(p * fraction) for p in positions]


def test_mixtures_that_cannot_be():
    for fraction in (-0.5, 1.5, 1 / 3, "1/0", "much", float("nan")):
        with pytest.raises(ConfigError, match="synthetic_fraction"):
            exact_fraction(fraction)
    assert exact_fraction(0.1) == exact_fraction("1/10") == Fraction(1, 10)
    with pytest.raises(ConfigError, match="at least 1"):
        Mixture(plain_shares(Fraction(1, 2)), 0, 8, 1)


def test_an_epoch_is_a_pass_over_the_web_tokens():
    assert Mixture(plain_shares(Fraction(3, 4)), 100, 8, 1).epoch_sequences(1000) == 40
    assert Mixture(plain_shares(Fraction(0)), 100, 8, 1).epoch_sequences(1001) == 11
    assert Mixture(plain_shares(Fraction(1)), 100, 8, 1).epoch_sequences(1000) == 10


def test_orders_of_sources():
    with pytest.raises(ConfigError, match="shuffle_seed=-1"):
        Shuffle(-1)
    sizes = np.array([30, 40, 50])
    web, synthetic, filler = (SourceOrder(sizes, Shuffle(1), stream) for stream in ("web", "synthetic", "filler"))
    orders = [web.order(0), web.order(1), synthetic.order(0), filler.order(0)]
    assert all(sorted(each.tolist()) == list(range(120)) for each in orders)
    assert len({each.tobytes() for each in orders}) == 4
    again = pickle.loads(pickle.dumps(web))
    np.testing.assert_array_equal(again.order(1), orders[1])
    assert again.shuffle.identity == web.shuffle.identity != Shuffle(2).identity
    np.testing.assert_array_equal(synthetic.order(3)[synthetic.rank(3)], np.arange(120))
    in_order = SourceOrder(sizes, Shuffle(1, shuffle=False), "web")
    np.testing.assert_array_equal(in_order.order(5), np.arange(120))


def test_orders_of_some_documents():
    chosen = np.array([3, 4, 40, 119], np.int32)
    order = SourceOrder(np.array([2, 1, 1]), Shuffle(1), "few", chosen, 120)
    assert order.sources == 4 and sorted(order.order(0).tolist()) == chosen.tolist()
    np.testing.assert_array_equal(order.rank(1)[order.order(1)], np.arange(4))
    assert len({order.order(sweep).tobytes() for sweep in range(9)}) > 1


@pytest.mark.parametrize("recipe", [Stitch(generations=4, per_round=1), Rephrase(generations=4, per_round=2)])
@pytest.mark.parametrize("documents", [1, BLOCK, BLOCK + 1, 100])
def test_generation_order(recipe, documents):
    order = SourceOrder(np.array([documents]), Shuffle(1), "synthetic")
    generation = GenerationOrder(recipe, order)
    exists = np.full(documents, -1)
    for number in range(recipe.cycle * generation.blocks_per_round):
        watermark = generation.first_item(number)
        np.testing.assert_array_equal(generation.newest_round(np.arange(documents), watermark), exists)
        assert generation.block_of_item(watermark) == number
        block = generation.block(number)
        exists[generation.sources_of(block)] += 1
        assert (exists[generation.sources_of(block)] == block.round).all()
    assert generation.first_item(number + 1) == generation.total_items == recipe.cycle * documents
    assert generation.generations_per_source(generation.total_items) == recipe.generations
