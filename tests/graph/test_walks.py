"""Walks and their documents: by the weights, never the same node twice, and always the same."""

import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import (
    CONCEPTS,
    NUMBERS,
    TOPICS,
    concepts_of,
    counted,
    found_concepts,
    lcm_weight,
    node_names,
    number_of,
    numbers_edition,
    weights,
)
from streamdocs.graph import walks as walks_module
from streamdocs.graph.build import build_edition
from streamdocs.graph.edition import Edition, Kind
from streamdocs.graph.references import nearest
from streamdocs.graph.walks import STEPS, Draws, Walk, Walks, step

STEPS_TAKEN = 100_000
editions = found_concepts.map(
    lambda found: build_edition(np.arange(len(found)), found, min_documents=1, max_share=Fraction(1))
)


def z_scores(counts: np.ndarray, expected: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """How many standard deviations from what is expected."""
    assert (variance > 0).all()
    return (counts - expected) / np.sqrt(variance)


@pytest.mark.parametrize("kind", Kind)
def test_stationary_frequencies_are_the_weights(kind):
    """A chain of steps that may go back: each node as often as it has edges, within three standard deviations."""
    edition, draw = numbers_edition(), Draws("chain", 1)
    first = len(edition.topics) * kind
    nodes = range(first, first + len((edition.topics, edition.concepts)[kind]))
    numbers = [number_of(edition, node) for node in nodes]
    edges = np.array([[lcm_weight(a, b) * (a != b) for b in numbers] for a in numbers], float)
    stationary = edges.sum(1) / edges.sum()
    # The asymptotic variance of a chain's frequencies, by its fundamental matrix (Kemeny and Snell 1976, 4.6).
    chance = edges / edges.sum(1)[:, None]
    fundamental = np.linalg.inv(np.eye(len(nodes)) - chance + stationary)
    variance = stationary * (2 * np.diag(fundamental) - 1 - stationary)
    counts, node = Counter[int](), nodes[-1]
    for _ in range(STEPS_TAKEN):
        node = step(edition, node, kind, [node], draw)
        counts[node] += 1
    found = np.array([counts[node] for node in nodes])
    assert np.abs(z_scores(found, STEPS_TAKEN * stationary, STEPS_TAKEN * variance)).max() < 3
    assert found.sum() == STEPS_TAKEN


def test_steps_of_walks_go_by_the_weights_of_what_is_left():
    """Of a hundred thousand steps, each node is taken as often as the walks so far made likely."""
    edition = numbers_edition()
    walks, topics = Walks(edition, 5), len(edition.topics)
    numbers = [number_of(edition, node) for node in range(len(edition.names))]
    edges = np.array([[lcm_weight(a, b) for b in numbers] for a in numbers], float)
    counts, expected, variance = np.zeros((3, len(numbers)))
    taken = number = 0
    while taken < STEPS_TAKEN:
        nodes = walks.nodes(number)
        number += 1
        for at, (node, following) in enumerate(pairwise(nodes), 1):
            left = edges[node].copy()
            left[nodes[:at]] = 0
            left[slice(topics, None) if following < topics else slice(topics)] = 0
            chance = left / left.sum()
            counts[following] += 1
            expected += chance
            variance += chance * (1 - chance)
            taken += 1
    assert np.abs(z_scores(counts, expected, variance)).max() < 3


@pytest.mark.parametrize("tries", [0, 1, 64])
@pytest.mark.parametrize("visited", [(1,), (1, 2), (1, 2, 4)])
def test_a_step_is_as_likely_whichever_way_it_is_drawn(monkeypatch, tries, visited):
    monkeypatch.setattr(walks_module, "_TRIES", tries)
    edition, draw, steps = numbers_edition(), Draws("one", tries, *visited), 5_000
    # From the topic of multiples of 2, which is visited itself.
    edges = np.array([0 if node in visited else lcm_weight(2, k) for node, k in enumerate(TOPICS)], float)
    chance = edges / edges.sum()
    counts = Counter(step(edition, 1, Kind.TOPIC, visited, draw) for _ in range(steps))
    found, left = np.array([counts[node] for node in range(len(TOPICS))]), edges > 0
    assert found[left].sum() == steps
    assert np.abs(z_scores(found, steps * chance, steps * chance * (1 - chance) + ~left)[left]).max() < 3


@given(editions, st.integers(0, 1 << 62), st.integers(0, 40))
@settings(deadline=None)
def test_what_a_walk_is(edition, seed, number):
    if not edition.topics:
        with pytest.raises(ValueError, match="a graph without topics has no walks"):
            Walks(edition, seed)
        return
    nodes = Walks(edition, seed).nodes(number)
    assert nodes == Walks(edition, seed).nodes(number)
    assert len({*nodes}) == len(nodes)
    kinds = [edition.kind(node) for node in nodes]
    assert kinds == sorted(kinds) and kinds[0] is Kind.TOPIC
    for node, following in pairwise(nodes):
        assert following in edition.neighbours(node)[0]
    walked = {Kind.TOPIC: nodes[: kinds.count(Kind.TOPIC)], Kind.CONCEPT: nodes}
    for kind, (fewest, most) in STEPS.items():
        steps = kinds.count(kind) - (kind is Kind.TOPIC)
        others = {node for node in edition.neighbours(walked[kind][-1])[0].tolist() if edition.kind(node) is kind}
        assert steps <= most and (steps >= fewest or others <= {*nodes})


@given(editions.filter(lambda edition: len(edition.topics)), st.integers(0, 9), st.integers(0, 3))
@settings(deadline=None)
def test_each_topic_begins_one_walk_an_epoch(edition, seed, epoch):
    topics, walks = len(edition.topics), Walks(edition, seed)
    starts = [walks.nodes(epoch * topics + place)[0] for place in range(topics)]
    assert sorted(starts) == [*range(topics)]


def test_epochs_and_seeds_have_orders_of_their_own():
    edition = build_edition(
        np.arange(2), [[(f"t{n}", []) for n in range(50)]] * 2, min_documents=1, max_share=Fraction(1)
    )
    starts = [tuple(Walks(edition, seed).nodes(at)[0] for at in range(50)) for seed in range(3)]
    later = tuple(Walks(edition, 0).nodes(at)[0] for at in range(50, 100))
    assert len({*starts, later}) == 4


def test_all_numbers_of_steps_are_as_likely():
    edition = numbers_edition()
    walks = 3_000
    kinds = [[edition.kind(node) for node in Walks(edition, 2).nodes(number)] for number in range(walks)]
    topics = Counter(each.count(Kind.TOPIC) for each in kinds)
    concepts = Counter(each.count(Kind.CONCEPT) for each in kinds)
    # Concepts can run out on the way: 149 has edges to one other only.
    assert topics.keys() == {2, 3} and abs(topics[2] - walks / 2) < 3 * math.sqrt(walks / 4)
    assert max(concepts) == 5 and concepts[5] + concepts[4] > 0.8 * walks


def jaccard(edition: Edition, nodes: list[int]) -> list[int]:
    """The nearest two documents, by comparing all of them."""
    mine = {*nodes}
    held = [{*edition.nodes.row(place).tolist()} for place in range(len(edition.documents))]
    similarity = [Fraction(len(mine & theirs), len(mine | theirs)) for theirs in held]
    order = sorted(range(len(held)), key=lambda place: (-similarity[place], place))
    return [int(edition.documents[place]) for place in order if similarity[place]][:2]


def test_references_of_the_numbers_are_those_of_brute_force():
    edition = numbers_edition()
    walks = Walks(edition, 3)
    for number in range(200):
        nodes = walks.nodes(number)
        found = walks.walk(number)
        assert list(found.documents) == nearest(edition, nodes) == jaccard(edition, nodes)
        assert found.topics + found.concepts == tuple(edition.names[node] for node in nodes)
    # By hand: what has 2, 3 and 4 for topics, and 2, 3 and 11 for key concepts, and least else.
    names = node_names(edition)
    wanted = [(Kind.TOPIC, f"multiple of {k}") for k in (1, 2, 3, 4)]
    wanted += [(Kind.CONCEPT, f"multiple of {p}") for p in (2, 3, 11)]
    assert nearest(edition, [names.index(each) for each in wanted]) == [132, 264]


@given(editions.filter(lambda edition: len(edition.topics)), st.integers(0, 30))
@settings(deadline=None)
def test_references_are_those_of_brute_force(edition, number):
    walks = Walks(edition, 1)
    found = walks.walk(number).documents
    assert list(found) == jaccard(edition, walks.nodes(number)) and 1 <= len(found) <= 2


@given(found_concepts, st.integers(1, 3))
@settings(deadline=None)
def test_every_document_that_a_walk_refers_to_shares_a_node(found, least):
    edition = build_edition(np.arange(len(found)), found, min_documents=least, max_share=Fraction(1))
    if edition.topics:
        names, held = node_names(edition), counted(found, least, Fraction(1))
        walks, edges = Walks(edition, 9), weights(held)
        mine = [names[node] for node in walks.nodes(0)]
        assert all(edges[pair] for pair in pairwise(mine))
        assert all({*mine} & held[document] for document in walks.walk(0).documents)


def test_walks_are_fixed_for_ever():
    walks = Walks(numbers_edition(), 17)
    assert [walks.nodes(0), walks.nodes(7)] == [[2, 0, 4, 8, 11, 5, 10, 9], [0, 2, 10, 5, 9, 11]]
    topics, concepts = (3, 1, 2), (3, 13, 2, 5, 11)
    names = [tuple(f"Multiple of {number}" for number in numbers) for numbers in (topics, concepts)]
    assert walks.walk(12345) == Walk(*names, (66, 78))


def test_walks_of_many_documents_refer_to_them_by_their_numbers():
    found = [concepts_of(number) for number in NUMBERS]
    whole = numbers_edition()
    far = build_edition(np.array(NUMBERS) * 7_000_000, found, min_documents=2, max_share=Fraction(1))
    nodes = [*range(len(TOPICS)), *range(len(TOPICS), len(TOPICS) + len(CONCEPTS) - 1)]
    assert nearest(far, nodes) == [number * 7_000_000 for number in nearest(whole, nodes)]
