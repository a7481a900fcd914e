"""Train a small model with Composer on web text and megadocs, as a run file says.

    streamdocs-server run.yaml &
    python examples/train_composer.py run.yaml --batches 400 --folder checkpoints

Run it again after it was stopped, even by SIGKILL: it goes on from its newest checkpoint.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import xxhash
from composer import Callback, ComposerModel, Logger, State, Trainer
from composer.loggers import InMemoryLogger
from composer.metrics import LanguageCrossEntropy
from composer.optim import CosineAnnealingScheduler, DecoupledAdamW
from composer.utils import dist, get_device
from streaming import StreamingDataLoader
from torch import Tensor
from torchmetrics import Metric

from model import LanguageModel, next_token_loss
from options import options
from streamdocs import StreamingMegadocDataset
from streamdocs.composer import MegadocMonitor, held_out_evaluators
from streamdocs.measure import held_out


class ComposerLanguageModel(ComposerModel):
    """The example's model, as Composer wants it."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.model = LanguageModel(vocabulary)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.model(batch["input_ids"], batch.get("sequence_id"))

    def loss(self, outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return next_token_loss(outputs, batch["labels"])

    def get_metrics(self, is_train: bool = False) -> dict[str, Metric]:
        return {} if is_train else {"loss": LanguageCrossEntropy()}

    def update_metric(self, batch: dict[str, Tensor], outputs: Tensor, metric: Metric) -> None:
        metric.update(outputs[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())


class Recorder(Callback):
    """One JSON line a batch and rank: its number, a digest of what was read, and all metrics."""

    def __init__(self, path: Path, metrics: InMemoryLogger) -> None:
        self._path, self._metrics = path, metrics
        self._line: dict[str, Any] = {}

    def batch_start(self, state: State, logger: Logger) -> None:
        tokens = state.batch["input_ids"].cpu().numpy()
        self._line = {
            "batch": int(state.timestamp.batch),
            "time": time.time(),
            "rank": dist.get_global_rank(),
            "tokens": xxhash.xxh3_64_hexdigest(tokens.tobytes()),
            "synthetic": state.batch["synthetic"].tolist(),
        }

    def batch_end(self, state: State, logger: Logger) -> None:
        metrics = {name: float(values[-1][1]) for name, values in self._metrics.data.items()}
        self._metrics.data.clear()
        with self._path.open("a") as file:
            file.write(json.dumps({**self._line, "loss": float(state.loss), "metrics": metrics}) + "\n")


def main() -> None:
    parser = options(__doc__)
    parser.add_argument(
        "--reseal", action="store_true", help="seal anew what lost its generations since the checkpoint"
    )
    arguments = parser.parse_args()

    os.environ.setdefault("NODE_RANK", os.environ.get("GROUP_RANK", "0"))  # Composer wants it, torchrun does not set it
    # Before any dataset: streaming must not be the first to touch torch.distributed.
    dist.initialize_dist(get_device(None), timeout=300)
    dataset = StreamingMegadocDataset.from_run_file(
        arguments.run_file, batch_size=arguments.batch_size, reseal=arguments.reseal
    )
    print(dataset.describe(), flush=True)
    loader = StreamingDataLoader(dataset, batch_size=arguments.batch_size, num_workers=arguments.workers)
    sets = held_out(dataset.corpus, dataset.run.mixture.max_seq_len)

    model = ComposerLanguageModel(dataset.corpus.vocab_size)
    metrics = InMemoryLogger()
    recorder = [Recorder(arguments.record, metrics)] if arguments.record else []
    trainer = Trainer(
        model=model,
        train_dataloader=loader,
        eval_dataloader=held_out_evaluators(sets, arguments.batch_size, metric="loss"),
        eval_interval=f"{arguments.checkpoint_every}ba",
        optimizers=DecoupledAdamW(model.parameters(), lr=arguments.learning_rate, weight_decay=1e-5),
        schedulers=CosineAnnealingScheduler(t_max=f"{arguments.batches}ba"),
        max_duration=f"{arguments.batches}ba",
        callbacks=[MegadocMonitor(dataset, held_out="holdout_long/loss"), *recorder],
        loggers=[metrics],
        run_name="megadocs",
        save_folder=str(arguments.folder),
        save_interval=f"{arguments.checkpoint_every}ba",
        save_latest_filename="latest.pt",
        save_overwrite=True,
        autoresume=True,
        progress_bar=not arguments.record,
        seed=17,
    )
    if trainer.state.timestamp.batch < arguments.batches:
        trainer.fit()
    else:
        print(f"all {arguments.batches} batches are done: give more by --batches, or another --folder to begin anew")
    trainer.close()


if __name__ == "__main__":
    main()
