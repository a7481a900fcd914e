import json
import pickle
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from streamdocs.corpus import CorpusTokenizer
from streamdocs.errors import ConfigError

WORDS = ["the", "cat", "sat", "on", "a", "mat", "<|end_of_text|>", "saw", "<think>", "é", "中文", "12", "345\n"]
SPECIAL_TEXT = "a <|end_of_text|><|begin_of_text|> <think>b</think> z"


def sample_texts(n=200):
    generator = random.Random(0)
    return [" ".join(generator.choices(WORDS, k=20)) for _ in range(n)]


@pytest.fixture(scope="module")
def trained():
    return CorpusTokenizer.train(sample_texts(), 400)


@pytest.fixture
def raw(trained, tmp_path):
    """A tokenizer.json with all that could get into the way of plain text."""
    trained.save(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    tokenizer.add_tokens([AddedToken("    ", special=False, normalized=False)])
    template = processors.TemplateProcessing(
        single="<|begin_of_text|> $A <|end_of_text|>",
        special_tokens=[("<|begin_of_text|>", 0), ("<|end_of_text|>", 1)],
    )
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), template])
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=50)
    return tokenizer


def write(folder, tokenizer, **config):
    tokenizer.save(str(folder / "tokenizer.json"))
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return CorpusTokenizer.from_name_or_path(str(folder))


any_text = st.text(max_size=60) | st.lists(
    st.sampled_from(["<|end_of_text|>", "<|begin_of_text|>", "<think>", "<|", " ", "    ", "end", "é", "\0"])
).map("".join)


@given(texts=st.lists(any_text, max_size=5))
def test_any_text_survives_and_makes_no_special_token(trained, texts):
    for text, tokens in zip(texts, trained.encode_batch(texts), strict=True):
        assert trained.decode(tokens) == text
        assert tokens.dtype == np.uint16
        assert not set(tokens.tolist()) & {trained.bos, trained.eos}
        again, offsets = trained.encode_offsets(text)
        assert again.tolist() == tokens.tolist()
        assert len(offsets) == len(tokens)


@given(text=any_text)
def test_offsets_cover_the_text_without_gaps(trained, text):
    tokens, offsets = trained.encode_offsets(text)
    end = 0
    for start, stop in offsets:
        assert start in (end, end - 1)  # the second within a character of several tokens
        end = stop
    assert end == len(text)
    cuts = [i for i in range(1, len(tokens)) if offsets[i][0] == offsets[i - 1][1]]
    for cut in cuts[:5]:
        assert trained.decode(tokens[:cut]) == text[: offsets[cut][0]]


def test_a_tokenizer_with_everything_switched_on_still_encodes_plain_text(raw, tmp_path):
    tokenizer = write(tmp_path, raw, bos_token={"content": "<|begin_of_text|>"}, eos_token="<|end_of_text|>")
    assert (tokenizer.bos, tokenizer.eos) == (0, 1)
    (tokens,) = tokenizer.encode_batch([SPECIAL_TEXT])
    named = {i for i in range(tokenizer.vocab_size) if tokenizer.decode([i]).strip().startswith(("<|", "<t", "</t"))}
    marks = {raw.token_to_id(mark) for mark in ("<think>", "</think>")}
    assert marks < named
    assert not set(tokens.tolist()) & ({0, 1} | marks)
    assert tokenizer.decode(tokens) == SPECIAL_TEXT
    # Runs of whitespace stay what the tokenizer was trained with.
    assert raw.token_to_id("    ") in tokenizer.encode_batch(["a    b"])[0]


def test_copies_in_other_processes_encode_plain_text_too(raw, tmp_path):
    tokenizer = write(tmp_path, raw)
    marks = tokenizer.encode_marks(SPECIAL_TEXT).tolist()
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.encode_batch([SPECIAL_TEXT])[0].tolist() == tokenizer.encode_batch([SPECIAL_TEXT])[0].tolist() != marks
    assert copy.encode_marks(SPECIAL_TEXT).tolist() == marks
    assert copy.digest == tokenizer.digest


def test_marks_are_recognised(raw, tmp_path):
    tokenizer = write(tmp_path, raw)
    think = raw.token_to_id("<think>")
    assert tokenizer.encode_marks("<think>").tolist() == [think]
    assert tokenizer.encode_marks("<|end_of_text|>").tolist() == [1]
    assert tokenizer.decode(tokenizer.encode_marks("\n<think>\n")) == "\n<think>\n"
    assert len(tokenizer.encode_marks("a plain text of many words")) > 3  # not cut, no BOS
    assert think not in tokenizer.encode_batch(["<think>"])[0]


