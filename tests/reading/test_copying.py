"""What is worked out for thousands at once is what it would be one by one, and damage is noticed all the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import STITCH, TEMPLATE, corrupt, generate, make_dataset, make_run
from streamdocs import Rephrase, Stitch, StreamingMegadocDataset, Stretch
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import MissingGenerationError
from streamdocs.generations.record_cache import RecordCache, found_dtype
from streamdocs.generations.records import StoreShelf, token_key
from streamdocs.ledger.manifest import State
from streamdocs.recipes.layout import WEB_LAYOUT, Part
from streamdocs.schedule.packing import Generation, Packer, Unit, Units

RECIPES = [Stitch(generations=4, web=web) for web in ("last", "first", "none")]
RECIPES += [Stretch(generations=4), Rephrase(generations=4)]


def make_units(data) -> Units:
    generations = st.lists(st.integers(1, 50), max_size=4)
    units = data.draw(st.lists(st.tuples(st.integers(0, 9), generations), min_size=1, max_size=8))
    return Units.of(
        Unit(document, tuple(Generation(0, number, tokens) for number, tokens in enumerate(lengths)))
        for document, lengths in units
    )


@given(st.sampled_from(RECIPES), st.booleans(), st.data())
def test_tokens_of_a_unit_are_those_of_its_pieces(recipe, web, data):
    constants = {Part.BOS: np.zeros(1), Part.EOS: np.zeros(1), Part.SEPARATOR: np.zeros(2), Part.OPEN: np.zeros(3)}
    packer = Packer(recipe, WEB_LAYOUT if web else recipe.unit_layout, constants)
    units = make_units(data)
    document_tokens = np.array(data.draw(st.lists(st.integers(1, 90), min_size=10, max_size=10)))[units.documents]
    pieces = packer.pieces(units, document_tokens)
    expected = [int(pieces.length[pieces.unit == unit].sum()) for unit in range(len(units))]
    assert packer.unit_tokens(units, document_tokens).tolist() == expected


@given(st.data())
def test_a_run_of_units_is_that_of_their_list(data):
    units = make_units(data)
    listed = units.listed()
    first, last = (data.draw(st.integers(0, len(units))) for _ in range(2))
    assert units[first:last].listed() == listed[first:last]
    assert Units.joined([units[:first], units[first:]]).listed() == listed


def test_documents_are_located_together_as_one_by_one(large_corpus):
    corpus = Corpus(large_corpus)
    documents = np.random.default_rng(0).integers(0, len(corpus.documents), 300)
    shards, begins = corpus.locate(documents)
    for document, shard, begin in zip(documents.tolist(), shards, begins.tolist(), strict=True):
        tokens = corpus.tokens(document)
        assert bytes(shard[begin : begin + tokens.nbytes]) == tokens.tobytes()
        assert corpus.document_digests(np.array([document])) == [corpus.document_digest(document)]
    assert corpus.locate(documents[:0])[0] == []


def test_keys_of_many_are_the_keys_of_each(small_corpus):
    run = make_run(small_corpus, Stretch(generations=4, per_round=2))
    documents, rounds = np.array([3, 1, 3, 2]), [0, 1, 1, 0]
    of_many = run.corpus.document_digests(documents), rounds
    digests, checks = run.stream().scope.keyring.digests(*of_many), run.stream().scope.keyring.checks(*of_many)
    for document, round, digest, check in zip(documents.tolist(), rounds, digests, checks, strict=True):
        assert run.stream().scope.keyring.key(run.corpus.document_digest(document), round) == (digest, check)
    assert len(set(digests)) == 4


def test_values_of_many_keys_come_in_their_order(store):
    store.add("texts", {b"a": b"1", b"b": b"2"})
    with store.read() as snapshot:
        found = snapshot.get_many("texts", [b"b", b"c", b"a", b"b"]).listed()
        assert [None if value is None else bytes(value) for value in found] == [b"2", None, b"1", b"2"]


@pytest.mark.parametrize("offset", [-1, 30])
def test_one_flipped_bit_is_an_error_that_says_which_document(small_corpus, store, offset):
    run = make_run(small_corpus, Stitch(generations=2))
    generate(run, store)

    def read() -> None:
        dataset = StreamingMegadocDataset(
            local=small_corpus, store=store, recipe=Stitch(generations=2), generator=TEMPLATE, shuffle_seed=17,
            synthetic_fraction="0.75", max_seq_len=64, window=32, batch_size=4,
        )  # fmt: skip
        manifest = dataset.ledger.manifest(0)
        damaged.append(int(manifest.units.documents[1]))
        for position in range(32):
            _ = dataset[position]["input_ids"]

    damaged: list[int] = []
    read()
    key = run.stream().scope.keyring.key(run.corpus.document_digest(damaged[0]), 0)
    where = token_key(run.stream().scope, key.digest)
    with store.read() as snapshot:
        record = bytearray(snapshot.get("tokens", where))
    record[offset] ^= 1
    store.delete("tokens", [where])
    store.add("tokens", {where: bytes(record)})
    with pytest.raises(MissingGenerationError, match=rf"window 0 .* of 1 documents \({damaged[0]}\)"):
        read()


def found_of(lengths, faults) -> np.ndarray:
    found = np.zeros(len(lengths), found_dtype(2))
    found["lengths"], found["checksums"], found["faults"] = lengths, np.array(lengths) + 7, faults
    return found


def test_records_that_were_found_whole_are_not_looked_at_again():
    asked = []

    def find(documents, rounds):
        def look(at):
            of, round = documents[at], rounds[at]
            asked.extend(zip(of.tolist(), round.tolist(), strict=True))
            return found_of(np.stack([of * 10 + round, round], axis=1), (of == 0)[:, None] * [0, 1])

        return cache.find(documents, rounds, look)

    cache = RecordCache(documents=600, rounds=2, round_size=2)
    documents, rounds = np.array([1, 1, 5, 1, 0]), np.array([0, 0, 1, 1, 0])
    for _ in range(2):
        found, rows = find(documents, rounds)
        assert found["lengths"][rows].tolist() == [[10, 0], [10, 0], [51, 1], [11, 1], [0, 0]]
        assert found["checksums"][rows, 0].tolist() == [17, 17, 58, 18, 7]
        assert found["faults"][rows].any(axis=1).tolist() == [False, False, False, False, True]
    # Something of document 0 is lost in round 0, and may be there again.
    assert sorted(asked) == [(0, 0), (0, 0), (1, 0), (1, 1), (5, 1)]
    many = np.arange(1, 600)
    for _ in range(2):  # it takes the place of the round that it replaces
        found, rows = find(many, np.full(599, 2))
        assert found["lengths"][rows, 0].tolist() == (many * 10 + 2).tolist()
    assert len(asked) == 5 + 599
    for _ in range(2):
        found, rows = find(documents[:4], rounds[:4])
        assert found["lengths"][rows, 0].tolist() == [10, 10, 51, 11]
    assert len(asked) == 5 + 599 + 1


@given(st.data())
def test_records_that_share_a_place(data):
    cache = RecordCache(documents=100, rounds=1, round_size=2, max_bytes=8 * 7 * found_dtype(2).itemsize)
    items = st.tuples(st.integers(0, 99), st.integers(0, 3))
    for _ in range(3):
        documents, rounds = np.array(data.draw(st.lists(items, min_size=1)), np.int64).T
        items_of = np.stack([documents, rounds], axis=1)
        found, rows = cache.find(documents, rounds, lambda at, known=items_of: found_of(known[at], 0))
        assert found["lengths"][rows].tolist() == items_of.tolist()
    assert len(cache._found) == 7  # an eighth of what all would not fit into


def test_a_run_that_is_sealed_anew_forgets_what_it_found_whole_before(small_corpus, store):
    generate(make_run(small_corpus, STITCH), store)
    dataset = make_dataset(small_corpus, store)
    manifest = dataset.ledger.manifest(3)
    document = int(manifest.units.documents[1])
    corrupt(dataset, document, 0)  # of its last generation
    dataset.ledger.reseal(3, "a test")
    later = [dataset.ledger.manifest(window).units for window in range(3, 24)]
    read = {number for units in later for number in units.numbers[units.owners == document].tolist()}
    assert read == set(range(STITCH.generations - 1))


def test_what_sealing_remembers_is_what_another_process_finds(small_corpus, store):
    """Every manifest, its digest of the text included, with a memory of 12 windows and without any."""
    recipe = Rephrase(generations=4)
    generate(make_run(small_corpus, recipe), store)
    remembers = make_dataset(small_corpus, store, recipe=recipe)
    together = [remembers.ledger.manifest(window).pack() for window in range(12)]
    state = State()
    for packed in together:
        with store.read() as snapshot:
            shelf = StoreShelf(snapshot, remembers.run.stream().scope, 0, deep=True)
            manifest = remembers.ledger._sealer.seal(state, shelf)
        assert manifest.pack() == packed
        state = manifest.after
