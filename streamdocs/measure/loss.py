"""Loss in nats a token, of documents each by itself, for a training loop and for ``streamdocs evaluate``."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader

from streamdocs.errors import ConfigError
from streamdocs.measure.heldout import NO_LABEL, DocumentSet, padded

#: From ``input_ids`` int64 (batch, length) to logits (batch, length, vocabulary), or to what has them as ``logits``.
Model = Callable[[Tensor], Any]
#: What was last reduced. A thread of gloo holds it a little longer than the call, and needs the interpreter to free it
#: where nobody else does: a process that ended meanwhile would wait for that thread for ever.
_REDUCED: list[Tensor] = []


@dataclass(frozen=True)
class Loss:
    """The loss of some documents, as sums over them, so that two can be added.

    Args:
        nats, tokens, documents: In all; of each document its first token is not predicted.
        nats_squared, tokens_squared, nats_tokens: Sums of the products of a document's nats and tokens.
    """

    nats: float
    tokens: float
    documents: float
    nats_squared: float
    tokens_squared: float
    nats_tokens: float

    @property
    def mean(self) -> float:
        """Nats a token, each token counting the same."""
        return self.nats / self.tokens

    @property
    def error(self) -> float:
        """Standard error of the mean over documents, as of a ratio of two sums; NaN for one document."""
        if self.documents < 2:
            return math.nan
        mean = self.mean
        squares = self.nats_squared - 2 * mean * self.nats_tokens + mean**2 * self.tokens_squared
        return math.sqrt(max(squares, 0.0) * self.documents / (self.documents - 1)) / self.tokens

    def __add__(self, other: "Loss") -> "Loss":
        return Loss(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Loss)))


@torch.no_grad()
def evaluate(
    model: Model, sets: Mapping[str, DocumentSet], batch_size: int = 8, device: torch.device | str | None = None
) -> dict[str, Loss]:
    """The loss of a model on each set of documents, and as ``iid`` on ``short`` and ``long`` together.

    Ranks of ``torch.distributed`` share the documents, all have to call this, and all get the same. They need not ask
    the model equally often, so it must not be one whose forward pass talks to other ranks, as of FSDP; DDP's ``module``
    is none.

    Args:
        model: That is asked; in evaluation mode, and then in its own again.
        sets: The documents (``held_out``).
        batch_size: Documents at once.
        device: Where the tokens go; default where the model's parameters are.

    Raises:
        ConfigError: What it gives are not logits of this vocabulary, or no numbers.
    """
    if device is None:
        first = next(model.parameters(), None) if isinstance(model, nn.Module) else None
        device = "cpu" if first is None else first.device
    training = isinstance(model, nn.Module) and model.training
    if isinstance(model, nn.Module):
        model.eval()
    try:
        sums = [_sums(model, each, batch_size, torch.device(device)) for each in sets.values()]
    finally:
        if training and isinstance(model, nn.Module):
            model.train()
    found = {name: Loss(*each) for name, each in zip(sets, _over_ranks(sums), strict=True)}
    if wrong := [name for name, each in found.items() if not math.isfinite(each.nats_squared)]:
        raise ConfigError(f"the model's loss on {wrong[0]!r} is no number: its logits are infinite or NaN somewhere")
    if iid := [found[name] for name in ("short", "long") if name in found]:
        found = {"iid": iid[0] + iid[1] if len(iid) > 1 else iid[0], **found}
    return found


def _sums(model: Model, documents: DocumentSet, batch_size: int, device: torch.device) -> Tensor:
    """The fields of a Loss, of what this rank reads: float64 (6,)."""
    ranks = distributed.is_initialized()
    rank, step = (distributed.get_rank(), distributed.get_world_size()) if ranks else (0, 1)
    mine = torch.utils.data.Subset(documents, range(rank, len(documents), step))
    sums = torch.zeros(6, dtype=torch.float64, device=device)
    for batch in DataLoader(mine, batch_size, collate_fn=padded):
        nats, tokens = document_losses(model, batch, documents.corpus.vocab_size, device)
        sums += torch.stack([nats, tokens, torch.ones_like(nats), nats**2, tokens**2, nats * tokens]).sum(dim=1)
    return sums


def _over_ranks(sums: list[Tensor]) -> list[list[float]]:
    """The sums of all ranks together."""
    if sums and distributed.is_initialized():
        _REDUCED[:] = [torch.stack(sums)]
        distributed.all_reduce(_REDUCED[0])
        return _REDUCED[0].tolist()
    return [each.tolist() for each in sums]


def document_losses(
    model: Model, batch: Mapping[str, Tensor], vocabulary: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Of each document of a batch its nats, and how many tokens they are of: float64 (batch,) both."""
    input_ids, labels = batch["input_ids"].to(device), batch["labels"].to(device)
    output = model(input_ids)
    logits: Any = getattr(output, "logits", output)
    shape = tuple(getattr(logits, "shape", ()))
    if shape[:2] != tuple(input_ids.shape) or len(shape) != 3 or shape[2] < vocabulary:
        raise ConfigError(
            f"the model gives {f'a tensor of shape {shape}' if shape else type(output).__name__} for tokens of shape "
            f"{tuple(input_ids.shape)}: logits of (batch, length, vocabulary) are due, of {vocabulary:,} tokens or more"
        )
    due = labels[:, 1:]
    losses = F.cross_entropy(logits[:, :-1].float().transpose(1, 2), due, ignore_index=NO_LABEL, reduction="none")
    return losses.double().sum(dim=1), (due != NO_LABEL).double().sum(dim=1)
