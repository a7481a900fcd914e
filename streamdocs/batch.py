"""Batches that cross from DataLoader workers to the trainer in as few bytes as their tokens have.

PyTorch would send every column as an int64 tensor in shared memory of its own; opening it costs more than making the
batch. Here a worker sends the tokens as they are stored, and they are widened once, where they arrive.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info
from torch.utils.data._utils.collate import default_collate_fn_map

from streamdocs.arrays import Ints, Tokens


class Sample(Mapping[str, torch.Tensor]):
    """A sequence as a dataset yields it, by column; ``torch.utils.data.default_collate`` makes batches of them.

    Columns are made when they are first asked for: a batch is made without them.

    Args:
        tokens: uint16 or uint32 (max_seq_len,).
        synthetic: Whether it is made of generations.
        document: int64 (max_seq_len,), the number of each token's document; None for no ``sequence_id``.
    """

    def __init__(self, tokens: Tokens, synthetic: bool, document: Ints | None) -> None:
        self.tokens, self.synthetic, self.document = tokens, synthetic, document

    @cached_property
    def _columns(self) -> dict[str, torch.Tensor]:
        return _columns(self.tokens, np.asarray(self.synthetic), self.document)

    def __getitem__(self, column: str) -> torch.Tensor:
        """A column."""
        return self._columns[column]

    def __iter__(self) -> Iterator[str]:
        """Names of the columns."""
        return iter(self._columns)

    def __len__(self) -> int:
        """Number of columns."""
        return len(self._columns)


class _Batch:
    """What is sent: pickled as narrow arrays, a plain ``dict`` of tensors when it arrives."""

    def __init__(self, *arrays: Any) -> None:
        self._arrays = arrays

    def __reduce__(self) -> tuple[Any, ...]:
        return _columns, self._arrays


def _collate(samples: Sequence[Sample], *, collate_fn_map: Any = None) -> Any:
    tokens = np.stack([sample.tokens for sample in samples])
    synthetic = np.array([sample.synthetic for sample in samples])
    documents = [sample.document for sample in samples if sample.document is not None]
    document = np.stack(documents) if documents else None
    return (_columns if get_worker_info() is None else _Batch)(tokens, synthetic, document)


def _columns(tokens: Tokens, synthetic: Any, document: Ints | None) -> dict[str, torch.Tensor]:
    columns = {
        "input_ids": torch.from_numpy(tokens.astype(np.int64)),
        "labels": torch.from_numpy(tokens.astype(np.int64)),  # its own memory: training code may mask some
        "synthetic": torch.from_numpy(synthetic),
    }
    if document is not None:
        columns["sequence_id"] = torch.from_numpy(document.astype(np.int64))
    return columns


default_collate_fn_map[Sample] = _collate
