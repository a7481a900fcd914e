"""Prepare, generate beside training, kill both half-way, go on, and check that nothing of it shows in the batches."""

import ast
import json
import logging
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from pydoc_data import topics
from typing import Any

import anyio  # noqa: F401  (what it starts needs these: say so early)
import composer  # noqa: F401
import yaml

from streamdocs.config import RunFile
from streamdocs.corpus import prepare_corpus
from streamdocs.demo.report import report
from streamdocs.errors import StreamdocsError
from streamdocs.generations.heartbeat import find_writers
from streamdocs.generations.progress import read_tallies
from streamdocs.run import Run

log = logging.getLogger(__name__)

BATCHES = 200
BATCH_SIZE = 4
DEADLINE = 900.0
#: Of the texts: fewest characters of one, and most of them.
_LEAST_CHARACTERS = 400
_MOST_DOCUMENTS = 700
#: A file that tells a demo's folder, of which nothing is kept, from anybody's run.
_MARK = ".streamdocs-demo"

#: What a run file says beside its recipes.
RUN: dict[str, Any] = {
    "corpus": "corpus",
    "store": "store",
    "generator": {"engine": "template"},
    "mix": {"max_seq_len": 256, "window": 64, "shuffle_seed": 17},
}
MEGADOCS: dict[str, Any] = {"name": "stitch", "generations": 4, "per_round": 1}
#: Of what is asked about walks the first round is from the graph of a tenth of the documents, later ones of all.
_PROBLEMS = {"name": "synthllm", "level": 3, "layout": "megadoc", "generations": 4, "per_round": 1}
STREAMS: dict[str, Any] = {
    "web": {"share": "1/4"},
    "megadocs": {"share": "1/2", "recipe": MEGADOCS},
    "problems": {"share": "1/4", "recipe": {**_PROBLEMS, "editions": ["1/10", "1"]}},
}
#: Well below what training reads on two cores.
TOKENS_PER_SECOND = 8_000


class DemoError(StreamdocsError):
    """A part of the demo did not do what it should; the message says which log to look at."""


