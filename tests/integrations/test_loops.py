"""The loops that people have, killed with SIGKILL and started again: their batches are those of the run.

Their processes are forks of this one, which has imported what they need, in the environment that launchers make.
``EXHAUSTIVE=1`` (``make loops``) starts them by their real launchers, and also those that pin other versions than ours,
from environments of their own.
"""

import json
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from conftest import generate, make_corpus, make_run, make_texts
from streamdocs import Stitch, StreamingMegadocDataset
from streamdocs.demo.report import replayed
from streamdocs.store import LmdbStore

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
EXHAUSTIVE = "EXHAUSTIVE" in os.environ
HERE = Path(__file__).parent / "loops"
#: Sequences a batch, over all ranks; batches between two checkpoints; batches until the kill, and after it.
GLOBAL, EVERY, BEFORE, AFTER = 8, 5, 12, 8


def torchrun(python: str, ranks: int) -> list[str]:
    return [python, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]


def accelerate(python: str, ranks: int) -> list[str]:
    """Several processes only as if for GPUs, since those for CPUs would need MPI; the example takes what there is."""
    several = ["--multi_gpu", "--main_process_port", str(free_port())] if ranks > 1 else ["--cpu"]
    said = ["--num_processes", str(ranks), "--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"]
    return [python, "-m", "accelerate.commands.launch", *several, *said]


def by_itself(python: str, ranks: int) -> list[str]:
    return [python]


@dataclass(frozen=True)
class Loop:
    """An example, its options, where its checkpoints are, what starts it, and an environment of its own."""

    name: str
    script: Path
    options: tuple[str, ...] = ("--workers=0",)
    checkpoints: str = "--folder"
    launcher: Any = torchrun
    ranks_option: str | None = None
    environment: Path | None = None

    @property
    def python(self) -> str:
        return str(self.environment / "bin/python") if self.environment else sys.executable

    def command(self, run_file: Path, folder: Path, batches: int, ranks: int) -> list[str]:
        """The script and its arguments."""
        command = [str(self.script), str(run_file), f"--batches={batches}", f"--record={folder}/record"]
        command += [f"--batch-size={GLOBAL // ranks}", f"--checkpoint-every={EVERY}", *self.options]
        command += [f"{self.checkpoints}={folder / 'saved'}"]
        return command + ([f"{self.ranks_option}={ranks}"] if self.ranks_option else [])


LOOPS = [
    Loop("torchdata", EXAMPLES / "train_torch.py", ("--stateful", "--workers=2"), "--checkpoint"),
    Loop("accelerate", EXAMPLES / "train_accelerate.py", launcher=accelerate),
    Loop("huggingface", EXAMPLES / "train_huggingface.py"),
    Loop("lightning", EXAMPLES / "train_lightning.py", launcher=by_itself, ranks_option="--ranks"),
    Loop("torchtitan", HERE / "titan.py", environment=ROOT / ".venv-titan"),
    Loop("llm-foundry", HERE / "foundry.py", environment=ROOT / ".venv-foundry"),
]


@pytest.fixture(scope="module")
def run_file(tmp_path_factory) -> Path:
    """A run over a small corpus with everything generated; an epoch has some nine batches."""
    folder = tmp_path_factory.mktemp("run")
    corpus = make_corpus(folder, make_texts(40))
    generate(make_run(corpus, Stitch(generations=2)), LmdbStore(folder / "store"))
    mix = {"max_seq_len": 256, "window": 32, "shuffle_seed": 17, "block_cross_document_attention": True}
    fields = {
        "corpus": "corpus",
        "store": "store",
        "recipe": {"name": "stitch", "generations": 2},
        "generator": {"model": "template", "revision": "1"},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump({**fields, "mix": mix}))
    return folder / "run.yaml"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def imported() -> None:
    """What the examples import: once, for all forks of this process."""
    if EXHAUSTIVE:
        return
    import accelerate
    import lightning.pytorch
    import streaming
    import torchdata.stateful_dataloader
    import transformers

    assert transformers.Trainer and transformers.LlamaForCausalLM  # which are imported when they are named
    assert all((accelerate, lightning.pytorch, streaming, torchdata.stateful_dataloader))


