"""Which questions were asked before: the same ones whoever decides and however often, and as many as is documented."""

import random
import uuid

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdocs.store import LmdbStore
from streamdocs_server.gates.questions import BANDS, ROWS, Decided, bands, decide

SCOPE = bytes(range(16))
QUESTION = "A train leaves Bern at nine and reaches Zürich, 122 km away, an hour later. How fast was it?"


def same(one: str, other: str) -> bool:
    return not set(bands(one)).isdisjoint(bands(other))


def decided(store, first: int, items, scope: bytes = SCOPE) -> Decided:
    with store.read() as snapshot:
        return decide(snapshot, scope, first, items)


def commit(store, done: Decided) -> None:
    store.add_all({"notes": done.entries})


# Recorded: stores of all versions have these.
RECORDED = {
    QUESTION: (
        "e70a817600cda347753de7d744a8ccb22f9c4e311c64a98154b7acd0304f0f71"
        "b87dd9c56250c2761e5713e1e2185ca1ce6e5d439585ee13dc5e05e32507f771"
    ),
    "Why?": (
        "e414d0fb9b605143cd579b7b26e89e5646489cc4b66a4b2b63592af0063a0c72"
        "52ee7485d50783b7a28cf39c18c6b7cb6264fc4756b7eee66503f1563ba4e0bd"
    ),
    "为什么光合作用需要光?": (
        "a32db4af39c634f45767cf50ff380bc1dd1e9464a474931a3bc1c112d884f044"
        "dd431647af2566229eb035d7459b16e3f60a7f8679390a78723bae6a17abc9f6"
    ),
}


@pytest.mark.parametrize("question", RECORDED)
def test_bands_are_the_same_everywhere(question):
    found = bands(question)
    assert len(found) == BANDS and {len(each) for each in found} == {8}
    assert b"".join(found).hex() == RECORDED[question]


def test_notes_have_the_same_names_everywhere(tmp_path):
    names = decided(LmdbStore(tmp_path), 5, [[QUESTION]]).entries
    assert [*names][::7] == [
        b"asked/" + bytes.fromhex("b88ef50e989babbf"),
        b"asked/" + bytes.fromhex("e3610697e911bffd"),
    ]
    assert set(names.values()) == {(5).to_bytes(8, "big")}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (QUESTION, QUESTION.upper()),
        (QUESTION, f"**{QUESTION[:-1]}** ?"),
        (QUESTION, QUESTION.replace(",", " –").replace(" ", "\n")),
        ("Find the ﬁeld (½) of the coil", "find the field 1⁄2 of the coil!"),
        ("Why?", "why"),
        ("", "?!"),
    ],
)
def test_the_same_question_in_another_form(one, other):
    assert bands(one) == bands(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 12 + 4?", "What is 12 - 4?"),
        ("What is 12 × 4?", "What is 12 / 4?"),
        ("Is x < y?", "Is x > y?"),
        ("How old is C++?", "How old is C#?"),
        ("What is 3.5?", "What is 35?"),
        ("Why does it rain?", "Why does it snow?"),
    ],
)
def test_another_question_in_nearly_the_same_form(one, other):
    assert not same(one, other)


@pytest.mark.parametrize(("shingles", "changed", "share"), [(39, 1, 0.99), (38, 2, 0.806), (36, 4, 0.205)])
def test_as_many_are_noticed_as_documented(shingles, changed, share):
    """Pairs whose shingles have a Jaccard similarity of 0.95, 0.9 and 0.8: their last words differ."""
    rng = random.Random(shingles)
    found = 0
    for _ in range(2000):
        words = [f"{rng.getrandbits(40):x}" for _ in range(shingles + 2 + changed)]
        one, other = words[: shingles + 2], words[: shingles + 2 - changed] + words[-changed:]
        found += same(" ".join(one), " ".join(other))
    similarity = (shingles - changed) / (shingles + changed)
    assert share == pytest.approx(1 - (1 - similarity**ROWS) ** BANDS, abs=2e-3)
    assert abs(found / 2000 - share) < 4 * (share * (1 - share) / 2000) ** 0.5


def test_different_questions_are_different():
    rng = random.Random(5)
    words = [f"{rng.getrandbits(20):x}" for _ in range(500)]
    found = [band for _ in range(3000) for band in bands(" ".join(rng.choices(words, k=rng.randint(3, 30))))]
    assert len(set(found)) == len(found)


