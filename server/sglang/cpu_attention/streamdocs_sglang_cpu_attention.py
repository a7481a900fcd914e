"""Attention for SGLang on a CPU: of new tokens alone, by two matrix products a sequence.

SGLang has torch's fused attention do it. On a CPU that takes three times as long for the one query of a step as it
needs, since it is made for many; and where the beginning of a prompt is in the cache, all of the prompt's attention is
worked out again. What comes out is the same within rounding. docs/real-model.md has what was measured.
"""

from collections.abc import Callable
from typing import Any

import torch


def apply() -> None:
    """Have SGLang's backend ``torch_native`` compute attention here, where it is plain."""
    from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend as Backend  # noqa: PLC0415

    def replaced(theirs: Callable[..., Any], is_decoding: bool) -> Callable[..., Any]:
        def run(self: Any, query: Any, output: Any, k_cache: Any, v_cache: Any, *others: Any, **named: Any) -> Any:
            *where, encoders = others
            is_plain = encoders is None and not named.get("is_cross_attn") and not named.get("sliding_window_size")
            if not is_plain or named.get("causal", False) is is_decoding or query.dtype != k_cache.dtype:
                return theirs(self, query, output, k_cache, v_cache, *others, **named)
            return attend(query, output, k_cache, v_cache, *where, scaling=named.get("scaling"))

        return run

    Backend._run_sdpa_forward_decode = replaced(Backend._run_sdpa_forward_decode, True)
    Backend._run_sdpa_forward_extend = replaced(Backend._run_sdpa_forward_extend, False)


def attend(
    query: torch.Tensor,
    output: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    req_to_token: torch.Tensor,
    req_pool_indices: torch.Tensor,
    seq_lens: torch.Tensor,
    before: torch.Tensor | None = None,
    new: torch.Tensor | None = None,
    scaling: float | None = None,
) -> torch.Tensor:
    """Attention of the newest tokens of some sequences to themselves and all before.

    Args:
        query: (new tokens of all, heads, width).
        output: (new tokens of all, heads, width of values), written and returned.
        k_cache: (tokens, key heads, width): of all that are cached; some heads share a key head.
        v_cache: (tokens, key heads, width of values).
        req_to_token: (requests, most tokens), integers: where the tokens of each request are in the caches.
        req_pool_indices: (sequences,), integers: which requests these are.
        seq_lens: (sequences,), integers: tokens of each, with the new ones.
        before: (sequences,), integers: tokens that are not new; not asked for, since ``seq_lens`` and ``new`` say it.
        new: (sequences,), integers: new tokens of each; default one.
        scaling: Of the products; default one over the root of the width.
    """
    rows, start = req_to_token[req_pool_indices], 0
    counts = [1] * len(seq_lens) if new is None else new.tolist()
    query = query * (query.shape[2] ** -0.5 if scaling is None else scaling)
    keys, values = k_cache.flatten(1), v_cache.flatten(1)
    for row, length, count in zip(rows, seq_lens.tolist(), counts, strict=True):
        tokens, place = row[:length], slice(start, start + count)
        # Taken out as rows, not head by head: one piece of memory a token.
        key = keys.index_select(0, tokens).view(length, *k_cache.shape[1:])
        value = values.index_select(0, tokens).view(length, *v_cache.shape[1:])
        output[place] = _attend(query[place], key, value)
        start += count
    return output


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Of one sequence: the queries are of its last tokens."""
    (count, heads, _), (length, key_heads, _) = query.shape, key.shape
    asked = query.unflatten(1, (key_heads, -1)).permute(1, 2, 0, 3).flatten(1, 2)  # by key head all that ask it
    weights = torch.bmm(asked, key.permute(1, 2, 0)).view(key_heads, -1, count, length)
    if count > 1:
        places = torch.arange(length)
        weights.masked_fill_(places > places[-count:, None], -torch.inf)
    found = torch.bmm(weights.softmax(-1).flatten(1, 2), value.transpose(0, 1))
    return found.view(key_heads, -1, count, value.shape[2]).permute(2, 0, 1, 3).reshape(count, heads, -1)
