"""What MegadocTrainer refuses, and where it goes on."""

import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

from conftest import make_dataset
from streamdocs.errors import ConfigError
from streamdocs.integrations.huggingface import MegadocTrainer, newest_checkpoint


@pytest.fixture
def make(small_corpus, full_store, tmp_path):
    def make_one(dataset: dict | None = None, **options) -> MegadocTrainer:
        options = {"max_steps": 4, "save_steps": 2, "logging_steps": 1, **options}
        args = TrainingArguments(
            str(tmp_path / "saved"), per_device_train_batch_size=4, use_cpu=True, report_to="none", **options
        )
        read = make_dataset(small_corpus, full_store, epoch_size=24, **(dataset or {}))
        sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=read.corpus.vocab_size, **sizes))
        return MegadocTrainer(model, args, train_dataset=read)

    return make_one


def test_what_was_mixed_is_logged_and_reported(make):
    trainer = make()
    told = []
    trainer.train_dataset.report = lambda batch, losses, *, every: told.append((losses.shape, every))
    trainer.train()
    logged = [line for line in trainer.state.log_history if "loss" in line]
    assert len(logged) == 4 and {"megadocs/reuse", "loss/web", "loss/synthetic"} <= set(logged[0])
    assert logged[3]["megadocs/synthetic_fraction"] == 0.75
    assert told == [((4, 63), 1)] * 4


def test_batches_of_another_dataset_reach_the_model_as_they_are(make):
    trainer = make()
    tokens = torch.arange(8).view(1, 8)
    row = {"input_ids": tokens, "labels": tokens.clone(), "attention_mask": (tokens > 3).long()}
    model = trainer.model.eval()
    assert torch.equal(trainer.compute_loss(model, row), model(**row).loss)
    assert not torch.equal(trainer.compute_loss(model, row), model(tokens, labels=tokens).loss)


def test_a_dataset_of_other_ranks_is_refused(make):
    with pytest.raises(ConfigError, match=r"rank=args\.process_index, ranks=args\.world_size"):
        make({"rank": 0, "ranks": 2}).train()


def test_steps_that_would_go_on_into_the_next_epoch_are_refused(make):
    with pytest.raises(ConfigError, match=r"6 batches, which gradient_accumulation_steps=4 .* a multiple of 16"):
        make(gradient_accumulation_steps=4).train()
    make(gradient_accumulation_steps=3).train()


def test_a_checkpoint_that_does_not_say_where_is_refused(make):
    trainer = make()
    trainer.train()
    newest = newest_checkpoint(trainer.args.output_dir)
    assert newest.endswith("checkpoint-4")
    path = Path(newest) / "trainer_state.json"
    state = json.loads(path.read_text())
    del state["stateful_callbacks"]["MegadocState"]
    path.write_text(json.dumps(state))
    with pytest.raises(ConfigError, match="step 4 does not say where its data stands"):
        make(max_steps=6).train(resume_from_checkpoint=newest)


def test_a_checkpoint_without_an_end_is_none(tmp_path):
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-11", "checkpoint-best"):
        (tmp_path / name).mkdir()
        if name != "checkpoint-11":
            (tmp_path / name / "trainer_state.json").write_text("{}")
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert newest_checkpoint(tmp_path / "nowhere") is None
