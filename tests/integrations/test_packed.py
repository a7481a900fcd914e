"""Documents that share a sequence: a model's logits are those of each document alone, whatever attends."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM, MistralConfig
from transformers.modeling_flash_attention_utils import prepare_fa_kwargs_from_position_ids

from conftest import make_dataset
from streamdocs.errors import ConfigError
from streamdocs.integrations.packed import cu_seqlens, document_mask, model_inputs, position_ids

VOCABULARY = 400


def varlen(module, query, key, value, attention_mask, scaling, **kwargs):
    """FlashAttention's contract in plain torch: nothing but bounds in one long row keeps documents apart."""
    assert attention_mask is None and len(query) == 1
    bounds = kwargs["cu_seq_lens_q"].tolist()
    assert bounds == kwargs["cu_seq_lens_k"].tolist() and kwargs["cu_seq_lens_q"].dtype == torch.int32
    assert kwargs["max_length_q"] == kwargs["max_length_k"] == max(b - a for a, b in pairwise(bounds))
    groups = module.num_key_value_groups
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    parts = [
        nn.functional.scaled_dot_product_attention(
            query[:, :, a:b], key[:, :, a:b], value[:, :, a:b], is_causal=True, scale=scaling
        )
        for a, b in pairwise(bounds)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None


AttentionInterface.register("flash_in_plain_torch", varlen)


def llama(attention: str, dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=VOCABULARY, num_key_value_heads=2, **sizes, attn_implementation=attention)
    return LlamaForCausalLM(config).to(dtype).eval()


@pytest.fixture(scope="module")
def batch(small_corpus) -> dict[str, torch.Tensor]:
    """Two sequences of several documents each; some labels are not to be learned."""
    dataset = make_dataset(small_corpus, block_cross_document_attention=True, mask_labels=["mark"], max_seq_len=256)
    rows = [dataset[position] for position in range(2)]
    batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    assert batch["sequence_id"].max() > 2 and (batch["labels"] == -100).any()
    return batch


@torch.no_grad()
def alone(model: nn.Module, batch: dict) -> torch.Tensor:
    """Logits of each document by itself, in its place."""
    rows = []
    for tokens, documents in zip(batch["input_ids"], batch["sequence_id"], strict=True):
        each = tokens.split(torch.unique_consecutive(documents, return_counts=True)[1].tolist())
        rows.append(torch.cat([model(document[None]).logits[0] for document in each]))
    return torch.stack(rows)


@pytest.fixture(scope="module")
def expected(batch) -> torch.Tensor:
    return alone(llama("sdpa"), batch)


@pytest.mark.parametrize("attention", ["eager", "sdpa", "flash_in_plain_torch"])
@torch.no_grad()
def test_no_document_sees_another(batch, expected, attention):
    model = llama(attention)
    out = model(**model_inputs(batch, nn.DataParallel(model)))
    torch.testing.assert_close(out.logits.view_as(expected), expected, atol=1e-5, rtol=1e-5)
    leaked = llama("sdpa")(batch["input_ids"]).logits
    assert (leaked - expected).abs().max() > 1e-3, "a model that is told nothing does see them"
    labels = batch["labels"][:, 1:]
    mean = nn.functional.cross_entropy(expected[:, :-1].flatten(0, 1), labels.flatten())
    torch.testing.assert_close(out.loss, mean)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@torch.no_grad()
def test_in_half_precision(batch, expected, attention):
    model = llama(attention, torch.bfloat16)
    found = model(**model_inputs(batch, model)).logits
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.02)
    with torch.autocast("cpu", torch.bfloat16):
        found = llama(attention)(**model_inputs(batch, llama(attention))).logits
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.02)


def test_positions_and_bounds(batch):
    documents = torch.tensor([[0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 1, 1]])
    assert position_ids(documents).tolist() == [[0, 1, 2, 0, 1, 0], [0, 0, 1, 2, 3, 4]]
    bounds, longest = cu_seqlens(documents)
    assert (bounds.tolist(), bounds.dtype, longest) == ([0, 3, 5, 6, 7, 12], torch.int32, 5)
    assert cu_seqlens(torch.zeros(2, 3, dtype=torch.int64))[0].tolist() == [0, 3, 6]
    allowed = document_mask(documents)[1, 0].int().tolist()
    assert allowed[:3] == [[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0]]
    # As transformers makes them of positions where it does.
    flat = position_ids(batch["sequence_id"]).view(1, -1)
    (theirs, _), (most, _) = prepare_fa_kwargs_from_position_ids(flat)
    mine, longest = cu_seqlens(batch["sequence_id"])
    assert theirs.tolist() == mine.tolist() and int(most) == longest


def test_without_documents_nothing_is_added(batch):
    plain = {name: column for name, column in batch.items() if name != "sequence_id"}
    assert set(model_inputs(plain, llama("sdpa"))) == {"input_ids", "labels"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attn_implementation": "flex_attention"}, "flex_attention"),
        ({"attn_implementation": "sdpa", "sliding_window": 64}, "sliding_attention .*=64"),
        ({"attn_implementation": "sdpa", "layer_types": ["full_attention", "linear_attention"]}, "linear_attention"),
    ],
)
def test_a_model_that_would_not_keep_to_it_is_refused(batch, options, said):
    model = nn.Module()
    model.config = MistralConfig(**{"sliding_window": None, **options})
    with pytest.raises(ConfigError, match=said):
        model_inputs(batch, model)


def test_a_window_that_no_document_fills_is_fine(batch):
    model = nn.Module()
    model.config = MistralConfig(sliding_window=256, attn_implementation="sdpa")
    assert "attention_mask" in model_inputs(batch, model)
