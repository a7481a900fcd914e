"""Plans of rounds, and the editions that they name, in a store."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from streamdocs import Stitch
from streamdocs._base.hashing import canonical, digest128
from streamdocs.errors import StoreError
from streamdocs.graph.build import build_edition
from streamdocs.plans.drawing import drawn
from streamdocs.plans.editions import Editions
from streamdocs.plans.plans import Plan, Plans
from streamdocs.recipes.rules import GraphRule
from streamdocs.store import LmdbStore

SERIES, NUMBERS = b"s" * 16, np.array([3, 5, 8, 13])
SOURCES = SimpleNamespace(numbers=NUMBERS, identity=["corpus"])
RULE = GraphRule(
    concepts=Stitch(generations=1),
    editions=(Fraction(1, 2), Fraction(1)),
    min_documents=1,
    max_share=Fraction(1),
    walks=2,
    chars=100,
)


@pytest.fixture
def store(tmp_path) -> LmdbStore:
    return LmdbStore(tmp_path / "store")


@pytest.fixture
def plans(store) -> Plans:
    made = Plans(SERIES, SOURCES, 2)
    made.attach(store)
    return made


def edition(documents: int):
    topics = [[("rivers", ["water", f"river {number % 3}"])] for number in range(documents)]
    return build_edition(np.arange(documents), topics, min_documents=1, max_share=Fraction(1))


def test_walks_go_on_from_round_to_round_as_long_as_the_edition_does(plans):
    first, second = b"1" * 16, b"2" * 16
    assert plans.find(0) is None
    assert [plans.seal(round, each) for round, each in enumerate([first, first, second, second])] == [
        Plan(first, 0),
        Plan(first, 8),
        Plan(second, 0),
        Plan(second, 8),
    ]
    used = [
        (plans.of_round(round).edition, walk)
        for round in range(4)
        for n in NUMBERS
        for walk in plans.walks_of(n, round)
    ]
    assert used == [(each, walk) for each in (first, second) for walk in range(16)]


def test_the_first_plan_of_a_round_is_the_one(plans, store):
    other = Plans(SERIES, SOURCES, 2)
    other.attach(store)
    assert plans.seal(0, b"1" * 16) == other.seal(0, b"2" * 16) == other.of_round(0) == Plan(b"1" * 16, 0)


def test_an_item_is_known_by_its_edition_and_its_first_walk(plans):
    plans.seal(0, b"1" * 16)
    plans.seal(1, b"2" * 16)
    items = np.tile(NUMBERS, 2), np.repeat([0, 1], 4)
    digests = plans.digests(*items)
    assert len(set(digests)) == 8 and {len(each) for each in digests} == {24}
    assert digests == [
        digest128(plans.of_round(round).edition + canonical(["corpus"]))
        + plans.walks_of(source, round).start.to_bytes(8, "big")
        for source, round in zip(*(column.tolist() for column in items), strict=True)
    ]
    others = Plans(SERIES, SimpleNamespace(numbers=NUMBERS, identity=["another"]), 2)
    others.attach(plans._store)
    assert not {*digests} & {*others.digests(*items)}


def test_what_was_not_planned_is_told(plans, store):
    with pytest.raises(StoreError, match="round 3 has no plan"):
        plans.walks_of(3, 3)
    with pytest.raises(StoreError, match="none was attached"):
        Plans(SERIES, SOURCES, 2).find(0)


@pytest.mark.parametrize("packed", [b"", b"\xc1", b"\x92\xc4\x01a\x00", b"\x92\xc4\x10" + b"a" * 16 + b"\xff"])
def test_a_damaged_plan_is_told(plans, store, packed):
    store.add("windows", {b"plan/" + SERIES + bytes(4): packed})
    with pytest.raises(StoreError, match=r"plan of round 0 .* cannot be read"):
        plans.find(0)


def test_an_edition_is_sealed_once(store):
    editions, others = Editions(store, SERIES, RULE), Editions(store, SERIES, RULE)
    assert editions.sealed() == []
    first = editions.seal(1, edition(8), 8)
    assert others.seal(1, edition(9), 9) == first == others.sealed()[0]
    second = others.seal(2, edition(9), 9)
    assert editions.sealed() == [first, second] and editions.find(second.digest) == second
    assert first.number == 1 and (first.documents, first.topics) == (8, 1)
    assert editions.load(first.digest).digest == first.digest == edition(8).digest
    with pytest.raises(StoreError, match=r"edition 7878.* cannot be read"):
        editions.find(b"x" * 16)
    # A round that was planned by other rules is read by these, too.
    assert Editions(store, b"t" * 16, RULE).load(second.digest).digest == second.digest


def test_other_rules_and_other_concepts_are_other_editions(store):
    Editions(store, SERIES, RULE).seal(1, edition(8), 8)
    other = GraphRule(**{**vars(RULE), "min_documents": 2})
    assert Editions(store, b"t" * 16, RULE).sealed() == Editions(store, SERIES, other).sealed() == []
    # Of what walks are about alone, the graph does not depend.
    assert len(Editions(store, SERIES, GraphRule(**{**vars(RULE), "walks": 7, "chars": 9})).sealed()) == 1


@pytest.mark.parametrize("what", ["header", "part"])
@pytest.mark.parametrize("harmed", [None, b"\x94", b"\x00" * 40])
def test_a_damaged_edition_is_told(store, what, harmed):
    editions = Editions(store, SERIES, RULE)
    sealed = editions.seal(1, edition(8), 8)
    with store.read() as snapshot:
        keys = [key for key, _ in snapshot.scan("windows", f"edition {what}/".encode())]
    store.delete("windows", keys[:1]) if harmed is None else store.replace({"windows": {keys[0]: harmed}})
    with pytest.raises(StoreError, match=rf"edition {sealed.digest.hex()} .* cannot be read"):
        editions.load(sealed.digest)


def test_items_have_the_walks_of_their_plan(plans, store):
    editions = Editions(store, SERIES, RULE)
    digest = editions.seal(1, edition(8), 8).digest
    plans.seal(0, digest)
    walks = editions.walks(digest)
    found = drawn(plans, editions, 8, 0)
    assert [(each.edition, each.number, each.walk) for each in found] == [
        (digest, number, walks.walk(number)) for number in (4, 5)
    ]
    assert all(each.walk.topics == ("rivers",) and len(each.walk.documents) == 2 for each in found)
