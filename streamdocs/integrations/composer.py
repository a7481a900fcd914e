"""For Composer: a callback that says what was mixed and how each half is learned, and evaluators of held-out text."""

import logging
from collections.abc import Mapping

import torch
from composer import Callback, DataSpec, Evaluator, Logger, State
from composer.utils import dist
from torchmetrics import Metric

from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.errors import ConfigError
from streamdocs.integrations.mixed import loss_names, mean_losses, sum_losses, token_losses
from streamdocs.measure.heldout import DocumentSet

log = logging.getLogger(__name__)


def held_out_evaluators(
    sets: Mapping[str, DocumentSet], batch_size: int, metric: str = "LanguageCrossEntropy"
) -> list[Evaluator]:
    """An evaluator of each set of documents (``streamdocs.measure.held_out``), labelled ``holdout_NAME``.

    With Composer's LanguageCrossEntropy, which counts each token the same, they measure what
    ``streamdocs.measure.evaluate`` does. No document has another in its context, so the model needs no ``sequence_id``.

    Args:
        sets: The documents.
        batch_size: Documents at once, of each rank.
        metric: Its name among those of the model.
    """
    return [
        Evaluator(label=f"holdout_{name}", dataloader=DataSpec(each.loader(batch_size)), metric_names=[metric])
        for name, each in sets.items()
    ]


class MegadocMonitor(Callback):
    """Logs the mixture and the losses of web and synthetic sequences, and of streams, every ``interval`` batches.

    Metrics: ``megadocs/synthetic_fraction`` (of all sequences so far), ``megadocs/generations_per_document``,
    ``megadocs/reuse`` (times that each generated token was read), ``megadocs/lead`` (documents x rounds by which
    generation is ahead of training), ``megadocs/waited_seconds``, ``loss/web`` and ``loss/synthetic``. Where there are
    several synthetic streams, ``megadocs/NAME/reuse`` and so on of each; where streams are more than two,
    ``loss/stream/NAME`` of each.

    What it looks at it also reports to the dataset, for a controller that moves the mixture: the losses of these
    batches, and after each evaluation what is held out. A controller knows as much of a window as is looked at of it,
    so that ``interval`` should be some times shorter than a window.

    Args:
        dataset: The training dataset; default that of the trainer's loader.
        interval: Batches between two entries.
        held_out: Part of the name of the metric of an evaluation, in nats a token, that counts as held out, as
            ``EVALUATOR/METRIC``; default the cross entropy of language models.
        evaluator: Label of the evaluator whose metric that is; default the only one that has it. Where several have,
            none counts, and a warning names them.
    """

    def __init__(
        self,
        dataset: StreamingMegadocDataset | None = None,
        interval: int = 10,
        held_out: str = "LanguageCrossEntropy",
        evaluator: str | None = None,
    ) -> None:
        self._interval = interval
        self._held_out = held_out
        self._evaluator = evaluator
        self._due = False
        if dataset is not None:
            self._look_at(dataset)

    def _look_at(self, dataset: StreamingMegadocDataset) -> None:
        self._dataset, self._reports = dataset, bool(dataset.ledgers)
        self._sums = torch.zeros(len(loss_names(dataset)), 2, dtype=torch.float64)  # of each: loss, sequences

    def fit_start(self, state: State, logger: Logger) -> None:
        """Say what will be read, before the first step; and which evaluations could count, where that is not clear.

        Raises:
            ConfigError: The evaluator that is to count is not there, or has no such metric; or the trainer reads
                something else than a StreamingMegadocDataset.
        """
        if not hasattr(self, "_dataset"):
            dataset = getattr(state.train_dataloader, "dataset", None)
            if not isinstance(dataset, StreamingMegadocDataset):
                raise ConfigError(f"MegadocMonitor needs a StreamingMegadocDataset, and reads {type(dataset).__name__}")
            self._look_at(dataset)
        logger.log_hyperparameters({"megadocs": self._dataset.describe()})
        labels = [*self._held_out_metrics(state)]
        named = ", ".join(labels) or "none"
        if self._evaluator not in (None, *labels):
            raise ConfigError(
                f"MegadocMonitor: evaluator {self._evaluator!r} has no metric {self._held_out!r}; evaluators that have "
                f"one: {named}"
            )
        if self._reports and self._evaluator is None and len(labels) > 1:
            log.warning(
                "nothing will be reported as held out, since several evaluators have a metric %r: say which one "
                "counts, by MegadocMonitor(dataset, evaluator=...), of %s",
                *(self._held_out, named),
            )

    def batch_start(self, state: State, logger: Logger) -> None:
        """See whether this batch is one to look at; Composer's clock moves on before it ends."""
        self._due = int(state.timestamp.batch) % self._interval == 0

    def after_loss(self, state: State, logger: Logger) -> None:
        """Add up the losses of this microbatch, by kind."""
        if not self._due:
            return
        logits = getattr(state.outputs, "logits", state.outputs)
        with torch.no_grad():
            losses = token_losses(logits, state.batch["labels"])
            if self._reports:
                self._dataset.report(state.batch, losses, every=self._interval)
            self._sums += sum_losses(self._dataset, state.batch, losses)

    def batch_end(self, state: State, logger: Logger) -> None:
        """Log."""
        if not self._due:
            return
        sums, self._sums = state.device.tensor_to_device(self._sums), torch.zeros_like(self._sums)
        dist.all_reduce(sums)
        logger.log_metrics(mean_losses(self._dataset, sums))
        mixed = self._dataset.mixed_until(self._position(state))
        logger.log_metrics({f"megadocs/{name}": value for name, value in mixed.items()})

    def eval_end(self, state: State, logger: Logger) -> None:
        """Report what is held out."""
        found = self._held_out_metrics(state)
        only = next(iter(found)) if len(found) == 1 else None
        label = only if self._evaluator is None else self._evaluator
        if self._reports and label in found and label == state.dataloader_label:
            self._dataset.report(held_out=float(found[label].compute()), position=self._position(state))

    def _held_out_metrics(self, state: State) -> dict[str, Metric]:
        """By the label of each evaluator that has it: the metric that could count as held out."""
        return {
            each.label: metric
            for each in state.evaluators
            for name, metric in state.eval_metrics.get(each.label, {}).items()
            if self._held_out in f"{each.label}/{name}"
        }

    def _position(self, state: State) -> int:
        epoch, sample = int(state.timestamp.epoch), int(state.timestamp.sample_in_epoch)
        return self._dataset.cursor.epoch_start(epoch) + sample
