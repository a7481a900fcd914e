"""Loss on held-out text: each document by itself, in halves by length, of other domains, and by Composer."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from conftest import make_corpus, make_texts
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import ConfigError
from streamdocs.measure import evaluate, held_out
from streamdocs.measure.models import load_model, named

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = f"{EXAMPLES / 'model.py'}:LanguageModel"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return Corpus(make_corpus(tmp_path_factory.mktemp("held"), make_texts(50), holdout=0.4))


@pytest.fixture(scope="module")
def other(tmp_path_factory, corpus) -> Path:
    """Of another domain, with the same tokenizer; it holds nothing out."""
    folder = tmp_path_factory.mktemp("other")
    return make_corpus(folder, make_texts(12, seed=9), train_tokenizer=None, tokenizer=str(corpus.local))


@pytest.fixture(scope="module")
def model(corpus):
    torch.manual_seed(3)
    return named(MODEL)(corpus.vocab_size, 32, 1)


def one_by_one(model, corpus: Corpus, documents, max_seq_len: int) -> tuple[float, int]:
    """Nats and tokens, a document after the other and without padding."""
    nats, count = 0.0, 0
    for document in documents:
        tokens = torch.from_numpy(corpus.tokens(int(document))[:max_seq_len].astype(np.int64))[None]
        with torch.no_grad():
            nats += float(F.cross_entropy(model(tokens)[0, :-1], tokens[0, 1:], reduction="sum"))
        count += tokens.shape[1] - 1
    return nats, count


@pytest.mark.parametrize(("max_seq_len", "batch_size"), [(64, 8), (1000, 3), (16, 1)])
def test_it_is_the_loss_of_each_document_by_itself(model, corpus, max_seq_len, batch_size):
    model.train()
    found = evaluate(model, held_out(corpus, max_seq_len), batch_size)
    assert model.training and [*found] == ["iid", "short", "long"]
    held = Corpus(corpus.local, split="holdout")
    order = np.argsort(held.tokens_per_document, kind="stable")
    half = len(order) // 2
    for name, documents in (("short", order[:half]), ("long", order[half:]), ("iid", order)):
        nats, tokens = one_by_one(model, held, documents, max_seq_len)
        assert found[name].tokens == tokens and found[name].documents == len(documents)
        assert found[name].mean == pytest.approx(nats / tokens, rel=1e-5)
    each = [one_by_one(model, held, [document], max_seq_len) for document in order]
    nats, tokens = np.array(each).T
    mean = nats.sum() / tokens.sum()
    squares = ((nats - mean * tokens) ** 2).sum() * len(order) / (len(order) - 1)
    assert found["iid"].error == pytest.approx(math.sqrt(squares) / tokens.sum(), rel=1e-3)


def test_documents_are_long_from_a_number_of_tokens_on(corpus):
    sets = held_out(corpus, 32, split_at=40)
    lengths = {name: each.corpus.tokens_per_document[each.documents] for name, each in sets.items()}
    assert lengths["short"].max() < 40 <= lengths["long"].min()
    assert sets["long"].left_out == (lengths["long"] - 32).sum() > 0
    assert [*held_out(corpus, 32, split_at=100_000)] == ["short"] and [*held_out(corpus, 32, split_at=2)] == ["long"]
    with pytest.raises(ConfigError, match="there have to be two"):
        held_out(corpus, 1)


def test_other_domains(model, corpus, other, tmp_path):
    sets = held_out(corpus, 64, domains={"other": other, "again": corpus.local})
    found = evaluate(model, sets)
    whole = Corpus(other)
    nats, tokens = one_by_one(model, whole, range(len(whole.documents)), 64)
    assert found["other"].mean == pytest.approx(nats / tokens, rel=1e-5) and found["other"].tokens == tokens
    assert found["again"].mean == pytest.approx(found["iid"].mean)  # of a corpus that holds documents out, these
    for name in ("short", "iid"):
        with pytest.raises(ConfigError, match=f"domain '{name}': .* take another name"):
            held_out(corpus, 64, domains={name: other})
    foreign = make_corpus(tmp_path, make_texts(30, seed=5))
    with pytest.raises(ConfigError, match=r"domain foreign: .* has another tokenizer .* --tokenizer"):
        held_out(corpus, 64, domains={"foreign": foreign})


def test_a_corpus_without_held_out_documents_has_none_to_measure(corpus, other, model):
    assert held_out(Corpus(other), 64) == {} == evaluate(model, {})


def test_what_are_no_logits_is_told(corpus):
    sets = held_out(corpus, 32)
    for wrong, said in (
        (lambda ids: ids.float(), r"gives a tensor of shape \(\d, \d+\) for tokens of shape \(\d, \d+\)"),
        (lambda ids: F.one_hot(ids % 3).float(), r"shape \(\d, \d+, 3\) .* of [\d,]+ tokens or more"),
        (lambda ids: {"loss": 1}, "the model gives dict"),
        (lambda ids: torch.full((*ids.shape, 5000), torch.nan), "loss on 'short' is no number"),
    ):
        with pytest.raises(ConfigError, match=said):
            evaluate(wrong, sets)


def test_composer_measures_the_same(model, corpus, other, monkeypatch):
    from composer import Trainer

    from streamdocs.composer import held_out_evaluators

    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("NODE_RANK", "0")
    train_composer = named(f"{EXAMPLES / 'train_composer.py'}:ComposerLanguageModel")
    wrapped = train_composer(corpus.vocab_size)
    sets = held_out(corpus, 48, domains={"other": other})
    expected = evaluate(wrapped.model, sets, 5)
    trainer = Trainer(model=wrapped, device="cpu")
    trainer.eval(held_out_evaluators(sets, 5, metric="loss"))
    found = {label: float(metrics["loss"].compute()) for label, metrics in trainer.state.eval_metrics.items()}
    trainer.close()
    assert found == {f"holdout_{name}": pytest.approx(expected[name].mean, rel=1e-5) for name in sets}
    assert [*sets] == ["short", "long", "other"]


def same(model, loaded) -> bool:
    theirs = loaded.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())


def test_weights_are_found_in_what_training_saves(corpus, tmp_path):
    model = named(MODEL)(corpus.vocab_size)
    weights, file = model.state_dict(), tmp_path / "checkpoint.pt"
    wrapped = {f"module.{name}": value for name, value in weights.items()}
    composer = {"state": {"model": {f"model.{name}": value for name, value in weights.items()}}, "rng": [np.arange(3)]}
    for saved in (weights, wrapped, {"model": weights, "batches": 3}, {"model": wrapped}, composer):
        torch.save(saved, file)
        assert same(model, load_model(str(file), MODEL, corpus.vocab_size, CPU))
    torch.save({"model": {"other": torch.ones(1)}}, file)
    with pytest.raises(ConfigError, match=r"does not fit what --model .*model.py:LanguageModel builds: .*Missing key"):
        load_model(str(file), MODEL, corpus.vocab_size, CPU)
    with pytest.raises(ConfigError, match=r"say by --model FILE.py:NAME"):
        load_model(str(file), None, corpus.vocab_size, CPU)


class Trap:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return sys.exit, (3,)


def test_a_checkpoint_runs_no_code(corpus, tmp_path):
    torch.save({"model": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(ConfigError, match=r"trap.pt is no checkpoint of weights alone"):
        load_model(str(tmp_path / "trap.pt"), MODEL, corpus.vocab_size, CPU)


def test_models_by_name(corpus, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("import beside\nlogits = beside.logits\nsize = 3\n")
    (tmp_path / "beside.py").write_text("import torch\ndef logits(ids): return torch.zeros(*ids.shape, 50000)\n")
    sets = held_out(corpus, 32)
    uniform = evaluate(load_model(f"{tmp_path / 'mine.py'}:logits", None, corpus.vocab_size, CPU), sets)
    assert uniform["iid"].mean == pytest.approx(math.log(50000), rel=1e-5)
    for target, said in (
        (f"{tmp_path / 'mine.py'}:size", "is a int, where something to be called is due"),
        (f"{tmp_path / 'mine.py'}:none", "cannot be loaded: .*none"),
        ("no.such.module:x", "cannot be loaded: No module named 'no'"),
        (f"{tmp_path / 'nowhere.py'}:x", "cannot be loaded"),
        ("nowhere", "nowhere is not there: name a folder that transformers loads, a checkpoint"),
        (str(tmp_path), "has no config.json"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_model(target, None, corpus.vocab_size, CPU)


def test_a_folder_of_transformers(corpus, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=corpus.vocab_size, **sizes)).eval()
    model.save_pretrained(tmp_path)
    sets = held_out(corpus, 64)
    found = evaluate(load_model(str(tmp_path), None, corpus.vocab_size, CPU), sets)
    held = sets["long"].corpus
    nats, tokens = one_by_one(lambda ids: model(ids).logits, held, range(len(held.documents)), 64)
    assert found["iid"].mean == pytest.approx(nats / tokens, rel=1e-5)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="transformers cannot load it"):
        load_model(str(tmp_path), None, corpus.vocab_size, CPU)
