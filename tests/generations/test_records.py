import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdocs.generations.encoding import (
    _SHAPE,
    _TOKENS,
    TextRecord,
    _seal,
    decode_text,
    decode_tokens,
    encode_text,
    encode_tokens,
)
from streamdocs.recipes.keys import Key

KEY, OTHER = Key(bytes(16), b"k" * 8), Key(bytes(16), b"o" * 8)


@given(st.sampled_from(["uint16", "uint32"]), st.lists(st.lists(st.integers(0, 65535), max_size=50), min_size=1))
def test_tokens_come_back(dtype, generations):
    arrays = [np.array(generation, dtype) for generation in generations]
    record = encode_tokens(KEY, arrays)
    decoded = decode_tokens(KEY, memoryview(record))
    assert decoded.lengths == [len(each) for each in arrays]
    for number, theirs in enumerate(arrays):
        ours = decoded.generation(number)
        assert ours.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(ours, theirs)


@given(st.lists(st.text(st.characters(codec="utf-8")) | st.none(), min_size=1))
def test_texts_come_back(texts):
    record = TextRecord(texts, [None if text is not None else "empty" for text in texts], 2)
    assert decode_text(KEY, encode_text(KEY, record)) == record


TOKENS = encode_tokens(KEY, [np.arange(100, dtype="uint16"), np.arange(7, dtype="uint16")])
TEXT = encode_text(KEY, TextRecord(["some text " * 20], [None]))


def contents(found) -> list:
    generations = [found.generation(number) for number in range(len(found.lengths))]
    return [None if tokens is None else tokens.tolist() for tokens in generations]


RIGHT = contents(decode_tokens(KEY, TOKENS))


@pytest.mark.parametrize(("record", "decode"), [(TOKENS, decode_tokens), (TEXT, decode_text)])
def test_what_is_missing_or_anothers_is_a_miss(record, decode):
    assert decode(KEY, record) is not None
    assert decode(KEY, None) is None
    assert decode(OTHER, record) is None  # the same key by collision, of other material
    assert decode(KEY, b"") is None


def test_a_record_of_no_generations_is_a_miss():
    assert decode_tokens(KEY, _seal(_TOKENS, KEY, _SHAPE.pack(2, 0))) is None


@given(st.data(), st.sampled_from([(TOKENS, decode_tokens), (TEXT, decode_text)]))
def test_damage_is_a_miss_and_never_other_content(data, case):
    record, decode = case
    damaged = bytearray(record)
    at = data.draw(st.integers(0, len(record) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    found = decode(KEY, bytes(damaged))
    if isinstance(found, TextRecord):  # what was hit does not matter
        assert found == decode(KEY, record)
    elif found is not None:  # so here, or a generation is lost
        assert contents(found) in ([RIGHT[0], None], [None, RIGHT[1]], RIGHT)
    assert decode(KEY, record[:at]) is None