def test_training_is_repeatable_and_loads_from_what_it_saved(trained, tmp_path):
    assert CorpusTokenizer.train(iter(sample_texts()), 400).digest == trained.digest
    trained.save(tmp_path)
    again = CorpusTokenizer.from_name_or_path(str(tmp_path / "tokenizer.json"))
    assert (again.digest, again.bos, again.eos, again.vocab_size) == (trained.digest, 0, 1, trained.vocab_size)
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).get_vocab_size() == trained.vocab_size
    with pytest.raises(ConfigError, match="too small: at least 258"):
        CorpusTokenizer.train([], 100)


def test_the_digest_is_of_everything_that_decides_the_tokens(trained, raw, tmp_path):
    plain = write(tmp_path, raw)
    assert plain.digest != trained.digest
    raw.no_truncation()
    raw.no_padding()
    assert write(tmp_path, raw).digest == plain.digest
    other_end = write(tmp_path, raw, bos_token=None, eos_token="</think>")
    assert other_end.bos is None
    assert other_end.digest != plain.digest


def test_one_token_for_both_ends_only_ends_documents(raw, tmp_path):
    tokenizer = write(tmp_path, raw, bos_token="<|end_of_text|>", eos_token="<|end_of_text|>")
    assert (tokenizer.bos, tokenizer.eos) == (None, 1)


def test_large_vocabularies_take_four_bytes(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({f"w{n}": n for n in range(70_000)}, unk_token="w0"))
    tokenizer.add_special_tokens(["<s>", "</s>"])
    wide = write(tmp_path, tokenizer)
    assert (wide.dtype, wide.vocab_size, wide.bos, wide.eos) == ("uint32", 70_002, 70_000, 70_001)
    assert wide.encode_batch(["w69999"])[0].tolist() == [69_999]


def test_tokenizers_that_cannot_be_used(raw, tmp_path):
    with pytest.raises(ConfigError, match=r"no end-of-sequence token.*eos_token in a tokenizer_config.json"):
        write(tmp_path, raw, eos_token=None)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"not a usable tokenizer.json"):
        CorpusTokenizer.from_name_or_path(str(tmp_path))
    with pytest.raises(ConfigError, match="neither a path nor a Hugging Face name"):
        CorpusTokenizer.from_name_or_path(str(tmp_path / "nowhere"))


def test_transformers_tokenizers(trained, tmp_path):
    from transformers import GPT2Tokenizer, PreTrainedTokenizerFast

    trained.save(tmp_path)
    file = str(tmp_path / "tokenizer.json")
    fast = PreTrainedTokenizerFast(tokenizer_file=file, bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>")
    fast.save_pretrained(tmp_path / "fast")
    tokenizer = CorpusTokenizer.from_name_or_path(str(tmp_path / "fast"))
    assert tokenizer.encode_batch(["the cat"])[0].tolist() == trained.encode_batch(["the cat"])[0].tolist()
    # Without tokenizer.json it is transformers' to make a fast tokenizer of what there is.
    vocab = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))} | {"<|endoftext|>": 256}
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "slow" / "merges.txt").write_text("#version: 0.2\n")
    GPT2Tokenizer.from_pretrained(str(tmp_path / "slow")).save_pretrained(tmp_path / "slow2")
    (tmp_path / "slow2" / "tokenizer.json").unlink(missing_ok=True)
    converted = CorpusTokenizer.from_name_or_path(str(tmp_path / "slow2"))
    assert (converted.bos, converted.eos) == (None, 256)
    assert converted.decode(converted.encode_batch(["é <|endoftext|>"])[0]) == "é <|endoftext|>"
    assert 256 not in converted.encode_batch(["é <|endoftext|>"])[0]


def test_byte_fallback_models_lose_nothing(tmp_path):
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{n:02X}>": n + 3 for n in range(256)}
    vocab |= {char: 259 + n for n, char in enumerate("abc<>/s")}
    tokenizer = Tokenizer(models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    llama_like = write(tmp_path, tokenizer)
    (tokens,) = llama_like.encode_batch(["abc</s>é中<unk>"])
    assert llama_like.decode(tokens) == "abc</s>é中<unk>"
    assert not set(tokens.tolist()) & {0, 1, 2}
