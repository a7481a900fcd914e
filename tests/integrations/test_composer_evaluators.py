"""What Composer's callback reports: of several evaluations which one, and of batches how often."""

from types import SimpleNamespace

import pytest
import torch
from torch import tensor
from torchmetrics import MeanMetric

from streamdocs.errors import ConfigError
from streamdocs.integrations.composer import MegadocMonitor


class Told:
    """Of a dataset, what the callback needs; keeps what it is told."""

    ledgers, streams = ("synthetic",), ("web", "synthetic")
    cursor = SimpleNamespace(epoch_start=lambda epoch: 1000 * epoch)

    def __init__(self) -> None:
        self.held_out = []

    def describe(self) -> str:
        return "a run"

    def report(self, *, held_out: float, position: int) -> None:
        self.held_out.append((held_out, position))


def evaluated(losses: dict[str, dict[str, float]], **options) -> list[tuple[float, int]]:
    """What is reported where these evaluators measure these losses one after another, after 64 sequences of epoch 2."""
    dataset, metrics = Told(), {}
    for label, measured in losses.items():
        metrics[label] = {name: MeanMetric() for name in measured}
        for name, loss in measured.items():
            metrics[label][name].update(tensor(loss))
    state = SimpleNamespace(
        evaluators=[SimpleNamespace(label=label) for label in losses],
        eval_metrics=metrics,
        timestamp=SimpleNamespace(epoch=2, sample_in_epoch=64),
    )
    monitor = MegadocMonitor(dataset, **options)
    monitor.fit_start(state, SimpleNamespace(log_hyperparameters=lambda _: None))
    for label in losses:
        state.dataloader_label = label
        monitor.eval_end(state, None)
    return dataset.held_out


LOSS = "LanguageCrossEntropy"
SEVERAL = {"ours": {LOSS: 3.0, "Accuracy": 0.5}, "books": {LOSS: 4.0}, "quiz": {"Accuracy": 0.25}}


def test_the_only_one_counts(caplog):
    assert evaluated({"ours": SEVERAL["ours"], "quiz": SEVERAL["quiz"]}) == [(3.0, 2064)]
    assert evaluated({"quiz": SEVERAL["quiz"]}) == evaluated({}) == [] and not caplog.records


def test_of_several_the_one_that_is_named_counts(caplog):
    assert evaluated(SEVERAL, evaluator="ours") == [(3.0, 2064)]
    assert evaluated(SEVERAL, evaluator="books") == [(4.0, 2064)]
    assert evaluated(SEVERAL, evaluator="quiz", held_out="Accuracy") == [(0.25, 2064)]
    assert evaluated(SEVERAL, held_out="books/Language") == [(4.0, 2064)] and not caplog.records


def test_of_several_of_which_none_is_named_none_counts_and_all_are_told(caplog):
    assert evaluated(SEVERAL) == []
    (said,) = caplog.messages
    assert said.startswith("nothing will be reported as held out") and said.endswith("of ours, books")


def test_one_that_is_not_there_is_refused():
    with pytest.raises(
        ConfigError, match=r"evaluator 'quiz' has no metric '.*'; evaluators that have one: ours, books"
    ):
        evaluated(SEVERAL, evaluator="quiz")
    with pytest.raises(ConfigError, match="evaluators that have one: none"):
        evaluated({}, evaluator="ours")


@pytest.mark.parametrize("interval", [1, 10])
def test_what_is_looked_at_is_reported_as_one_batch_of_so_many(interval):
    dataset, told = Told(), []
    dataset.report = lambda batch, losses, *, every: told.append((losses.shape, every))
    monitor = MegadocMonitor(dataset, interval)
    batch = {"labels": torch.ones(2, 8, dtype=torch.int64), "synthetic": torch.tensor([True, False])}
    state = SimpleNamespace(batch={**batch, "stream": torch.tensor([1, 0])}, outputs=torch.zeros(2, 8, 16))
    for number in range(20):
        state.timestamp = SimpleNamespace(batch=number)
        monitor.batch_start(state, None)
        monitor.after_loss(state, None)
    assert told == [((2, 7), interval)] * (20 // interval)
