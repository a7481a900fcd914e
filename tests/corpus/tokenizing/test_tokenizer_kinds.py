"""Kinds of tokenizers that people train with: what each does to spaces, and to its special tokens in plain text."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from streamdocs.corpus import CorpusTokenizer
from streamdocs.errors import ConfigError

BYTES = {f"<0x{n:02X}>": n + 3 for n in range(256)}
LETTERS = "▁abcdehnt<>/"
SPELL = decoders.Replace("▁", " ")
KINDS = {
    "prepend": (normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None),
    "prepend alone": (normalizers.Prepend("▁"), pre_tokenizers.Metaspace(prepend_scheme="never")),
    "replace": (normalizers.Replace(" ", "▁"), None),
    **{scheme: (None, pre_tokenizers.Metaspace(prepend_scheme=scheme)) for scheme in ("first", "always", "never")},
    "unsplit": (None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
    "sequence": (
        normalizers.Sequence([normalizers.NFC()]),
        pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.Metaspace()]),
    ),
}


def write(folder, tokenizer, change=None, **config):
    contents = json.loads(tokenizer.to_str())
    (folder / "tokenizer.json").write_text(json.dumps(change(contents) if change else contents))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", **config}))
    return CorpusTokenizer.from_name_or_path(str(folder))


def sentencepiece_like(kind: str) -> Tokenizer:
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2} | BYTES | {char: 259 + n for n, char in enumerate(LETTERS)}
    vocab |= {piece: len(vocab) + n for n, piece in enumerate(("▁t", "th", "the", "▁the"))}
    merges = [("▁", "t"), ("t", "h"), ("th", "e"), ("▁t", "he"), ("▁", "the")]
    vocab["he"], merges = len(vocab), [*merges[:2], ("h", "e"), *merges[2:]]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.normalizer, tokenizer.pre_tokenizer = KINDS[kind]
    strip = [] if kind in ("replace", "never") else [decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence([SPELL, decoders.ByteFallback(), decoders.Fuse(), *strip])
    return tokenizer


@pytest.fixture(scope="module", params=KINDS)
def spaced(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp("kind"), sentencepiece_like(request.param))


part = st.text("the cat\n é中\u200d.", max_size=20)


@settings(deadline=None)  # the first call encodes on all cores
@given(
    parts=st.lists(part, min_size=1, max_size=4), separator=st.sampled_from(["\n\n", " ", "<think>", "\n---\n", "a"])
)
def test_what_is_laid_out_decodes_to_its_parts(spaced, parts, separator):
    marks = spaced.encode_marks(separator)
    encoded = spaced.encode_batch(parts)
    laid_out = np.concatenate([tokens for each in encoded for tokens in (marks, each)])
    assert spaced.decode(laid_out) == "".join(separator + each for each in parts)
    for text, tokens in zip(parts, encoded, strict=True):
        again, offsets = spaced.encode_offsets(text)
        assert spaced.decode(tokens) == text
        assert again.tolist() == tokens.tolist()
        assert not text or (offsets[0][0], offsets[-1][1]) == (0, len(text))


def test_words_are_the_tokens_that_they_are_within_a_text(spaced):
    pieces = {piece: spaced._marks_tokenizer.token_to_id(piece) for piece in ("the", "▁the", "▁")}
    assert spaced.encode_batch(["the the"])[0].tolist() == [pieces["the"], pieces["▁the"]]


def test_a_byte_level_tokenizer_puts_no_space_before_a_text_either(tmp_path):
    trained = CorpusTokenizer.train(["the cat sat"] * 9, 300)
    trained.save(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert tokenizer.decode(tokenizer.encode("the").ids) == " the"
    opened = write(tmp_path, tokenizer, eos_token="<|end_of_text|>", bos_token="<|begin_of_text|>")
    assert opened.decode(opened.encode_batch(["the"])[0]) == "the"
    assert opened.encode_batch(["the cat"])[0].tolist() == trained.encode_batch(["the cat"])[0].tolist()


def test_an_older_way_to_say_the_same(tmp_path):
    def older(contents):
        contents["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
        return contents

    opened = write(tmp_path, sentencepiece_like("always"), older)
    assert opened.decode(np.concatenate(opened.encode_batch(["the", "the"]))) == "thethe"


def test_a_corpus_keeps_the_tokenizer_that_it_was_made_with(tmp_path):
    """One of before encodes as its documents were encoded."""
    before = CorpusTokenizer(sentencepiece_like("prepend").to_str(), name="before", bos=1, eos=2)
    assert before.encode_batch(["the"])[0].tolist() == [before._marks_tokenizer.token_to_id("▁the")]


def unigram(*special: str) -> Tokenizer:
    pieces = [*special, *"▁abcdeh<>/snkt_i0", "▁the", "the"]
    tokenizer = Tokenizer(models.Unigram([(piece, -float(n)) for n, piece in enumerate(pieces)], unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.add_special_tokens(list(special))
    return tokenizer


@pytest.mark.parametrize("split", [False, True], ids=["XLM-R", "T5"])
def test_unigram_models_with_special_tokens_among_their_pieces(tmp_path, split):
    tokenizer = unigram("<unk>", "<s>", "</s>", "<pad>", "<extra_id_0>")
    tokenizer.pre_tokenizer = metaspace = pre_tokenizers.Metaspace(prepend_scheme="always")
    if split:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace])
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    assert tokenizer.token_to_id("</s>") in tokenizer.encode("a</s>").ids
    opened = write(tmp_path, tokenizer, bos_token="<s>")
    text = "the </s> the<extra_id_0> <s>"
    (tokens,) = opened.encode_batch([text])
    assert not set(tokens.tolist()) & {1, 2, 3, 4}
    assert opened.decode(tokens).removeprefix(" ") == text.replace("x", "<unk>").replace("r", "<unk>")
    assert opened.vocab_size == tokenizer.get_vocab_size()
    assert opened.encode_marks("<extra_id_0>").tolist() == [4]
    opened.save(tmp_path)
    again = CorpusTokenizer((tmp_path / "tokenizer.json").read_text(), name=opened.name, bos=1, eos=2)
    assert again.digest == opened.digest
    assert again.encode_batch([text])[0].tolist() == tokens.tolist()


def bpe_with_symbol(content: str, special: bool) -> Tokenizer:
    vocab = {char: n for n, char in enumerate("▁abt<>/sx")} | {"</s>": 9, "<b": 10, "<b>": 11, "<t": 12}
    tokenizer = Tokenizer(models.BPE(vocab, [("<", "b"), ("<b", ">"), ("<", "t")]))
    tokenizer.add_tokens([AddedToken("</s>", special=True), AddedToken(content, special=special)])
    return tokenizer


@pytest.mark.parametrize("special", [False, True])
def test_user_defined_symbols_that_the_merges_make(tmp_path, special):
    tokenizer = bpe_with_symbol("<b>", special)
    opened = write(tmp_path, tokenizer)
    assert opened.encode_batch(["a<b>b"])[0].tolist() == [1, 10, 5, 2]
    assert opened.encode_marks("<b>").tolist() == [11]


def test_a_symbol_that_only_the_configuration_names(tmp_path):
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("<mask>", 0.0), *((char, -1.0) for char in "<mask>")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    assert 2 in write(tmp_path, tokenizer).encode_batch(["<mask>"])[0]
    assert 2 not in write(tmp_path, tokenizer, mask_token={"content": "<mask>"}).encode_batch(["<mask>"])[0]


@pytest.mark.parametrize("end", ["eos_token", "bos_token"])
@pytest.mark.parametrize("kind", ["words", "pieces"])
def test_an_unknown_token_that_ends_documents_is_refused(tmp_path, end, kind):
    if kind == "words":
        tokenizer = Tokenizer(models.WordLevel({"<end>": 0, "</s>": 1, "a": 2}, unk_token="<end>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.add_special_tokens(["<end>", "</s>"])
    else:
        tokenizer = unigram("<end>", "</s>")
    with pytest.raises(ConfigError, match=r"<end> is also its unknown token\. Name another eos_token"):
        write(tmp_path, tokenizer, **{end: "<end>"})


def test_an_unknown_token_that_ends_documents_is_fine_where_nothing_is_unknown(tmp_path):
    trained = CorpusTokenizer.train(["the cat sat"] * 9, 300)
    trained.save(tmp_path)

    def unknown_is_eos(contents):
        contents["model"]["unk_token"] = "<|end_of_text|>"
        return contents

    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    opened = write(tmp_path, tokenizer, unknown_is_eos, eos_token="<|end_of_text|>")
    assert opened.decode(opened.encode_batch(["ÿ\U0010ffff"])[0]) == "ÿ\U0010ffff"


def test_models_of_whole_words_are_refused_with_what_to_change(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "a": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    with pytest.raises(ConfigError, match=r"makes special tokens of plain text \(</s>\).*Rename them there"):
        write(tmp_path, tokenizer)


@pytest.mark.parametrize(
    "contents", ["{}", "[]", '{"model": {"type": "Hexagram"}}', "not JSON", '{"added_tokens": []}']
)
def test_a_tokenizer_of_another_version_is_one_line(tmp_path, contents):
    (tmp_path / "tokenizer.json").write_text(contents)
    with pytest.raises(ConfigError, match=r"not a usable tokenizer.json for tokenizers \d.*save it again") as caught:
        CorpusTokenizer.from_name_or_path(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_what_transformers_cannot_read_is_one_line(tmp_path, monkeypatch):
    import transformers

    def refuse(*_, **__):
        raise KeyError("a field of another version\nand more")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", refuse)
    with pytest.raises(ConfigError, match=r"a field of another version") as caught:
        CorpusTokenizer.from_name_or_path("some/model")
    assert "\n" not in str(caught.value)
