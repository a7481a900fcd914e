"""Sealing is pure: here without any store, on random recipes and whatever happens to exist."""

from collections import Counter
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdocs.ledger.manifest import Manifest, State
from streamdocs.ledger.sealing import NotYet, Sealer
from streamdocs.recipes import Rephrase, Stitch, Stretch
from streamdocs.recipes.layout import Part
from streamdocs.schedule.mixture import Mixture, plain_shares
from streamdocs.schedule.order import Shuffle, SourceOrder
from streamdocs.schedule.packing import Packer, Units
from streamdocs.schedule.rounds import GenerationOrder

DOCUMENTS, LENGTH = 40, 32


@dataclass
class FakeShelf:
    """What a store would say; ``rejected`` are (document, round) of which nothing was accepted."""

    recipe: object
    watermark: int
    rejected: set = field(default_factory=set)

    def all_lengths(self, documents, rounds):
        items = zip(documents.tolist(), rounds.tolist(), strict=True)
        found = [self._lengths(*item) for item in items]
        return np.array(found, np.uint32).reshape(len(documents), self.recipe.round_size)

    def all_checksums(self, units):
        generations = zip(units.owners.tolist(), units.rounds.tolist(), units.numbers.tolist(), strict=True)
        return np.array([hash(each) % 2**64 for each in generations], np.uint64)

    def _lengths(self, document: int, round: int) -> list[int]:
        size = self.recipe.round_size
        rng = np.random.default_rng([document, round])
        return [0] * size if (document, round) in self.rejected else rng.integers(1, 90, size).tolist()


def make_sealer(recipe, when_behind="reuse", window=16, fraction="3/4") -> Sealer:
    order = SourceOrder(np.array([DOCUMENTS]), Shuffle(5), "synthetic")
    constants = {Part.BOS: np.zeros(1), Part.EOS: np.zeros(1), Part.SEPARATOR: np.zeros(2)}
    tokens = np.random.default_rng(0).integers(1, 100, DOCUMENTS)
    packer = Packer(recipe, recipe.unit_layout, constants)
    mixture = Mixture(plain_shares(Fraction(fraction)), LENGTH, window, 5)
    stream = SimpleNamespace(
        mixture=mixture,
        rows=partial(mixture.rows, 1),
        recipe=recipe,
        order=order,
        unit_tokens=lambda units: packer.unit_tokens(units, tokens[units.documents]),
    )
    return Sealer(stream, GenerationOrder(recipe, order), when_behind)


def seal_all(sealer, shelf, windows: int) -> list[Manifest]:
    manifests, state = [], State()
    for _ in range(windows):
        manifests.append(sealer.seal(state, shelf))
        assert isinstance(manifests[-1], Manifest), manifests[-1]
        state = manifests[-1].after
    return manifests


def units_of(manifests: list[Manifest]) -> list[tuple]:
    """Every unit in reading order, those that go on in the next window once."""
    units = []
    for manifest in manifests:
        splits = np.cumsum(manifest.units.counts)[:-1]
        columns = [np.split(c, splits) for c in (manifest.units.rounds, manifest.units.numbers)]
        here = [
            (int(d), tuple(zip(r.tolist(), n.tolist(), strict=True)))
            for d, r, n in zip(manifest.units.documents, *columns, strict=True)
        ]
        units += here[len(manifest.before.carry) :] if units else here
    return units


recipes = st.one_of(
    st.builds(Stitch, generations=st.sampled_from([2, 4]), per_round=st.sampled_from([1, 2])),
    st.builds(Stretch, generations=st.sampled_from([2, 4]), per_round=st.sampled_from([1, 2])),
    st.builds(Rephrase, generations=st.sampled_from([2, 4]), per_round=st.sampled_from([1, 2]), web=st.booleans()),
)


