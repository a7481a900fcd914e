"""Composer killed after every batch, and in between: its batches and its clock are those of one uninterrupted run."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import xxhash

from conftest import TEMPLATE, generate, make_corpus, make_run, make_texts
from streamdocs import Stitch, StreamingMegadocDataset
from streamdocs.store import LmdbStore

RECIPE = Stitch(generations=2)
BATCH, LENGTH, PER_EPOCH = 4, 64, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A corpus with a hold-out, and a store with every generation."""
    folder = tmp_path_factory.mktemp("run")
    corpus = make_corpus(folder, make_texts(80), holdout=0.2)
    generate(make_run(corpus, RECIPE), LmdbStore(folder / "store"))
    return folder


def fit(folder: Path, out: Path, max_duration: str, save_interval: str, evaluate: bool, die_at: int | None) -> None:
    """Train until ``max_duration``; batch ``die_at`` is never trained, because the process kills itself before it."""
    from composer import Callback, ComposerModel, Evaluator, Trainer
    from streaming import StreamingDataLoader

    class Model(ComposerModel):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Embedding(1000, 4), torch.nn.Linear(4, 1000))

        def forward(self, batch):
            if not self.training:
                log("evaluated", batch)
            return self.layers(batch["input_ids"])

        def loss(self, outputs, batch):
            return torch.nn.functional.cross_entropy(outputs.flatten(0, 1), batch["labels"].flatten())

        def get_metrics(self, is_train=False):
            return {}

        def update_metric(self, batch, outputs, metric):
            pass

    class Watch(Callback):
        def batch_start(self, state, logger):
            if int(state.timestamp.batch) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            clock = state.timestamp
            log("trained", state.batch, int(clock.batch), int(clock.epoch), int(clock.sample_in_epoch))

    def log(what, batch, *clock):
        digest = xxhash.xxh3_64_hexdigest(batch["input_ids"].numpy().tobytes())
        with (out / f"{what}.jsonl").open("a") as file:
            file.write(json.dumps([*clock, digest]) + "\n")

    def loader(**options):
        dataset = StreamingMegadocDataset(
            local=folder / "corpus",
            max_seq_len=LENGTH,
            window=12,
            batch_size=BATCH,
            shuffle_seed=17,
            **options,
        )
        return StreamingDataLoader(dataset, batch_size=BATCH, num_workers=1 if evaluate else 0)

    megadocs = {"store": str(folder / "store"), "recipe": RECIPE, "generator": TEMPLATE, "synthetic_fraction": 0.75}
    holdout = Evaluator(
        label="holdout",
        dataloader=loader(split="holdout", evaluation=True),
        subset_num_batches=2,
        metric_names=[],
    )
    torch.set_num_threads(1)
    trainer = Trainer(
        model=Model(),
        train_dataloader=loader(**megadocs, epoch_size=BATCH * PER_EPOCH),
        eval_dataloader=holdout if evaluate else None,
        eval_interval="3ba",
        max_duration=max_duration,
        callbacks=[Watch()],
        run_name="run",
        save_folder=str(out),
        save_interval=save_interval,
        save_latest_filename="latest.pt",
        save_num_checkpoints_to_keep=1,
        autoresume=True,
        progress_bar=False,
    )
    trainer.fit()


def train(folder: Path, out: Path, duration: str, save="1ba", evaluate=False, die_at: int | None = None) -> None:
    """``fit`` in a process of its own."""
    out.mkdir(exist_ok=True)
    child = multiprocessing.get_context("fork").Process(
        target=fit, args=(folder, out, duration, save, evaluate, die_at)
    )
    child.start()
    child.join(100)
    expected = 0 if die_at is None else -signal.SIGKILL
    assert child.exitcode == expected, f"exit code {child.exitcode}"


def logged(out: Path, what: str = "trained") -> list[list]:
    return [json.loads(line) for line in (out / f"{what}.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory) -> list[list]:
    """What three epochs read: number of each batch, its epoch, samples of the epoch before it, and its digest."""
    import composer  # noqa: F401  (once, for all children)

    out = tmp_path_factory.mktemp("whole")
    train(folder, out, "3ep")
    lines = logged(out)
    assert [line[0] for line in lines] == list(range(3 * PER_EPOCH))
    assert len({line[-1] for line in lines}) == 3 * PER_EPOCH
    return lines


def test_killed_after_every_batch(folder, whole, tmp_path):
    for batch in range(1, 3 * PER_EPOCH):
        train(folder, tmp_path, "3ep", die_at=batch)
    train(folder, tmp_path, "3ep")
    assert logged(tmp_path) == whole


@pytest.mark.parametrize("save", ["1ep", "4ba"])
def test_batches_after_the_last_checkpoint_are_read_again(folder, whole, tmp_path, save):
    for batch in (PER_EPOCH + 2, 2 * PER_EPOCH + 1):
        train(folder, tmp_path, "3ep", save, die_at=batch)
    train(folder, tmp_path, "3ep", save)
    lines = logged(tmp_path)
    assert len(lines) > len(whole)
    assert sorted({tuple(line) for line in lines}) == [tuple(line) for line in whole]


def test_duration_in_tokens(folder, whole, tmp_path):
    for batches in (3, PER_EPOCH, PER_EPOCH + 1, 2 * PER_EPOCH + 3):
        train(folder, tmp_path, f"{batches * BATCH * LENGTH}tok", save="2ba")
    assert logged(tmp_path) == whole[: 2 * PER_EPOCH + 3]


def test_evaluation_in_between_changes_nothing_and_always_reads_the_same(folder, whole, tmp_path):
    train(folder, tmp_path, "3ep", evaluate=True, die_at=7)
    train(folder, tmp_path, "3ep", evaluate=True)
    assert logged(tmp_path) == whole
    evaluated = np.array(logged(tmp_path, "evaluated")).reshape(-1, 2)
    assert len(evaluated) >= 3 and (evaluated == evaluated[0]).all()
