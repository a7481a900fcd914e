import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamdocs._base.hashing import canonical, digest128, fingerprint, permutation, seeded_numbers
from streamdocs.recipes import Rephrase, Stitch, Stretch
from streamdocs.recipes.keys import FORMAT_VERSION, Generator, Keyring, Writers


@given(st.integers(0, 500), st.integers(0, 2**63), st.text(st.characters(codec="utf-8")))
def test_permutation(size, number, text):
    order = permutation(size, number, text)
    assert sorted(order.tolist()) == list(range(size))
    np.testing.assert_array_equal(order, permutation(size, number, text))


def test_permutations_are_fixed_for_ever():
    assert permutation(8, 17, "web", 3).tolist() == [4, 7, 6, 3, 0, 2, 1, 5]
    assert seeded_numbers(np.array([0, 5]), 17).tolist() == [18289287025754026689, 10860251343539605848]


def test_numbers_do_not_depend_on_their_neighbours():
    np.testing.assert_array_equal(seeded_numbers(np.array([3, 9]), 1), seeded_numbers(np.arange(10), 1)[[3, 9]])


def test_canonical_does_not_depend_on_the_order_of_fields():
    assert canonical({"a": 1, "b": {"d": [1, None], "c": "x"}}) == canonical({"b": {"c": "x", "d": [1, None]}, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_a_key_is_the_digest_of_its_canonical_material():
    recipe, generator, digest = Stretch(generations=4, per_round=2), Generator(model="m"), bytes(range(24))
    key = Keyring(recipe, Writers.of(generator), "ab" * 16).key(digest, 3)
    material = [FORMAT_VERSION, digest, recipe.request_part(3, "ab" * 16), generator.fingerprint, 3]
    assert key.digest == digest128(canonical(material))


def test_what_is_in_a_key_and_what_is_not():
    def key(recipe=None, generator=None, tokenizer="ab" * 16, digest=bytes(24), round=0):
        return Keyring(recipe or Stitch(generations=4), Writers.of(generator or Generator(model="m")), tokenizer).key(
            digest, round
        )

    prompt = "Rewrite: {document}"
    different = [
        key(),
        key(round=1),
        key(digest=bytes([1] * 24)),
        key(Stitch(generations=4, prompt=prompt)),
        key(Stitch(generations=4, max_tokens=9)),
        key(Stitch(generations=4, per_round=2)),
        key(generator=Generator(model="m", revision="2")),
        key(generator=Generator(model="m", temperature=0.5)),
        key(generator=Generator(model="m", system="Be brief.")),
        key(Stretch(generations=4)),
        key(Stretch(generations=4), tokenizer="cd" * 16),
    ]
    assert len({k.digest for k in different}) == len({k.check for k in different}) == len(different)
    same = [key(tokenizer="cd" * 16), key(Stitch(generations=4, web="first")), key(Rephrase(generations=4, rounds=9))]
    assert {k.digest for k in same} == {key().digest}