@settings(max_examples=60, deadline=None)
@given(recipes, st.sampled_from(["wait", "reuse", "web"]))
def test_every_unit_is_read_once_a_pass(recipe, when_behind):
    shelf = FakeShelf(recipe, recipe.cycle * DOCUMENTS)
    units = units_of(seal_all(make_sealer(recipe, when_behind), shelf, 60))
    a_pass = DOCUMENTS * recipe.sweeps
    assert len(units) > 2 * a_pass
    for start in range(0, len(units) - a_pass, a_pass):
        assert len(set(units[start : start + a_pass])) == a_pass
    for sweep in range(len(units) // DOCUMENTS):
        documents = [document for document, _ in units[sweep * DOCUMENTS : (sweep + 1) * DOCUMENTS]]
        assert sorted(documents) == list(range(DOCUMENTS))


@settings(max_examples=60, deadline=None)
@given(recipes, st.data())
def test_every_available_unit_is_read_once_a_pass(recipe, data):
    watermark = data.draw(st.integers(DOCUMENTS // 4, recipe.cycle * DOCUMENTS))
    pairs = st.tuples(st.integers(0, DOCUMENTS - 1), st.integers(0, recipe.cycle - 1))
    shelf = FakeShelf(recipe, watermark, data.draw(st.sets(pairs, max_size=10)))
    units = units_of(seal_all(make_sealer(recipe), shelf, 60))
    reads = Counter(units)
    # Endless passes over the same units: after the last whole one, some were read once more.
    assert max(reads.values()) - min(reads.values()) <= 1
    newest = GenerationOrder(recipe, SourceOrder(np.array([DOCUMENTS]), Shuffle(5), "synthetic")).newest_round(
        np.arange(DOCUMENTS), watermark
    )
    accepted = {
        document
        for document in range(DOCUMENTS)
        if any((document, round) not in shelf.rejected for round in range(newest[document] + 1))
    }
    read = {document for document, generations in units if generations}
    assert read == accepted


@settings(max_examples=40, deadline=None)
@given(recipes, st.sampled_from(["reuse", "web"]), st.data())
def test_tokens_add_up_while_generations_grow(recipe, when_behind, data):
    """Nothing padded, nothing dropped, whatever existed when a window was sealed."""
    sealer, state, watermark = make_sealer(recipe, when_behind), State(), DOCUMENTS // 2
    read = 0
    for _ in range(12):
        watermark += data.draw(st.integers(0, DOCUMENTS))
        shelf = FakeShelf(recipe, min(watermark, recipe.cycle * DOCUMENTS))
        manifest = sealer.seal(state, shelf)
        again = sealer.seal(state, shelf)
        assert manifest.pack() == again.pack()
        unpacked = Manifest.unpack(manifest.pack())
        assert unpacked.after == manifest.after and unpacked.before == state
        assert unpacked.pack() == manifest.pack()
        tokens = sealer._unit_tokens(manifest.units).sum()
        rows = len(sealer._rows(state.window))
        assert manifest.unit_rows + manifest.after.filler_rows - state.filler_rows == rows
        assert when_behind == "web" or manifest.unit_rows == rows
        read += manifest.unit_rows * LENGTH
        left = tokens - state.skip - manifest.unit_rows * LENGTH
        carried = sealer._unit_tokens(Units.of(manifest.after.carry))
        # What is cut off at the end of the window is exactly what the next one begins with.
        if manifest.after.skip:
            assert left == carried[0] - manifest.after.skip
        else:
            assert left == 0
        state = manifest.after
    assert state.synthetic_rows * LENGTH == read


def test_wait_wants_all_generations_and_says_what_is_missing():
    recipe = Stitch(generations=4, per_round=1)
    sealer = make_sealer(recipe, "wait")
    for watermark in (0, DOCUMENTS, 3 * DOCUMENTS):
        result = sealer.seal(State(), FakeShelf(recipe, watermark))
        assert isinstance(result, NotYet)
        first = sealer._order.order(0)[0]
        assert f"round 3 of document {first} is wanted: " in result.missing
        assert f"of which {watermark} are resolved" in result.missing
    manifest = sealer.seal(State(), FakeShelf(recipe, 4 * DOCUMENTS))
    assert (manifest.units.counts == 4).all()


def test_whether_there_is_enough_to_start_on_is_quick_to_tell():
    """However many rounds of what there is would fill the first window: nobody looks at all documents for each."""
    for recipe in (Stitch(generations=2), Rephrase(generations=8, per_round=1)):
        sealer, asked = make_sealer(recipe, window=4096), set()
        order = sealer._order.order

        def counted(sweep, order=order, asked=asked):
            asked.add(sweep)
            return order(sweep)

        sealer._order.order = counted
        assert all(isinstance(sealer.seal(State(), FakeShelf(recipe, watermark)), NotYet) for watermark in range(4))
        assert asked == {0}


def test_reuse_starts_when_there_is_enough_and_never_waits_again():
    recipe = Stitch(generations=2)
    sealer = make_sealer(recipe, window=256)
    results = [sealer.seal(State(), FakeShelf(recipe, watermark)) for watermark in range(10)]
    enough = next(watermark for watermark, result in enumerate(results) if isinstance(result, Manifest))
    assert enough > 1 and all(isinstance(result, Manifest) for result in results[enough:])
    reads = Counter(results[enough].units.documents.tolist())
    assert len(reads) == enough and max(reads.values()) <= 16 + 1
    assert isinstance(sealer.seal(results[enough].after, FakeShelf(recipe, enough)), Manifest)


def test_web_fills_and_catches_up_without_skipping():
    recipe = Stitch(generations=2)
    sealer = make_sealer(recipe, "web")
    empty = sealer.seal(State(), FakeShelf(recipe, 0))
    assert empty.unit_rows == 0 and empty.after.filler_rows == 12
    some = sealer.seal(empty.after, FakeShelf(recipe, 2))
    assert 0 < some.unit_rows < 12
    full = sealer.seal(some.after, FakeShelf(recipe, 2 * DOCUMENTS))
    assert full.unit_rows == 12
    read = [document for document, _ in units_of([some, full])]
    assert read == sealer._order.order(0)[: len(read)].tolist()


def test_newer_rounds_replace_older_ones():
    recipe = Stitch(generations=2, per_round=1, rounds=None)
    sealer = make_sealer(recipe)
    manifest = sealer.seal(State(), FakeShelf(recipe, 5 * DOCUMENTS))
    rounds = manifest.units.rounds.reshape(-1, 2)
    # Slots keep their places: round 4 fills slot 0, round 3 slot 1.
    assert (rounds == [4, 3]).all()
    assert manifest.oldest_round == 3


def test_documents_without_any_accepted_generation_are_left_out():
    recipe = Stitch(generations=1)
    rejected = {(document, 0) for document in range(0, DOCUMENTS, 2)}
    for when_behind in ("wait", "reuse", "web"):
        sealer = make_sealer(recipe, when_behind)
        manifest = sealer.seal(State(), FakeShelf(recipe, DOCUMENTS, rejected))
        assert (manifest.units.documents % 2 == 1).all()


def test_nothing_at_all_is_not_an_endless_loop():
    recipe = Rephrase(generations=2, web=False)
    shelf = FakeShelf(recipe, DOCUMENTS, {(document, 0) for document in range(DOCUMENTS)})
    assert isinstance(make_sealer(recipe).seal(State(), shelf), NotYet)


@pytest.mark.parametrize("fraction", ["0", "1"])
def test_the_ends_of_the_mixture(fraction):
    recipe = Stitch(generations=1)
    manifest = make_sealer(recipe, fraction=fraction).seal(State(), FakeShelf(recipe, DOCUMENTS))
    assert manifest.unit_rows == int(fraction) * 16
    assert manifest.after == replace(manifest.after, window=1)