def naive(blocks, scope: bytes = SCOPE) -> list[list[list[bool]]]:
    """One after another, against each that was kept."""
    kept, dropped = [], []
    for block in blocks:
        dropped.append([])
        for item in block:
            dropped[-1].append([])
            for question in item:
                before = question is not None and any(same(question, each) for each in kept)
                dropped[-1][-1].append(before)
                if question is not None and not before:
                    kept.append(question)
    return dropped


@given(st.text(st.characters(categories=["Cs", "Lu", "Po", "Sm", "Zs", "Lo"])) | st.text())
def test_whatever_a_question_is_it_has_bands(question):
    assert len(bands(question)) == BANDS


# Few words, so that questions are near to each other in chains: a to b, b to c, and a not to c.
question = st.lists(st.sampled_from("abc"), min_size=1, max_size=14).map(" ".join)
blocks = st.lists(st.lists(st.lists(question | st.none(), max_size=3), min_size=1, max_size=3), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return LmdbStore(tmp_path_factory.mktemp("store"))


@settings(max_examples=150, deadline=None)
@given(blocks, st.data())
def test_whoever_decides_and_however_often_the_same_are_left_out(store, blocks, data):
    scope = uuid.uuid4().bytes  # a stream of its own
    firsts = [sum(map(len, blocks[:number])) for number in range(len(blocks))]
    expected = naive(blocks)
    for number, block in enumerate(blocks):
        for _ in range(data.draw(st.integers(0, 2))):  # servers that die before they commit, or come too late
            assert decided(store, firsts[number], block, scope).asked == expected[number]
        done = decided(store, firsts[number], block, scope)
        assert done.asked == expected[number]
        commit(store, done)
        # With all that is there by now, earlier blocks are as they were.
        again = data.draw(st.integers(0, number))
        repeated = decided(store, firsts[again], blocks[again], scope)
        assert repeated.asked == expected[again]
        commit(store, repeated)
    assert [decided(store, first, block, scope).asked for first, block in zip(firsts, blocks, strict=True)] == expected


def test_what_is_not_committed_was_not_asked(tmp_path):
    store = LmdbStore(tmp_path)
    assert decided(store, 0, [[QUESTION]]).asked == [[False]]
    assert decided(store, 16, [[QUESTION]]).asked == [[False]]
    done = decided(LmdbStore(tmp_path), 0, [[QUESTION, QUESTION, None], [QUESTION]])
    assert done.asked == [[False, True, False], [True]] and set(done.entries.values()) == {bytes(8)}
    commit(store, done)
    reopened = LmdbStore(tmp_path)
    assert decided(reopened, 16, [[None, QUESTION], []]).asked == [[False, True], []]
    assert decided(reopened, 16, [[QUESTION]], scope=bytes(16)).asked == [[False]]  # another stream


def test_what_was_left_out_is_nothing_to_compare_with(tmp_path):
    store = LmdbStore(tmp_path)
    rng = random.Random(2)
    words = [f"{rng.getrandbits(40):x}" for _ in range(40)]
    chain = [" ".join([*(f"{rng.getrandbits(40):x}" for _ in range(n)), *words[n:]]) for n in (0, 1, 12)]
    chain[1] = " ".join([*chain[2].split()[:1], *words[1:]])
    assert same(chain[0], chain[1]) and not same(chain[0], chain[2])
    done = decided(store, 0, [[chain[0]], [chain[1]]])
    assert done.asked == [[False], [True]]
    assert set(done.entries) == set(decided(store, 0, [[chain[0]]]).entries)


def test_a_damaged_entry_is_no_error(tmp_path):
    store = LmdbStore(tmp_path)
    done = decided(store, 0, [[QUESTION]])
    for value in (b"", b"\xff" * 8, b"\xff" * 20, b"\xff" * 300):
        store.replace({"notes": dict.fromkeys(done.entries, value)})
        assert decided(store, 16, [[QUESTION]]).asked in ([[False]], [[True]])


def test_permutations_are_those_of_minhash():
    """The textbook's way, with plain integers, gives the same signature."""
    from streamdocs_server.gates import questions

    shingles = ["why does it", "does it rain"]
    pairs = zip(questions._FACTORS.tolist(), questions._TERMS.tolist(), strict=True)
    signature = [min((xxhash.xxh3_64_intdigest(each) * a + b) % 2**64 for each in shingles) for a, b in pairs]
    rows = [b"".join(each.to_bytes(8, "little") for each in signature[i : i + ROWS]) for i in range(0, 128, ROWS)]
    assert bands("Why does it rain?") == [xxhash.xxh3_64_digest(row, seed=n) for n, row in enumerate(rows)]
    assert all(each % 2 for each in questions._FACTORS.tolist())
