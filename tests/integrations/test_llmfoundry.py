"""What llm-foundry calls, without llm-foundry: `make loops` runs that itself."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml
from composer import Callback, DataSpec
from transformers import PreTrainedTokenizerBase

from conftest import make_dataset, write_run_file
from streamdocs.errors import ConfigError
from streamdocs.integrations.llmfoundry import MegadocTokenizer, build_megadoc_dataloader

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_file(small_corpus, full_store, tmp_path) -> Path:
    return write_run_file(tmp_path / "run.yaml", make_dataset(small_corpus, full_store))


def test_the_yaml_is_understood(run_file, small_corpus):
    said = yaml.safe_load((ROOT / "examples/llmfoundry.yaml").read_text())
    assert said["train_loader"].pop("name") == said["tokenizer"]["name"] == "megadocs"
    tokenizer = MegadocTokenizer(small_corpus)
    options = {**said["train_loader"], "run_file": str(run_file), "num_workers": 0}
    spec = build_megadoc_dataloader(**options, tokenizer=tokenizer, device_batch_size=4)
    batch = next(iter(spec.dataloader))
    assert isinstance(spec, DataSpec) and batch["input_ids"].shape == (4, 64)
    assert spec.get_num_tokens_in_batch(batch) == 256
    ends = spec.dataloader.dataset.corpus.ends
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == ends
    assert len(tokenizer) == spec.dataloader.dataset.corpus.vocab_size


def test_arguments_of_the_dataset_go_over_the_run_file(run_file):
    spec = build_megadoc_dataloader(
        run_file=str(run_file), device_batch_size=4, num_workers=0, dataset={"block_cross_document_attention": True}
    )
    assert "sequence_id" in next(iter(spec.dataloader))


def test_what_cannot_be_is_refused(run_file):
    with pytest.raises(ConfigError, match=r"device_batch_size=0\.5"):
        build_megadoc_dataloader(run_file=str(run_file), device_batch_size=0.5)
    with pytest.raises(ConfigError, match="the tokenizer knows 1 tokens, and the corpus"):
        build_megadoc_dataloader(run_file=str(run_file), device_batch_size=4, tokenizer=["a"])


@pytest.mark.parametrize(
    ("group", "kind"), [("tokenizers", PreTrainedTokenizerBase), ("callbacks", Callback), ("dataloaders", None)]
)
def test_what_is_registered_is_there(group, kind):
    named = yaml.safe_load((ROOT / "examples/llmfoundry.yaml").read_text())
    assert "megadocs" in named["callbacks"]
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][f"llmfoundry_{group}"]
    found = EntryPoint("megadocs", points["megadocs"], group).load()
    assert issubclass(found, kind) if kind else found is build_megadoc_dataloader
