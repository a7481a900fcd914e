"""A small Llama-like language model in plain PyTorch, for the examples: any causal model will do in its place."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Attention with rotary positions, then a gated MLP, each on normalised input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 6 * width, bias=False), nn.Linear(3 * width, width, bias=False)

    def forward(self, x: Tensor, rotation: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm_attention(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, rotation), rotate(k, rotation)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        gate, value = self.up(self.norm_mlp(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * value)


class LanguageModel(nn.Module):
    """Next-token prediction: ``input_ids`` int64 (batch, length) to logits (batch, length, vocabulary).

    With ``sequence_id`` int64 (batch, length), no token attends to another document of its sequence.
    """

    def __init__(self, vocabulary: int, width: int = 128, layers: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.head_width = width // heads
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.apply(initialise)

    def forward(self, input_ids: Tensor, sequence_id: Tensor | None = None) -> Tensor:
        length = input_ids.shape[1]
        rotation = rotations(length, self.head_width, input_ids.device)
        mask = None
        if sequence_id is not None:
            causal = torch.ones(length, length, dtype=torch.bool, device=input_ids.device).tril()
            mask = (causal & (sequence_id[:, :, None] == sequence_id[:, None, :]))[:, None]
        x = self.embedding(input_ids)
        for block in self.blocks:
            x = block(x, rotation, mask)
        return F.linear(self.norm(x), self.embedding.weight)


def token_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """(batch, length - 1): cross-entropy of each next token in nats; 0 for labels of -100."""
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")


def next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each next token; labels of -100 do not count."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def rotations(length: int, width: int, device: torch.device) -> Tensor:
    """Complex (length, width / 2): the rotation of each pair of channels at each position (RoPE, Su et al. 2021)."""
    frequencies = 10_000.0 ** (-torch.arange(0, width, 2, device=device) / width)
    angles = torch.outer(torch.arange(length, device=device), frequencies)
    return torch.polar(torch.ones_like(angles), angles)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate the channel pairs of x (batch, heads, length, width)."""
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * rotation).flatten(-2).type_as(x)


def initialise(module: nn.Module) -> None:
    """Small normal weights."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
