"""Held-out web documents, short and long ones apart: what the examples measure."""

import numpy as np
import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader, DistributedSampler

from streamdocs.corpus.reader import Corpus


def holdout_loaders(corpus: Corpus, max_seq_len: int, batch_size: int) -> dict[str, DataLoader]:
    """A loader of the shorter half of a corpus's held-out documents, and one of the longer half; none if it has none.

    A batch has ``input_ids`` and ``labels`` int64 (batch, max_seq_len): one document a row, cut or padded (label -100).
    Several ranks share the documents.
    """
    if "holdout" not in corpus.index["splits"]:
        return {}
    holdout = Corpus(corpus.local, corpus.remote, split="holdout")
    by_length = np.argsort(holdout.tokens_per_document, kind="stable")
    middle = len(by_length) // 2
    halves = {"short": by_length[:middle], "long": by_length[middle:]}
    loaders = {}
    for name, half in halves.items():
        if len(half):
            rows = [padded(holdout.tokens(document), max_seq_len) for document in half]
            ranks = distributed.is_initialized() and distributed.get_world_size() > 1
            sampler = DistributedSampler(rows, shuffle=False) if ranks else None
            loaders[name] = DataLoader(rows, batch_size, sampler=sampler)
    return loaders


def padded(tokens: np.ndarray, length: int) -> dict[str, Tensor]:
    """A document as a row."""
    input_ids, labels = torch.zeros(length, dtype=torch.int64), torch.full((length,), -100)
    kept = torch.from_numpy(tokens[:length].astype(np.int64))
    input_ids[: len(kept)], labels[: len(kept)] = kept, kept
    return {"input_ids": input_ids, "labels": labels}