@contextmanager
def forks(command: list[str], folder: Path, ranks: int) -> Iterator[list]:
    """The ranks of a program, in forks of this process, with the environment that torchrun gives."""
    port = free_port()

    def run(rank: int) -> None:
        output = os.open(folder / f"output-{rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
        if ranks > 1:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_WORLD_SIZE=str(ranks))
            os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="none")
        import torch
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(reset_partial_state=True)  # which other tests have left: they had one rank
        torch.set_num_threads(1)
        sys.argv, sys.path[:0] = command, [str(EXAMPLES)]
        runpy.run_path(command[0], run_name="__main__")

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=run, args=(rank,)) for rank in range(ranks)]
    try:
        for each in processes:
            each.start()
        yield processes
    finally:
        for each in processes:
            each.kill()
            each.join(20)


@contextmanager
def launched(command: list[str], folder: Path) -> Iterator[list]:
    """A program by its launcher, which is killed with all that it started, in whatever session that is."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{EXAMPLES}:{ROOT}", "NODE_RANK": "0"}
    with (folder / "output-0").open("a") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        yield [process]
    finally:
        with suppress(psutil.NoSuchProcess):
            here = psutil.Process(process.pid)
            for each in [here, *here.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        process.wait(20)


def start(loop: Loop, run_file: Path, folder: Path, batches: int, ranks: int):
    command = loop.command(run_file, folder, batches, ranks)
    if EXHAUSTIVE:
        return launched([*loop.launcher(loop.python, ranks), *command], folder)
    return forks(command, folder, ranks)


def lines_of(folder: Path) -> dict[tuple[int, int], str]:
    """Of each batch and rank, what it read."""
    path = folder / "record"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    found = {(line["batch"], line["rank"]): line["tokens"] for line in lines}
    assert len(found) == len(lines), "a batch was read twice by one process"
    return found


def wait(processes: list, folder: Path, done, seconds: float = 300) -> None:
    """Until something is ``done``, which has to happen before they end."""
    deadline = time.monotonic() + seconds
    while not done():
        printed = "".join(path.read_text()[-3000:] for path in sorted(folder.glob("output-*")))
        assert time.monotonic() < deadline, printed
        codes = exit_codes(processes)
        assert not any(codes) and (None in codes or done()), printed
        time.sleep(0.05)


def exit_codes(processes: list) -> list[int | None]:
    return [each.poll() if isinstance(each, subprocess.Popen) else each.exitcode for each in processes]


def kill_and_resume(loop: Loop, run_file: Path, folder: Path, ranks: int) -> None:
    with start(loop, run_file, folder, 10_000, ranks) as processes:
        wait(processes, folder, lambda: len(lines_of(folder)) >= BEFORE * ranks)
    first = lines_of(folder)  # all were killed with SIGKILL
    (folder / "record").unlink()
    last = max(batch for batch, _ in first)
    with start(loop, run_file, folder, last + AFTER, ranks) as processes:
        wait(processes, folder, lambda: exit_codes(processes) == [0] * len(processes))
    second = lines_of(folder)
    began = min(batch for batch, _ in second)
    assert 0 < began <= last + 1 and began % EVERY == 0, "it did not go on from a checkpoint"
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=GLOBAL)
    assert last + AFTER > 2 * len(dataset) // GLOBAL, "no epoch ended on the way"
    digest = {
        (batch, rank): replayed(dataset, batch * ranks + rank, GLOBAL // ranks)
        for batch in range(last + AFTER)
        for rank in range(ranks)
    }
    assert first == {key: digest[key] for key in first}
    assert second == {key: digest[key] for key in digest if key[0] >= began}


@pytest.mark.timeout(700)
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.name)
def test_killed_it_goes_on_as_if_nothing_had_been(loop, ranks, run_file, tmp_path, imported):
    if loop.environment and not (EXHAUSTIVE and loop.environment.exists()):
        pytest.skip(f"`make loops` puts {loop.name} into {loop.environment.name}, and tries it")
    kill_and_resume(loop, run_file, tmp_path, ranks)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("loop", LOOPS[:4] if EXHAUSTIVE else LOOPS[2:4], ids=lambda loop: loop.name)
def test_stopped_at_the_end_of_an_epoch_it_begins_the_next(loop, run_file, tmp_path, imported):
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=GLOBAL)
    epoch = len(dataset) // GLOBAL
    for batches in (epoch, epoch + 2):
        command = [*loop.command(run_file, tmp_path, batches, 1), f"--checkpoint-every={epoch}"]
        with forks(command, tmp_path, 1) as processes:
            wait(processes, tmp_path, lambda running=processes: exit_codes(running) == [0])
    expected = {(batch, 0): replayed(dataset, batch, GLOBAL) for batch in range(epoch + 2)}
    assert lines_of(tmp_path) == expected
