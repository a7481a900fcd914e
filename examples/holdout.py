"""Held-out web documents, short and long ones apart: what the examples measure."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from streamdocs.corpus.reader import Corpus


def holdout_loaders(corpus: str, max_seq_len: int, batch_size: int) -> dict[str, DataLoader]:
    """A loader of the shorter half of the held-out documents, and one of the longer half.

    A batch has ``input_ids`` and ``labels`` int64 (batch, max_seq_len): one document a row, cut or padded (label -100).
    """
    holdout = Corpus(corpus, split="holdout")
    by_length = np.argsort(holdout.tokens_per_document, kind="stable")
    middle = len(by_length) // 2
    halves = {"short": by_length[:middle], "long": by_length[middle:]}
    return {
        name: DataLoader([padded(holdout.tokens(document), max_seq_len) for document in half], batch_size)
        for name, half in halves.items()
        if len(half)
    }


def padded(tokens: np.ndarray, length: int) -> dict[str, Tensor]:
    """A document as a row."""
    input_ids, labels = torch.zeros(length, dtype=torch.int64), torch.full((length,), -100)
    kept = torch.from_numpy(tokens[:length].astype(np.int64))
    input_ids[: len(kept)], labels[: len(kept)] = kept, kept
    return {"input_ids": input_ids, "labels": labels}
