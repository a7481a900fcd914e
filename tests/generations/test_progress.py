"""Tallies that are asked for again and again, against those of one look."""

import pytest

from conftest import generate, make_run
from streamdocs import Stitch
from streamdocs.generations.progress import Tallies, read_tallies


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [2, 0, 1, 4, 3], [4, 3, 2, 1, 0]])
def test_they_are_those_of_one_look_whatever_the_order_of_blocks(small_corpus, store, order):
    run = make_run(small_corpus, Stitch(generations=2, per_round=1))
    scope = run.stream().scope
    tallies = Tallies(scope)
    assert tallies.read(store) == {}
    for number in order:
        generate(run, store, first=number, blocks=number + 1)
        for _ in range(2):
            assert tallies.read(store) == read_tallies(store, scope)
    generate(run, store)
    assert tallies.read(store) == read_tallies(store, scope) == Tallies(scope).read(store)
