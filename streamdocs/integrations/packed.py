"""Documents that share a sequence, kept apart: what Hugging Face models and FlashAttention need for that.

All of it is made of ``sequence_id``, int64 (sequences, max_seq_len), which a dataset gives with
``block_cross_document_attention``.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from streamdocs.errors import ConfigError
from streamdocs.reading.batch import IGNORED

_FULL, _SLIDING = "full_attention", "sliding_attention"


def position_ids(sequence_id: Tensor) -> Tensor:
    """The place of each token in its document, as far as that is in the sequence: int64, of the same shape, from 0."""
    places = torch.arange(sequence_id.shape[1], device=sequence_id.device)
    return places - torch.where(_begins(sequence_id), places, 0).cummax(dim=1).values


def cu_seqlens(sequence_id: Tensor) -> tuple[Tensor, int]:
    """Where documents begin when all sequences are laid end to end, as FlashAttention's ``varlen`` functions take it.

    Returns:
        int32 (documents + 1,), from 0 to the number of all tokens, and the tokens of the longest. A document never goes
        on from one sequence to the next. On a GPU this waits for it: better before the batch is moved there.
    """
    begins = _begins(sequence_id).flatten().nonzero().flatten()
    bounds = torch.cat([begins, begins.new_tensor([sequence_id.numel()])]).to(torch.int32)
    return bounds, int(bounds.diff().max())


def document_mask(sequence_id: Tensor) -> Tensor:
    """Which token may attend to which, itself and those before it in its document: bool (sequences, 1, each, to)."""
    length = sequence_id.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=sequence_id.device).tril()
    return (causal & (sequence_id[:, :, None] == sequence_id[:, None, :]))[:, None]


def model_inputs(batch: Mapping[str, Tensor], model: nn.Module) -> dict[str, Any]:
    """What a causal language model of ``transformers`` takes of a batch: ``model(**model_inputs(batch, model))``.

    Without ``sequence_id`` that is ``input_ids`` and ``labels``. With it no token attends to another document, whatever
    the version of ``transformers`` makes of positions: ``eager`` and ``sdpa`` get a mask, (sequences, 1, max_seq_len,
    max_seq_len); FlashAttention gets all sequences as one, (1, sequences x max_seq_len), with the bounds of documents.
    The loss is the same mean either way.

    Args:
        batch: As the loader gave it, on the model's device.
        model: A model with a ``config``, or what wraps it in ``module``, as DistributedDataParallel does.

    Raises:
        ConfigError: The model attends in a way that this cannot keep to documents.
    """
    inputs: dict[str, Any] = {name: batch[name] for name in ("input_ids", "labels")}
    sequence_id = batch.get("sequence_id")
    if sequence_id is None:
        return inputs
    inner: Any = model
    while not hasattr(config := getattr(inner, "config", None), "_attn_implementation") and hasattr(inner, "module"):
        inner = inner.module  # DeepSpeed's engine has a config, too, of its own
    attention = str(getattr(config, "_attn_implementation", None))
    _check(config, attention, sequence_id.shape[1])
    inputs["position_ids"] = position_ids(sequence_id)
    if attention in ("eager", "sdpa"):
        mask = document_mask(sequence_id)
        # The one adds its mask to scores, the other also takes truth values, which fit any precision.
        inputs["attention_mask"] = mask if attention == "sdpa" else _as_scores(mask, inner.dtype)
        return inputs
    bounds, longest = cu_seqlens(sequence_id)
    inputs["labels"] = inputs["labels"].clone()
    inputs["labels"][:, 0] = IGNORED  # or the end of a sequence would have to predict the begin of the next
    flat = {name: column.reshape(1, -1) for name, column in inputs.items()}
    lengths = {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest}
    return {**flat, **lengths}


def _begins(sequence_id: Tensor) -> Tensor:
    """Whether a token is the first of its document in its sequence: bool, of the same shape."""
    others = sequence_id[:, 1:] != sequence_id[:, :-1]
    return torch.cat([torch.ones_like(others[:, :1]), others], dim=1)


def _as_scores(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)


def _check(config: Any, attention: str, length: int) -> None:
    """Make sure that every layer of a model can be kept to documents."""
    flash = "flash" in attention
    if not flash and attention not in ("eager", "sdpa"):
        raise ConfigError(
            f"attn_implementation={attention!r} cannot be told the documents of a sequence here: load the model with "
            "'sdpa', 'eager' or a FlashAttention, or leave block_cross_document_attention out"
        )
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ([_SLIDING] if window else [_FULL]))
    others = kinds - {_FULL}
    # A ready mask takes the place of the model's own, with its window.
    if others and not (others == {_SLIDING} and (flash or (window and window >= length))):
        raise ConfigError(
            f"the model has layers of {', '.join(sorted(others))} (sliding_window={window}): a mask of documents would "
            f"take the place of theirs, of {length} tokens, or not reach them. Load it with a FlashAttention if it "
            "slides, or leave block_cross_document_attention out"
        )