def run_demo(out: Path, batches: int = BATCHES) -> dict[str, Any]:
    """Run the demo in ``out``, which must be new or an earlier demo's; what ``summary.json`` says.

    Args:
        out: Folder for what it makes.
        batches: How many are trained.

    Raises:
        DemoError: Something did not work; nothing is left running.
    """
    started = time.monotonic()
    demo = prepare(out, {**RUN, "streams": STREAMS}, started + DEADLINE, batches)
    serve = [f"--tokens-per-second={TOKENS_PER_SECOND}"]
    log.info(
        "the template engine is a stand-in without a model; `streamdocs-server run.yaml --endpoint URL` uses a real one"
    )
    log.info(
        "training %d batches while megadocs and problems are being written; both processes are killed half-way", batches
    )
    with demo.server(*serve) as server, demo.trainer() as trainer:
        demo.wait_for_batch(batches // 2 + 13, trainer)
        kill(trainer, server)
    log.info("killed server and trainer (SIGKILL); starting both again, the trainer once every stream is written")
    with demo.server(*serve) as server:
        demo.wait_for_generations(server)
        with demo.trainer() as trainer:
            demo.wait_for_end(trainer)
    return report(demo.out, time.monotonic() - started)


def prepare(
    out: Path,
    run: dict[str, Any],
    deadline: float,
    batches: int = BATCHES,
    find: Callable[[Path], list[str]] | None = None,
) -> "Demo":
    """Make room, and in it a corpus and a run file; ``find`` gets the folder and finds other texts than Python's."""
    out = out.absolute()
    _make_room(out)
    texts = find(out) if find else reference_texts()
    (out / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    log.info("preparing %d documents%s", len(texts), "" if find else " that come with this Python")
    prepare_corpus([str(out / "texts.jsonl")], out / "corpus", train_tokenizer=2048, holdout=0.08, progress=False)
    (out / "run.yaml").write_text(yaml.safe_dump(run, sort_keys=False))
    return Demo(out, deadline, batches)


def kill(*processes: "subprocess.Popen[bytes]") -> None:
    """SIGKILL processes and all that they started."""
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True)
class Demo:
    """The processes of a demo.

    Args:
        out: The folder with everything.
        deadline: When it must be over, as monotonic seconds.
        batches: How many are trained.
    """

    out: Path
    deadline: float
    batches: int = BATCHES

    def server(self, *options: str) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        """The sidecar."""
        command = [sys.executable, "-m", "streamdocs_server", str(self.out / "run.yaml"), *options]
        return _process(command, self.out / "server.log")

    def trainer(self) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        """The example with Composer."""
        command = [sys.executable, example("train_composer.py"), str(self.out / "run.yaml")]
        command += [f"--batches={self.batches}", f"--batch-size={BATCH_SIZE}", f"--folder={self.out / 'checkpoints'}"]
        command += [f"--record={self.out / 'batches.jsonl'}", "--checkpoint-every=40"]
        return _process(command, self.out / "train.log")

    def wait_for_batch(self, batch: int, trainer: "subprocess.Popen[bytes]") -> None:
        """Wait until so many batches are recorded."""
        path = self.out / "batches.jsonl"
        while not path.exists() or path.read_bytes().count(b"\n") < batch:
            self.check(trainer)
            if trainer.poll() is not None:
                raise DemoError(f"training ended before batch {batch}: see {self.out / 'train.log'}")
            time.sleep(0.05)

    def wait_for_generations(self, server: "subprocess.Popen[bytes]") -> None:
        """Wait until each stream has its first generations: problems have none before there is a graph."""
        file = RunFile.load(self.out / "run.yaml")
        store = file.open_store()
        scopes = Run.of(file, lambda: find_writers(file, store)).scopes
        while not all(read_tallies(store, scope) for scope in scopes):
            self.check(server)
            time.sleep(0.1)

    def wait_for_end(self, trainer: "subprocess.Popen[bytes]") -> None:
        """Wait until training is over."""
        while trainer.poll() is None:
            self.check(trainer)
            time.sleep(0.1)
        self.check(trainer)

    def check(self, process: "subprocess.Popen[bytes]") -> None:
        """Raise if a process failed or time is up."""
        if process.poll() not in (None, 0):
            raise DemoError(f"a process failed with exit code {process.returncode}: see the logs in {self.out}")
        if time.monotonic() > self.deadline:
            raise DemoError(f"the demo takes too long: see the logs in {self.out}")


def example(name: str) -> str:
    """Path of an example, which is in a checkout alone."""
    path = Path(__file__).parents[2] / "examples" / name
    if not path.is_file():
        raise DemoError(f"the demo runs {path}, which is not there: clone the repository and run `make demo` in it")
    return str(path)


def _make_room(out: Path) -> None:
    if out.exists() and any(out.iterdir()) and not (out / _MARK).is_file():
        raise DemoError(f"{out} is not empty and no demo's folder; pick another with --out")
    for path in sorted(out.rglob("*"), reverse=True) if out.exists() else []:
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARK).touch()


@contextmanager
def _process(command: list[str], logfile: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process in a group of its own, gone with everything it started when the context ends."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": ""}
    with logfile.open("ab") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def reference_texts() -> list[str]:
    """Some hundred documents, the same ones for the same Python."""
    texts = [*topics.topics.values(), *_documentation_strings()]
    long_enough = (text.strip() for text in texts if len(text.strip()) >= _LEAST_CHARACTERS)
    return list(dict.fromkeys(long_enough))[:_MOST_DOCUMENTS]


def _documentation_strings() -> Iterator[str]:
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted([*library.glob("*.py"), *library.glob("[a-z]*/[a-z]*.py")]):
        if "site-packages" in path.parts or "test" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):  # broken on purpose, for the library's own tests
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield ast.get_docstring(node) or ""
