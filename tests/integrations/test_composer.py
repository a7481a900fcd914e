"""Through Composer: checkpoints in and between epochs, several ranks, and what the callback says."""

import json
import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pytest
import torch
import yaml

from conftest import generate, make_corpus, make_run, make_texts
from streamdocs import Stitch, StreamingMegadocDataset
from streamdocs.demo.report import replayed
from streamdocs.measure import evaluate, held_out
from streamdocs.measure.models import load_model
from streamdocs.steering.reports import Reports
from streamdocs.store import LmdbStore

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPE = {"name": "stitch", "generations": 2}
#: Of most runs: what a worker is started with takes it ten times as long as all its batches.
NO_WORKERS = "--workers=0"


@pytest.fixture(scope="module")
def run_file(tmp_path_factory) -> Path:
    """A run over a small corpus with everything generated; an epoch has some 15 batches."""
    folder = tmp_path_factory.mktemp("run")
    corpus = make_corpus(folder, make_texts(60), holdout=0.2)
    generate(make_run(corpus, Stitch(generations=2)), LmdbStore(folder / "store"))
    mix = {"max_seq_len": 256, "window": 32, "shuffle_seed": 17}
    fields = {
        "corpus": "corpus",
        "store": "store",
        "recipe": RECIPE,
        "generator": {"model": "template", "revision": "1"},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump({**fields, "mix": mix}))
    return folder / "run.yaml"


def train(program: str, run_file: Path, *options: str, launcher: tuple[str, ...] = ()) -> str:
    """Run an example as it is, from its launcher or in a fork of this process, which has imported Composer."""
    if not launcher:
        return forked(EXAMPLES / program, str(run_file), *options)
    command = [*launcher, str(EXAMPLES / program), str(run_file), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NODE_RANK": "0"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def forked(program: Path, *arguments: str) -> str:
    """What a program prints."""
    import composer  # noqa: F401  (once, for all children)
    import torch

    def run(output: int) -> None:
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = sys.stderr = os.fdopen(1, "w", closefd=False)
        sys.argv = [str(program), *arguments]
        sys.path.insert(0, str(program.parent))
        torch.set_num_threads(1)
        runpy.run_path(str(program), run_name="__main__")
        sys.stdout.flush()

    with TemporaryFile("w+") as output:
        child = multiprocessing.get_context("fork").Process(target=run, args=(output.fileno(),))
        child.start()
        child.join(240)
        if child.is_alive():
            child.kill()
        output.seek(0)
        printed = output.read()
    assert child.exitcode == 0, printed[-3000:]
    return printed


def launcher(name: str, ranks: int) -> tuple[str, ...]:
    """The command that starts a program on several ranks of this machine."""
    if name == "composer":
        return sys.executable, "-m", "composer.cli", f"--nproc={ranks}"
    return sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_stopped_in_and_between_epochs_it_reads_what_an_uninterrupted_run_reads(run_file, tmp_path):
    def options(folder: str, batches: int) -> list[str]:
        folder = tmp_path / folder
        return [f"--batches={batches}", f"--folder={folder}", f"--record={folder}.jsonl", "--checkpoint-every=9"]

    whole = [*options("whole", 36)]
    train("train_composer.py", run_file, *whole, NO_WORKERS)
    expected = lines_of(tmp_path / "whole.jsonl")
    assert len({line["tokens"] for line in expected}) == 36  # more than one epoch, and no batch twice
    # The learning rate follows max_duration, so the losses differ; what is read must not.
    per_epoch = next(i for i, line in enumerate(expected) if line["metrics"]["time/batch_in_epoch"] == 0 and i)
    for stop in (per_epoch // 2, per_epoch, 2 * per_epoch + 5):
        train("train_composer.py", run_file, *options("parts", stop), NO_WORKERS)
    train("train_composer.py", run_file, *options("parts", 36))
    found = {line["batch"]: line["tokens"] for line in lines_of(tmp_path / "parts.jsonl")}
    assert found == {line["batch"]: line["tokens"] for line in expected}

    first = expected[0]["metrics"]
    assert first["megadocs/synthetic_fraction"] == 0.75
    assert first["megadocs/generations_per_document"] == 2
    assert first["megadocs/waited_seconds"] == 0
    assert 0 < first["megadocs/reuse"] < 1
    assert {"loss/web", "loss/synthetic"} <= set(first)
    assert expected[10]["metrics"]["megadocs/reuse"] > first["megadocs/reuse"]
    assert any("metrics/holdout_long/loss" in line["metrics"] for line in expected)

    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=8)
    reports = Reports(dataset.store, dataset.run.id, dataset.run.mixture.window, dataset.run.mixture.max_seq_len)
    assert len(reports.windows()) > 2 and np.nanmax(reports.losses(0)) < 10
    assert {72, 144, 216, 288} <= {each.position for each in reports.held_out(-1, 1000)}


def test_a_plain_loop_goes_on_after_a_stop(run_file, tmp_path):
    def losses(printed: str) -> list[str]:
        return [line for line in printed.splitlines() if line.startswith("batch ")]

    whole = train("train_torch.py", run_file, "--batches=40", f"--checkpoint={tmp_path / 'a.pt'}")
    options = ["--checkpoint-every=10", f"--checkpoint={tmp_path / 'b.pt'}", NO_WORKERS]
    parts = [train("train_torch.py", run_file, f"--batches={batches}", *options) for batches in (20, 40)]
    assert losses(whole) == [line for part in parts for line in losses(part)] != []


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "program", "checkpoint", "ranks"),
    [
        ("torchrun", "train_torch.py", "--checkpoint", (2, 4)),
        ("composer", "train_composer.py", "--folder", (2, 1)),
    ],
)
def test_launched_on_ranks_and_resumed_on_others(run_file, tmp_path, name, program, checkpoint, ranks):
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=8)
    started = 0
    for number, batches, workers in zip(ranks, (7, 20), (1, 0), strict=True):  # an epoch has some fifteen
        record = tmp_path / f"{number}.jsonl"
        options = [f"--batches={batches}", f"--batch-size={8 // number}", "--checkpoint-every=7", f"--record={record}"]
        options += [f"--workers={workers}"]
        printed = train(
            program, run_file, *options, f"{checkpoint}={tmp_path / 'saved'}", launcher=launcher(name, number)
        )
        found = {(line["batch"], line["rank"]): line["tokens"] for line in lines_of(record)}
        assert found == {
            (batch, rank): replayed(dataset, batch * number + rank, 8 // number)
            for batch in range(started, batches)
            for rank in range(number)
        }
        if program == "train_torch.py" and batches == 7:  # what was saved is what was measured, on all ranks together
            assert told_held_out(printed) == held_out_of(tmp_path / "saved", dataset)
        started = batches


def told_held_out(printed: str) -> dict[str, str]:
    """The losses that a plain loop prints at its end."""
    lines = [line.removeprefix("held out, ") for line in printed.splitlines() if line.startswith("held out, ")]
    return dict(line.split(": ") for line in lines)


def held_out_of(checkpoint: Path, dataset: StreamingMegadocDataset) -> dict[str, str]:
    """Those of a checkpoint, measured by one process."""
    corpus, model = dataset.corpus, f"{EXAMPLES / 'model.py'}:LanguageModel"
    loaded = load_model(str(checkpoint), model, corpus.vocab_size, torch.device("cpu"))
    found = evaluate(loaded, held_out(corpus, dataset.run.mixture.max_seq_len))
    assert [*found] == ["iid", "short", "long"]
    return {name: f"{loss.mean:.3f}" for name, loss in found.items()}
