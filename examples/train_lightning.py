"""Train a small model with Lightning on web text and megadocs, as a run file says.

    streamdocs-server run.yaml &
    python examples/train_lightning.py run.yaml --ranks 2 --batches 400 --folder checkpoints

Run it again after it was stopped, even by SIGKILL: it goes on from its newest checkpoint.
"""

from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from streaming import StreamingDataLoader
from torch import Tensor

from model import LanguageModel
from options import options, record
from streamdocs import StreamingMegadocDataset
from streamdocs.integrations.mixed import token_losses, what_was_mixed


class LightningLanguageModel(L.LightningModule):
    """The example's model, as Lightning wants it."""

    def __init__(self, dataset: StreamingMegadocDataset, learning_rate: float, path: Path | None) -> None:
        super().__init__()
        self.model = LanguageModel(dataset.corpus.vocab_size)
        self._dataset, self._learning_rate, self._path = dataset, learning_rate, path

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        record(self._path, self.global_step, self.global_rank, batch["input_ids"])
        logits = self.model(batch["input_ids"], batch.get("sequence_id"))
        losses = token_losses(logits, batch["labels"])
        if self.global_step % 10 == 0:
            self.log_dict(what_was_mixed(self._dataset, batch, losses))
            if self._dataset.ledgers:
                self._dataset.report(batch, losses.detach(), every=10)
        return losses.sum() / (batch["labels"][:, 1:] != -100).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self._learning_rate)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--ranks", type=int, default=1)
    arguments = parser.parse_args()
    L.seed_everything(17)

    # The loader counts what it gave, and Lightning keeps that in each checkpoint: nothing else is needed.
    dataset = StreamingMegadocDataset.from_run_file(arguments.run_file, batch_size=arguments.batch_size)
    loader = StreamingDataLoader(dataset, batch_size=arguments.batch_size, num_workers=arguments.workers)
    model = LightningLanguageModel(dataset, arguments.learning_rate, arguments.record)
    every = ModelCheckpoint(arguments.folder, every_n_train_steps=arguments.checkpoint_every)
    trainer = L.Trainer(
        accelerator="auto",
        devices=arguments.ranks,
        max_epochs=-1,
        max_steps=arguments.batches,
        callbacks=[every],
        logger=CSVLogger(arguments.folder),
        log_every_n_steps=10,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )
    newest = max(arguments.folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime, default=None)
    trainer.fit(model, loader, ckpt_path=newest)


if __name__ == "__main__":
    main()
