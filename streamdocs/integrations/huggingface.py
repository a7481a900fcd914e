"""For Hugging Face: a Trainer that reads a dataset by itself, and goes on in it where a checkpoint was written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from streaming import StreamingDataLoader
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import ExportableState

from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.errors import ConfigError
from streamdocs.integrations.mixed import token_losses, what_was_mixed
from streamdocs.integrations.packed import model_inputs


class MegadocTrainer(Trainer):
    """A Trainer whose ``train_dataset`` is a ``StreamingMegadocDataset``.

    Each process reads its own part: accelerate, which would read everything in one process or in each, does not deal
    the loader out. So on several processes the dataset is made with ``rank=args.process_index, ranks=args.world_size``.
    Where the data stands is in each checkpoint's ``trainer_state.json``, and no batch is read twice to come back there.
    The model gets ``model_inputs`` of a batch. At logging steps the metrics of ``what_was_mixed`` are logged, and what
    they were made of is reported to the dataset.

    Args:
        model, args: As a Trainer's.
        train_dataset: The dataset; ``batch_size`` is ``args.per_device_train_batch_size``.
        arguments: What else a Trainer takes.

    Raises:
        ConfigError: The dataset is dealt to other processes than there are, or steps that accumulate gradients would
            begin in one epoch and end in the next.
    """

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        *,
        train_dataset: StreamingMegadocDataset,
        **arguments: Any,
    ) -> None:
        super().__init__(model, args, train_dataset=train_dataset, **arguments)
        self.args.ignore_data_skip = True  # the loader goes on by itself
        self._mixed: dict[str, float] = {}
        self.add_callback(MegadocState())

    def get_train_dataloader(self) -> StreamingDataLoader:
        """The dataset's loader, as it is."""
        dataset, args = self.train_dataset, self.args
        parts = args.world_size // (dataset.replication or 1)
        if len(dataset) * parts != dataset.epoch_size:
            raise ConfigError(
                f"{args.world_size} processes train, and the dataset is dealt to others: make it with "
                "rank=args.process_index, ranks=args.world_size"
            )
        batches, steps = len(dataset) // dataset.batch_size, args.gradient_accumulation_steps
        if batches % steps:
            whole = dataset.epoch_size // batches * steps
            raise ConfigError(
                f"an epoch has {batches} batches, which gradient_accumulation_steps={steps} do not divide, so that a "
                f"step would go on into the next epoch: give the dataset an epoch_size that is a multiple of {whole}"
            )
        workers = args.dataloader_num_workers
        return StreamingDataLoader(
            dataset,
            batch_size=self._train_batch_size,
            num_workers=workers,
            pin_memory=args.dataloader_pin_memory and torch.cuda.is_available(),
            prefetch_factor=args.dataloader_prefetch_factor if workers else None,
            persistent_workers=args.dataloader_persistent_workers,
        )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The model's loss of what it takes of a batch; batches that are not this dataset's it takes as they are."""
        taken = model_inputs(inputs, model) if "synthetic" in inputs else inputs  # of an eval_dataset of another kind
        loss, outputs = super().compute_loss(model, taken, True, num_items_in_batch)
        if model.training and self.state.global_step % max(int(self.state.logging_steps), 1) == 0:
            self._look(inputs, outputs["logits"])
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *arguments: Any, **options: Any) -> None:
        """Log, with what was mixed."""
        if "loss" in logs:
            logs = {**logs, **self._mixed}
        super().log(logs, *arguments, **options)

    def _look(self, batch: Mapping[str, torch.Tensor], logits: torch.Tensor) -> None:
        dataset = self.train_dataset
        with torch.no_grad():
            losses = token_losses(logits, batch["labels"])
        self._mixed = what_was_mixed(dataset, batch, losses)
        if dataset.ledgers:
            dataset.report(batch, losses, every=max(int(self.state.logging_steps), 1))


class MegadocState(TrainerCallback, ExportableState):
    """Keeps in each checkpoint where the data stands, and goes on there."""

    def __init__(self) -> None:
        self.loader: Any = None

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps; nothing before training began."""
        return {"args": {}, "attributes": {} if self.loader is None else {"data": self.loader.state_dict()}}

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        train_dataloader: Any = None,
        **_: Any,
    ) -> None:
        """Bring the loader to where the checkpoint was written.

        Raises:
            ConfigError: It does not say where.
        """
        if state.global_step:
            data = _data_of(state.stateful_callbacks or {})
            if data is None:
                raise ConfigError(
                    f"the checkpoint of step {state.global_step} does not say where its data stands: a MegadocTrainer "
                    "did not write it"
                )
            train_dataloader.load_state_dict(data)
        self.loader = train_dataloader


def _data_of(callbacks: Mapping[str, Any]) -> Any:
    kept = callbacks.get(MegadocState.__name__)
    return kept.get("attributes", {}).get("data") if isinstance(kept, Mapping) else None


def newest_checkpoint(folder: str | Path) -> str | None:
    """The newest checkpoint in a folder that was written to its end, for ``train(resume_from_checkpoint=…)``, or None.

    ``transformers.trainer_utils.get_last_checkpoint`` also finds those that a killed process was writing.
    """
    found = [each.parent for each in Path(folder).glob(f"checkpoint-*/{TRAINER_STATE_NAME}")]
    numbered = [(int(number), each) for each in found if (number := each.name.rpartition("-")[2]).isdigit()]
    return str(max(numbered)[1]) if numbered else None
