"""Plans of hard documents, in a store."""

from types import SimpleNamespace

import msgpack
import numpy as np
import pytest
import zstandard

from streamdocs._base.hashing import text_digest
from streamdocs.errors import StoreError
from streamdocs.plans.hard import HardPlan, HardPlans
from streamdocs.recipes.rules import ErrorRule
from streamdocs.store import LmdbStore

SERIES, NUMBERS = b"s" * 16, np.array([2, 3, 5, 7, 11, 13, 17, 19])
SOURCES = SimpleNamespace(
    numbers=NUMBERS,
    digests=lambda documents: [text_digest(str(each).encode()) for each in documents.tolist()],
)
RULE = ErrorRule(share="1/2", cap=4)


@pytest.fixture
def store(tmp_path) -> LmdbStore:
    return LmdbStore(tmp_path / "store")


def make_plans(store: LmdbStore, series: bytes = SERIES) -> HardPlans:
    plans = HardPlans(series, SOURCES, RULE, 2)
    plans.attach(store)
    return plans


def plan(hard=(3, 13), counts=(3, 1), first: int = 4, stop: int = 9) -> HardPlan:
    arrays = {"hard": np.array([*hard], np.int32), "counts": np.array(counts, np.int32)}
    return HardPlan(first=first, stop=stop, reports=b"r" * 16, **arrays)


def told(each: HardPlan) -> tuple:
    return each.first, each.stop, each.reports, each.hard.tolist(), each.counts.tolist()


@pytest.mark.parametrize("made", [plan(), plan((), (), 0, 0), plan((0, 2**31 - 1), (255, 1))])
def test_a_plan_is_what_was_packed(made):
    found = HardPlan.unpack(made.pack())
    assert told(found) == told(made) and found.hard.dtype == found.counts.dtype == np.int32


def test_the_first_plan_of_a_round_is_the_one(store):
    plans, others = make_plans(store), make_plans(store)
    assert plans.find(1) is None
    assert told(plans.seal(1, plan())) == told(others.seal(1, plan((5,), (2,)))) == told(plan())
    assert make_plans(store, b"t" * 16).find(1) is None


def test_items_are_known_by_what_they_are_about(store):
    plans, documents = make_plans(store), np.repeat(NUMBERS, 2)
    plans.seal(1, plan())
    rounds = np.tile([0, 1], len(NUMBERS))
    about, numbers = plans.about(documents, rounds)
    assert (about[rounds == 0] == NUMBERS).all() and not numbers[rounds == 0].any()
    assert sorted(about[numbers > 0].tolist()) == [3, 3, 3, 13] and (rounds[numbers > 0] == 1).all()
    digests = plans.digests(documents, rounds)
    own = SOURCES.digests(about)
    assert len({*digests}) == 2 * len(NUMBERS) - np.sum((rounds == 1) & (numbers == 0))  # own items of both rounds
    for digest, of, number in zip(digests, own, numbers.tolist(), strict=True):
        assert digest == (text_digest(of + number.to_bytes(2, "big")) if number else of)
    one_by_one = [
        (plans.item(*item), plans.digest(*item)) for item in zip(documents.tolist(), rounds.tolist(), strict=True)
    ]
    assert one_by_one == list(zip(zip(about.tolist(), numbers.tolist(), strict=True), digests, strict=True))
    places = plans.places(3, 1)
    assert places[0] == 3 and plans.about(np.array(places), np.ones(4, int))[1].tolist() == [0, 1, 2, 3]
    assert plans.places(3, 0) == [3] and plans.places(5, 1) == [5]


def test_the_places_of_another_stream_are_others(store):
    many = SimpleNamespace(numbers=np.arange(400))
    found = []
    for series in (b"s" * 16, b"t" * 16):
        plans = HardPlans(series, many, RULE, 2)
        plans.attach(store)
        plans.seal(1, plan(range(0, 400, 8), [3] * 50))
        found.append({*np.flatnonzero(plans.about(many.numbers, np.ones(400, int))[1]).tolist()})
    assert len(found[0]) == len(found[1]) == 150 and 30 < len(found[0] & found[1]) < 100


def test_what_was_not_planned_is_told(store):
    with pytest.raises(StoreError, match="round 2 has no plan"):
        make_plans(store).about(NUMBERS, np.full(len(NUMBERS), 2))


def frame(*fields) -> bytes:
    return zstandard.ZstdCompressor().compress(msgpack.packb(fields))


def steps(*numbers: int) -> bytes:
    return np.array(numbers, "<i4").tobytes()


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xc1",
        plan().pack()[:-1],
        frame(),
        frame(4, 9, b"r" * 16, steps(3), b""),
        frame(9, 4, b"r" * 16, b"", b""),
        frame(4, 9, b"r" * 15, b"", b""),
        frame(4, 9, b"r" * 16, steps(3)[:3], b"\x01"),
        frame(4, 9, b"r" * 16, steps(3, 0), b"\x01\x01"),
        frame(4, 9, b"r" * 16, steps(-3), b"\x01"),
        frame(4, 9, b"r" * 16, steps(2**31 - 1, 2**31 - 1), b"\x01\x01"),
        frame(4, 9, b"r" * 16, steps(3), b"\x00"),
        plan((4,), (1,)).pack(),  # none of the stream's
        plan((3,), (4,)).pack(),  # more than the cap
        plan((3, 5), (3, 2)).pack(),  # more than the share
    ],
)
def test_a_damaged_plan_is_told(store, packed):
    store.add("windows", {b"plan/" + SERIES + (1).to_bytes(4, "big"): packed})
    with pytest.raises(StoreError, match=r"plan of round 1 .* cannot be read"):
        make_plans(store).find(1)


def test_few_plans_are_kept_in_memory(store):
    plans = make_plans(store)
    for round in range(1, 9):
        plans.seal(round, plan(first=round, stop=round + 1))
    assert [plans.of_round(round).first for round in range(1, 9)] == [*range(1, 9)]
    assert len(plans._known) == 4
