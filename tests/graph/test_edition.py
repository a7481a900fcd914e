"""Editions: what they are made of, in figures, and as bytes."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.strategies import damaged
from graphs import (
    CONCEPTS,
    NUMBERS,
    TOPICS,
    counted,
    found_concepts,
    lcm_weight,
    node_names,
    number_of,
    numbers_edition,
    weights,
)
from streamdocs.errors import ConfigError
from streamdocs.graph import packing
from streamdocs.graph.build import build_edition
from streamdocs.graph.edition import Edition
from streamdocs.graph.packing import pack_edition, unpack_edition
from streamdocs.graph.summary import Spread, degrees, summarise

limits = st.tuples(st.integers(1, 3), st.fractions(Fraction(1, 12), 1))


def test_nodes_edges_and_weights_of_the_numbers():
    edition = numbers_edition()
    assert edition.topics == tuple(f"Multiple of {k}" for k in TOPICS)
    assert edition.concepts == tuple(f"Multiple of {p}" for p in (11, 13, 149, 2, 3, 5, 7))
    assert edition.documents.tolist() == [*NUMBERS]
    numbers = [number_of(edition, node) for node in range(len(edition.names))]
    for node, a in enumerate(numbers):
        expected = {other: lcm_weight(a, b) for other, b in enumerate(numbers) if other != node and lcm_weight(a, b)}
        others, edges = edition.neighbours(node)
        assert dict(zip(others.tolist(), edges.tolist(), strict=True)) == expected
        assert [edition.documents[place] for place in edition.holders.row(node)] == [*range(a, 301, a)]


def test_names_of_more_documents_than_a_share_are_no_nodes():
    edition = numbers_edition(Fraction(1, 2))
    assert edition.topics == tuple(f"Multiple of {k}" for k in TOPICS if k > 1)
    assert "Multiple of 2" in edition.concepts  # which half of them have, and no more
    no_divisor = [n for n in NUMBERS if all(n % each for each in (*TOPICS[1:], *CONCEPTS[:-1]))]
    assert edition.documents.tolist() == sorted({*NUMBERS} - {*no_divisor})
    strict = numbers_edition(Fraction(149, 300))
    assert strict.concepts == tuple(name for name in edition.concepts if name != "Multiple of 2")
    assert 0 < len(strict.documents) < len(edition.documents)


def test_a_name_is_shown_as_it_is_mostly_spelled():
    topics = [[("gene", ["Cells", "b", "x"])], [("Genes", ["cell", "B", "x \ud800"])], [("Genes", ["cell", "b"])]]
    edition = build_edition(np.arange(3), topics, min_documents=2, max_share=Fraction(1))
    assert edition.names == ("Genes", "b", "cell", "x")
    spelled = build_edition(np.arange(2), topics[:2], min_documents=2, max_share=Fraction(1))
    assert spelled.names == ("Genes", "B", "Cells", "x")  # by alphabet, as each is there once


@given(found_concepts, limits, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_a_build_is_what_counting_gives(found, limits, chance):
    numbers = chance.sample(range(1000), len(found))
    least, share = limits
    edition = build_edition(np.array(numbers, np.int64), found, min_documents=least, max_share=share)
    held = dict(zip(numbers, counted(found, least, share), strict=True))
    names = node_names(edition)
    assert names == sorted({node for nodes in held.values() for node in nodes})
    got = {
        int(number): {names[node] for node in edition.nodes.row(place).tolist()}
        for place, number in enumerate(edition.documents)
    }
    assert got == {number: nodes for number, nodes in held.items() if nodes} and [*got] == sorted(got)
    together = weights([*held.values()])
    for node, name in enumerate(names):
        others, edges = edition.neighbours(node)
        expected = {other: together[name, other] for other in names if together[name, other]}
        assert {names[other]: n for other, n in zip(others.tolist(), edges.tolist(), strict=True)} == expected
    assert sorted(degrees(edition).tolist()) == sorted(sum(together[a, b] for b in names) for a in names)


@given(found_concepts, limits, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_documents_makes_no_difference(found, limits, chance):
    least, share = limits
    pairs = [*enumerate(found)]
    edition = build_edition(np.arange(len(found)), found, min_documents=least, max_share=share)
    chance.shuffle(pairs)
    numbers = np.array([number for number, _ in pairs], np.int64)
    again = build_edition(numbers, (topics for _, topics in pairs), min_documents=least, max_share=share)
    assert again.digest == edition.digest


def test_what_cannot_be_built():
    for options in ({"min_documents": 0}, {"max_share": Fraction(0)}, {"max_share": Fraction(3, 2)}):
        with pytest.raises(ConfigError, match=r"min_documents=.* and max_share="):
            build_edition(np.arange(2), [None, None], **{"min_documents": 1, "max_share": Fraction(1), **options})
    with pytest.raises(ValueError, match="a document comes twice"):
        build_edition(np.array([3, 1, 3]), [None] * 3, min_documents=1, max_share=Fraction(1))
    for entries in ([None] * 2, [None] * 4):
        with pytest.raises(ValueError, match="argument 2 is"):
            build_edition(np.arange(3), entries, min_documents=1, max_share=Fraction(1))


def test_digests_are_fixed_for_ever():
    assert numbers_edition().digest.hex() == "39f8fb61a873e6cb070abd3c1936aaf7"
    nothing = build_edition(np.arange(0), [], min_documents=1, max_share=Fraction(1))
    assert nothing.digest.hex() == "3302060a1869cf69b94b3ed6fa42d2bf"


def test_whatever_differs_has_another_digest():
    def digest(number=7, topic="t", names=("a", "b")):
        found = [[(topic, names)], [(topic, names[::-1])]]
        return build_edition(np.array([1, number]), found, min_documents=1, max_share=Fraction(1)).digest

    assert digest() == digest(names=("b", "a"))
    assert len({digest(), digest(number=8), digest(topic="T"), digest(names=("a",)), digest(names=("a", "c"))}) == 5


def test_figures_of_the_numbers():
    found = summarise(numbers_edition(), largest=2)
    holders = {n: 300 // n for n in (*TOPICS, *CONCEPTS[:-1])}
    assert (found.documents, found.topics, found.concepts) == (300, 5, 7)
    between = [
        sum(lcm_weight(a, b) for a in TOPICS for b in TOPICS if a < b),
        sum(lcm_weight(a, b) for a in TOPICS for b in CONCEPTS[:-1]),
        sum(lcm_weight(a, b) for a in CONCEPTS[:-1] for b in CONCEPTS[:-1] if a < b),
    ]
    assert found.edges == tuple(between)
    assert found.documents_of_topic == Spread(60, 100, 300, 300, sum(holders[k] for k in TOPICS) / 5)
    assert found.documents_of_concept[:4] == (2, 42, 150, 150)
    degree = [sum(lcm_weight(k, b) for b in (*TOPICS, *CONCEPTS[:-1])) - 300 // k for k in TOPICS]
    assert found.largest == (("Multiple of 1", 300, degree[0]), ("Multiple of 2", 150, degree[1]))
    assert found.degree_of_topic.most == max(degree) and found.degree_of_topic.mean == sum(degree) / 5
    sizes = Counter(sum(n % d == 0 for d in (*TOPICS, *CONCEPTS[:-1])) for n in NUMBERS)
    assert found.nodes_of_document.mean == sum(size * times for size, times in sizes.items()) / 300


def test_figures_of_nothing():
    found = summarise(build_edition(np.arange(3), [None] * 3, min_documents=1, max_share=Fraction(1)))
    assert found.documents == found.topics == found.concepts == 0 and found.edges == (0, 0, 0) and found.largest == ()


def same(edition: Edition, other: Edition) -> bool:
    arrays = [(each.documents, each.nodes.starts, each.nodes.columns) for each in (edition, other)]
    equal = all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(*arrays, strict=True))
    return equal and edition.names == other.names and edition.topics == other.topics


@given(found_concepts, st.integers(1, 5))
@settings(deadline=None)
def test_an_edition_is_unpacked_as_it_was_packed(found, together):
    edition = build_edition(np.arange(len(found)), found, min_documents=1, max_share=Fraction(1))
    kept, packing.TOGETHER = packing.TOGETHER, together
    try:
        parts = [*pack_edition(edition)]
    finally:
        packing.TOGETHER = kept
    assert len(parts) == 1 + math.ceil(len(edition.documents) / together)
    assert same(unpack_edition(parts), edition)
    for wrong in (parts[1:], parts[:-1], [*parts, parts[-1]], parts[::-1]):
        if wrong != parts:
            with pytest.raises(ValueError, match=r"."):
                unpack_edition(wrong)


PARTS = [*pack_edition(numbers_edition())]


@pytest.mark.parametrize("part", range(len(PARTS)))
@given(st.data())
@settings(deadline=None)
def test_what_is_damaged_is_never_another_edition(part, data):
    parts = [*PARTS]
    parts[part] = data.draw(damaged(PARTS[part]))
    try:
        found = unpack_edition(parts)
    except ValueError:
        return
    assert same(found, numbers_edition())


def forged(**changed) -> list[bytes]:
    """What somebody packs who has the right digest of a wrong edition."""
    whole = numbers_edition()
    wrong = Edition(**{"topics": whole.topics, "concepts": whole.concepts, "documents": whole.documents, **changed})
    return [*pack_edition(wrong)]


@pytest.mark.parametrize(
    "change",
    [
        "a node that is not there",
        "a node below 0",
        "a node twice",
        "a document twice",
        "no nodes",
        "below 0",
        "too few",
    ],
)
def test_an_edition_that_leads_to_what_is_not_there_is_refused(change):
    whole = numbers_edition()
    documents, columns, starts = whole.documents.copy(), whole.nodes.columns.copy(), whole.nodes.starts.copy()
    if change == "a node that is not there":
        columns[-1] = len(whole.names)
    elif change == "a node below 0":
        columns[0] = -1
    elif change == "a node twice":
        columns[starts[1] + 1] = columns[starts[1]]
    elif change == "a document twice":
        documents[8] = documents[7]
    elif change == "no nodes":
        starts[5] = starts[4]
    elif change == "below 0":
        documents[0] = -1
    else:
        documents = documents[:-1]
    with pytest.raises(ValueError, match=r"damaged|shape"):
        unpack_edition(forged(documents=documents, nodes=type(whole.nodes)(starts, columns)))
