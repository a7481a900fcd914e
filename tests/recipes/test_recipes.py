import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdocs.errors import ConfigError
from streamdocs.recipes import WEB_UNIT, Rephrase, Stitch, Stretch
from streamdocs.recipes.stretch import spread_order

DIVISORS = [(g, p) for g in range(1, 33) for p in range(1, g + 1) if g % p == 0]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (lambda: Stitch(generations=0), "generations: has to be at least 1"),
        (lambda: Stitch(generations=8, per_round=3), "does not divide"),
        (lambda: Stitch(generations=8, per_round=2, rounds=3), "4 are needed"),
        (lambda: Stitch(generations=8, web="middle"), "'last', 'first' or 'none'"),
        (lambda: Stretch(generations=2, cut_at="sentence"), "'word' or 'token'"),
        (lambda: Rephrase(generations=2, prompt="no placeholder"), "{document}"),
        (lambda: Stretch(generations=2, prompt="only {before}"), "{after}"),
        (lambda: Rephrase(generations=2, max_tokens=0), "max_tokens"),
    ],
)
def test_what_cannot_be_is_refused(recipe, message):
    with pytest.raises(ConfigError, match=message):
        recipe()


@pytest.mark.parametrize(("generations", "per_round"), DIVISORS)
def test_cuts_are_used_once_and_evenly_spread(generations, per_round):
    recipe = Stretch(generations=generations, per_round=per_round)
    places = [recipe.place_of_slot(slot) for slot in range(generations)]
    assert sorted(places) == list(range(generations))
    for rounds in range(1, recipe.cycle + 1):
        used = sorted(places[: rounds * per_round])
        gaps = np.diff(used) if len(used) > 1 else np.array([1])
        # Never a gap of more than twice the even one, give or take rounding.
        assert gaps.max() <= 2 * -(-generations // (rounds * per_round))


@given(st.integers(1, 200))
def test_spread_order_is_a_permutation(size):
    assert sorted(spread_order(size)) == list(range(size))


@given(st.sampled_from(DIVISORS), st.integers(0, 3000))
def test_stretch_pieces_are_equal(division, tokens):
    recipe = Stretch(generations=division[0], per_round=division[1])
    cuts = sorted(recipe.cuts(np.array(tokens), np.arange(recipe.generations)).tolist())
    lengths = np.diff([0, *cuts, tokens])
    assert lengths.sum() == tokens and lengths.max() - lengths.min() <= 1


@given(st.sampled_from(DIVISORS), st.booleans(), st.integers(0, 2**63 - 1))
def test_a_pass_of_rephrase_reads_every_unit_once(division, web, seed):
    recipe = Rephrase(generations=division[0], per_round=division[1], web=web)
    documents = np.arange(50)
    slots = np.stack([recipe.slots_of_sweep(sweep, documents, seed) for sweep in range(recipe.sweeps)])
    expected = list(range(-1 if web else 0, recipe.generations))
    assert all(sorted(slots[:, document].tolist()) == expected for document in documents)
    for sweep in range(recipe.sweeps):
        # Never more than the next sub-pass needs.
        assert max(0, slots[sweep].max()) // recipe.round_size <= recipe.last_round_wanted(sweep)
    for round in range(recipe.cycle):
        assert recipe.last_round_wanted(recipe.order_of_round(round)) >= round
        assert round == 0 or recipe.last_round_wanted(recipe.order_of_round(round) - 1) < round


def test_web_documents_are_spread_over_the_sweeps():
    recipe, documents = Rephrase(generations=4), np.arange(10_000)
    shares = [np.mean(recipe.slots_of_sweep(sweep, documents, 1) == WEB_UNIT) for sweep in range(recipe.sweeps)]
    assert max(shares) < 0.23 and min(shares) > 0.17


def test_requests_hold_the_text_as_data():
    text = "A {before} B {after} {document} {{ x }} C"
    stretch, places = Stretch(generations=3, prompt="[{before}|{after}]"), [5, 17, 30]
    prompts = [request.prompt for request in stretch.requests(text, places, 0)]
    assert [p.replace("|", "", 1) for p in prompts] == [f"[{text}]"] * 3
    assert [p.index("|") - 1 for p in prompts] == places
    stitch = Stitch(generations=4, per_round=2, prompt="<{document}>")
    (request,) = stitch.requests(text, [], 1)
    assert request.prompt == f"<{text}>" and request.n == 2


def test_rounds():
    assert Stitch(generations=8, per_round=2).total_rounds == 4
    assert Stitch(generations=8, per_round=2, rounds=None).total_rounds is None
    assert Stitch(generations=8, per_round=2, rounds=7).total_rounds == 7
    assert [list(Stitch(generations=4, per_round=2).slots_of_round(r)) for r in range(3)] == [[0, 1], [2, 3], [0, 1]]
