import random

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from streamdocs.corpus import CorpusTokenizer
from streamdocs.corpus.tokenizing import long_texts
from streamdocs.corpus.tokenizing import tokenizer as tokenizer_module

WORDS = [
    "the",
    "river",
    "mountain",
    "中文字",
    "é",
    "🙂",
    "12345",
    "\n\n",
    "   ",
    "don't",
    "f(x)",
    "<think>",
    "end.\r\n",
]


def make_text(words: int, seed: int = 0) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def trained(model, trainer, **parts) -> Tokenizer:
    tokenizer = Tokenizer(model)
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    tokenizer.train_from_iterator([make_text(2000)], trainer)
    return tokenizer


def byte_level():
    return CorpusTokenizer.train([make_text(2000)], 400)._tokenizer


def like_llama():
    # The whole text is one word, and gets a space before it.
    parts = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"], show_progress=False)
    words = {"normalizer": normalizers.Sequence(parts), "pre_tokenizer": pre_tokenizers.Split("▁", "merged_with_next")}
    tokenizer = trained(models.BPE(unk_token="<unk>"), trainer, **words)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([])
    return tokenizer


def like_t5():
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    metaspace = pre_tokenizers.Metaspace(prepend_scheme="always")
    return trained(models.Unigram(), trainer, pre_tokenizer=metaspace, decoder=decoders.Metaspace())


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(long_texts, "_PIECE", 3000)
    monkeypatch.setattr(long_texts, "_OVERLAP", 600)


@pytest.mark.parametrize("make", [byte_level, like_llama, like_t5])
@pytest.mark.parametrize("seed", range(3))
def test_pieces_give_the_tokens_of_the_whole(make, seed):
    tokenizer = make()
    text = make_text(5000, seed)
    expected = tokenizer.encode(text, add_special_tokens=False).ids
    assert long_texts.encode_long(tokenizer, text) == expected
    for text in (make_text(2000, seed) + " " * 2000 + make_text(2000, seed + 1), "é" * 9000):
        assert long_texts.encode_long(tokenizer, text) in (None, tokenizer.encode(text, add_special_tokens=False).ids)


def test_a_word_that_is_longer_than_what_pieces_share_is_left_to_the_whole():
    tokenizer = trained(models.BPE(), trainers.BpeTrainer(vocab_size=20, show_progress=False))
    tokenizer.train_from_iterator(["abc" * 100], trainers.BpeTrainer(vocab_size=20, show_progress=False))
    assert long_texts.encode_long(tokenizer, "abc" * 5000) is None


def test_long_texts_are_encoded_as_they_always_were(monkeypatch):
    tokenizer = CorpusTokenizer.train([make_text(2000)], 400)
    texts = ["short", make_text(5000), "", "abc" * 4000, make_text(3000)]
    expected = tokenizer.encode_batch(texts)
    monkeypatch.setattr(tokenizer_module, "LONG", 2000)
    called = []
    whole = long_texts.encode_long
    monkeypatch.setattr(tokenizer_module, "encode_long", lambda *given: called.append(given[1]) or whole(*given))
    found = tokenizer.encode_batch(texts)
    assert called == [texts[1], texts[3], texts[4]]
    for one, two in zip(expected, found, strict=True):
        assert one.dtype == two.dtype and np.array_equal(one, two)


def test_what_a_tokenizer_learns_from(monkeypatch):
    monkeypatch.setattr(long_texts, "LONG", 5000)
    for text in (make_text(5000), "x" * 4000, "a " * 4000, "", "short", make_text(100) + "y" * 2000):
        pieces = list(long_texts.pieces_to_learn_from(text))
        assert "".join(pieces) == text and max(map(len, pieces), default=0) <= max(3000, min(len(text), 5000))
    assert len(list(long_texts.pieces_to_learn_from(make_text(5000)))) > 5
    assert all(piece.startswith(" ") for piece in list(long_texts.pieces_to_learn_from(make_text(5000)))[1:])
