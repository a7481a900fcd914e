"""What was mixed, as loggers take it."""

import re

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from conftest import STITCH, TEMPLATE, generate, make_dataset, make_run
from streamdocs import StreamingMegadocDataset
from streamdocs.integrations.mixed import token_losses, what_was_mixed


def batch_of(dataset: StreamingMegadocDataset, count: int = 8) -> dict[str, torch.Tensor]:
    rows = [dataset[position] for position in range(count)]
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def test_a_batch_in_numbers(small_corpus, full_store, tmp_path):
    dataset = make_dataset(small_corpus, full_store)
    batch = batch_of(dataset)
    losses = torch.where(batch["synthetic"], 3.0, 5.0)
    said = what_was_mixed(dataset, batch, losses)
    assert (said["loss/web"], said["loss/synthetic"], said["megadocs/synthetic_fraction"]) == (5, 3, 0.75)
    names = {name.partition("/")[2] for name in said if name.startswith("megadocs/")}
    assert names == set(dataset.mixed_until(8)) > {"reuse", "lead", "generations_per_document"}
    assert what_was_mixed(dataset, batch) == {name: said[name] for name in said if name.startswith("megadocs/")}
    each = losses[:, None].expand(8, 63)
    assert what_was_mixed(dataset, batch, each) == said
    # Names that MLflow takes, and finite numbers, which all of them do.
    assert all(re.fullmatch(r"[\w\-. /]+", name) for name in said)
    assert all(type(value) is float and np.isfinite(value) for value in said.values())
    with SummaryWriter(str(tmp_path)) as writer:
        for name, value in said.items():
            writer.add_scalar(name, value, 1)
    read = EventAccumulator(str(tmp_path)).Reload()
    assert {name: read.Scalars(name)[0].value for name in read.Tags()["scalars"]} == pytest.approx(said)


def test_several_streams_are_told_apart(small_corpus, store):
    streams = {
        "web": {"share": "1/2"},
        "one": {"share": "1/4", "recipe": STITCH},
        "two": {"share": "1/4", "recipe": {"name": "rephrase", "generations": 1}},
    }
    generate(make_run(small_corpus, streams, length=64), store)
    dataset = make_dataset(small_corpus, store, recipe=None, synthetic_fraction=0, streams=streams, generator=TEMPLATE)
    batch = batch_of(dataset, 16)
    losses = 2.0 + batch["stream"].float()
    losses[batch["stream"] == 0] = float("nan")
    said = what_was_mixed(dataset, batch, losses)
    assert (said["loss/stream/one"], said["loss/stream/two"], said["loss/synthetic"]) == (3, 4, 3.5)
    assert np.isnan(said["loss/web"]), "what is wrong with one stream is not said of another"
    assert {"megadocs/one/reuse", "megadocs/two/reuse"} <= set(said)


def test_losses_of_tokens():
    logits = torch.randn(2, 5, 7)
    labels = torch.tensor([[1, 2, 3, -100, 4], [0, 0, -100, 6, 1]])
    losses = token_losses(logits, labels)
    assert losses.shape == (2, 4) and losses[0, 2] == 0 and losses[1, 1] == 0
    assert losses[0, 0] == -logits[0, 0].log_softmax(dim=-1)[2]
    assert torch.equal(token_losses(logits.view(1, 10, 7), labels), losses)
