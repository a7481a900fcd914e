"""Batches are views of what was read together; they must be what their samples are, however those were picked."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import default_collate

from streamdocs.reading.batch import Sample, _columns, _Sent
from streamdocs.reading.exchange import Sequences

LENGTH = 5


def make_sequences(rows: int, first: int, dtype, documents: bool, masks: bool = False) -> Sequences:
    tokens = np.arange(first, first + rows * LENGTH).astype(dtype).reshape(rows, LENGTH)
    streams = np.arange(first, first + rows).astype(np.uint8)
    masked = tokens % 4 == 0 if masks else None
    return Sequences(
        tokens, np.arange(rows) % 3 == 0, streams, np.arange(rows), tokens // 2 if documents else None, masked
    )


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
@pytest.mark.parametrize("rows", [[2, 3, 4], [4, 2, 3], [0, 2], [5], [6, 7, 8], [3, 3]])
def test_a_batch_is_its_samples(rows, dtype, documents):
    one, other = make_sequences(6, 0, dtype, documents), make_sequences(6, 100, dtype, documents)
    # Rows from 6 on are the other's: a batch across what was read apart.
    samples = [Sample(one, row) if row < 6 else Sample(other, row - 6) for row in rows]
    batch = default_collate(samples)
    assert batch.keys() == samples[0].keys()
    for name, column in batch.items():
        assert torch.equal(column, torch.stack([sample[name] for sample in samples]))
    expected = np.stack([np.concatenate([one.tokens, other.tokens])[row] for row in rows])
    assert batch["input_ids"].dtype == batch["labels"].dtype == torch.int64
    assert batch["input_ids"].tolist() == batch["labels"].tolist() == expected.tolist()


def test_labels_of_what_is_masked_are_ignored():
    batch = default_collate([Sample(make_sequences(4, 0, "uint16", False, True), row) for row in range(4)])
    expected = torch.where(batch["input_ids"] % 4 == 0, -100, batch["input_ids"])
    assert torch.equal(batch["labels"], expected) and batch["stream"].tolist() == [0, 1, 2, 3]
    assert F.cross_entropy(torch.zeros(20, 30), torch.full((20,), -100), reduction="sum") == 0


def test_nothing_that_is_done_to_a_batch_reaches_another():
    sequences = make_sequences(4, 0, "uint16", True)
    samples = [Sample(sequences, row) for row in range(4)]
    expected = {name: column.clone() for name, column in default_collate(samples).items()}
    batch = default_collate(samples)
    batch["labels"].fill_(-100)
    assert torch.equal(batch["input_ids"], expected["input_ids"])
    for column in batch.values():
        column.zero_()
    for name, column in default_collate(samples).items():
        assert torch.equal(column, expected[name])


def test_what_workers_send_is_narrow_and_arrives_as_a_batch():
    sequences = make_sequences(4, 0, "uint16", False)
    sent = pickle.dumps(_Sent(_columns, *sequences[:6]))
    assert len(sent) < sequences.tokens.nbytes + 500
    arrived = pickle.loads(sent)
    assert arrived["input_ids"].tolist() == sequences.tokens.tolist()
    assert arrived["synthetic"].dtype == torch.bool
