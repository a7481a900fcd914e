"""What was mixed, in numbers for any logger: Weights & Biases, MLflow, TensorBoard."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from streamdocs.dataset import StreamingMegadocDataset


def what_was_mixed(
    dataset: StreamingMegadocDataset, batch: Mapping[str, Tensor], losses: Tensor | None = None
) -> dict[str, float]:
    """What the run has mixed until the end of a batch, and what this batch lost, by the names of metrics.

    ``wandb.log(…)``, ``mlflow.log_metrics(…)``, ``log_dict(…)`` of Lightning and ``accelerator.log(…)`` take it as it
    is; for TensorBoard ``add_scalar`` takes each.

    Args:
        dataset: The training dataset.
        batch: As the loader gave it, on any device; it is of this rank, and so is what is said of losses.
        losses: Its losses in nats a token: (sequences,), or (sequences, tokens), as ``token_losses`` gives them.

    Returns:
        ``megadocs/NAME`` of each name that ``dataset.mixed_until`` explains; with losses also ``loss/web`` and
        ``loss/synthetic``, and where streams are more than two ``loss/stream/NAME`` of each, of what is in the batch.
    """
    mixed = dataset.mixed_until(int(batch["position"].max()) + 1)
    said = {f"megadocs/{name}": float(value) for name, value in mixed.items()}
    if losses is None:
        return said
    return {**said, **mean_losses(dataset, sum_losses(dataset, batch, losses))}


def token_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each next token in nats, 0 where its label is not to be learned: (sequences, tokens - 1).

    Args:
        logits: (sequences, tokens, vocabulary), or of all sequences end to end, (1, sequences x tokens, vocabulary).
        labels: int64 (sequences, tokens), as the loader gave them.
    """
    logits = logits.view(*labels.shape, -1)
    return F.cross_entropy(logits[:, :-1].transpose(1, 2).float(), labels[:, 1:], reduction="none")


def sum_losses(dataset: StreamingMegadocDataset, batch: Mapping[str, Tensor], losses: Tensor) -> Tensor:
    """float64 (names, 2): of web, synthetic and each of several streams, the losses of sequences and their number."""
    each = losses.detach().reshape(len(losses), -1).mean(dim=1).cpu().double()
    synthetic, stream = batch["synthetic"].cpu(), batch["stream"].cpu()
    kinds = torch.stack([~synthetic, synthetic, *(stream == number for number in range(len(loss_names(dataset)) - 2))])
    return torch.stack([torch.where(kinds, each, 0).sum(dim=1), kinds.sum(dim=1)], dim=1)


def mean_losses(dataset: StreamingMegadocDataset, sums: Tensor) -> dict[str, float]:
    """By the names of metrics, the mean of what ``sum_losses`` gives, where there is one."""
    rows = zip(loss_names(dataset), sums.tolist(), strict=True)
    return {f"loss/{name}": loss / sequences for name, (loss, sequences) in rows if sequences}


def loss_names(dataset: StreamingMegadocDataset) -> list[str]:
    """The names that losses have in metrics."""
    names = dataset.streams if len(dataset.streams) > 2 else []
    return ["web", "synthetic", *(f"stream/{name}" for name in names)]
