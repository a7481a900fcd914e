"""Training one student, as often as it takes."""

import json
import logging
import math
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from runs import Case, Study
from streaming import StreamingDataLoader
from torch import Tensor

from streamdocs import StreamingMegadocDataset
from streamdocs._base.unfinished import whole_file, write_whole
from streamdocs.generations.progress import read_tallies, total
from streamdocs.ledger.file import export_ledger
from streamdocs.measure import evaluate, held_out

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from model import LanguageModel, next_token_loss

log = logging.getLogger("study")

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for the same numbers again

_MEASURED_TIMES = 4  # on the way
_PACKAGES = ("streamdocs", "torch", "mosaicml-streaming", "numpy", "tokenizers")


def train(study: Study, case: Case) -> dict[str, Any]:
    """Train one student to the end, from where it was stopped, and measure it; what its ``result.json`` says.

    The numbers do not depend on where it was stopped: there is one thread, and model, optimiser, loader and curve are
    in one checkpoint.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    training = Training(study, case)
    training.run()
    return training.finish()


class Training:
    """One run, as far as it has come.

    Args:
        study: Its study.
        case: Which run.
    """

    def __init__(self, study: Study, case: Case) -> None:
        self._study, self._case = study, case
        self._student = student = study.setting.student
        self._device = device_of(multiprocessing.current_process())
        self._dataset = StreamingMegadocDataset.from_run_file(
            study.run_file(case), batch_size=student.batch_size, epoch_size=study.sequences(case)
        )
        self._folder = study.folder(case)
        self._checkpoint = self._folder / "checkpoint.pt"
        self._steps = math.ceil(study.sequences(case) / student.batch_size)
        self._sets = held_out(
            study.whole,
            student.max_seq_len,
            split_at=study.setting.split_at,
            domains={"out_of_domain": study.text / "out-of-domain"},
        )
        torch.manual_seed(case.seed)
        vocabulary = self._dataset.corpus.vocab_size
        self._model = LanguageModel(vocabulary, student.width, student.layers, student.heads).to(self._device)
        self._optimizer = torch.optim.AdamW(
            self._model.parameters(), lr=student.learning_rate, betas=(0.9, 0.95), weight_decay=student.weight_decay
        )
        self._loader = StreamingDataLoader(self._dataset, batch_size=student.batch_size)
        self._step, self._seconds = 0, 0.0
        self._curve: list[dict[str, float]] = []

    def run(self) -> None:
        """Go on to the end."""
        write_whole(self._folder / "environment.json", json.dumps(environment(), indent=1).encode())
        if self._checkpoint.exists():
            self._load()
        began = time.monotonic() - self._seconds
        for batch in self._loader:
            loss = self._train_on(batch)
            self._step += 1
            if self._step % max(1, self._steps // _MEASURED_TIMES) == 0 and self._step < self._steps:
                losses = evaluate(self._model, {name: self._sets[name] for name in ("short", "long")})
                self._curve.append({"step": self._step, "train": loss, "loss": losses["iid"].mean})
            self._seconds = time.monotonic() - began
            if self._step % self._student.checkpoint_every == 0:
                self._save()

    def finish(self) -> dict[str, Any]:
        """Measure the student and write down what came of it."""
        losses = evaluate(self._model, self._sets)
        result = {
            **vars(self._case),
            "tokens": self._study.web_tokens(self._case),
            "read": self._step * self._student.batch_size * self._student.max_seq_len,
            "steps": self._step,
            "parameters": sum(each.numel() for each in self._model.parameters()),
            "loss": losses["iid"].mean,
            **{f"loss_{name}": losses[name].mean for name in ("short", "long", "out_of_domain")},
            "error": losses["iid"].error,
            "seconds": round(self._seconds, 1),
            **kept(self._dataset),
        }
        curve = "".join(json.dumps(each) + "\n" for each in self._curve)
        write_whole(self._folder / "curve.jsonl", curve.encode())
        for ledger in self._dataset.ledgers.values():
            export_ledger(ledger).save(self._folder / "ledger.streamdocs")
        write_whole(self._folder / "result.json", json.dumps(result, indent=1).encode())
        self._checkpoint.unlink(missing_ok=True)
        return result

    def _train_on(self, batch: dict[str, Tensor]) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self._student.learning_rate * schedule(self._step / self._steps, self._student.warmup)
        self._optimizer.zero_grad()
        loss = backward(self._model, batch, self._student.at_once or self._student.batch_size, self._device)
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        return loss

    def _save(self) -> None:
        state = {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "loader": self._loader.state_dict(),
            "step": self._step,
            "curve": self._curve,
            "seconds": self._seconds,
        }
        with whole_file(self._checkpoint) as file:
            torch.save(state, file)

    def _load(self) -> None:
        state = torch.load(self._checkpoint, map_location=self._device, weights_only=True)
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._loader.load_state_dict(state["loader"])
        self._step, self._curve, self._seconds = state["step"], state["curve"], state["seconds"]


def backward(model: LanguageModel, batch: dict[str, Tensor], at_once: int, device: torch.device) -> float:
    """Add up the gradients of a batch, so many sequences at once; its mean loss."""
    found = 0.0
    columns = [batch[name].to(device).split(at_once) for name in ("input_ids", "labels")]
    for input_ids, labels in zip(*columns, strict=True):
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = next_token_loss(model(input_ids).float(), labels) * len(labels) / len(batch["labels"])
        loss.backward()
        found += loss.item()
    return found


def device_of(process: multiprocessing.process.BaseProcess) -> torch.device:
    """Of the processes that train at once, each has a GPU, where there are some."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", (process._identity[-1] - 1) % torch.cuda.device_count() if process._identity else 0)


def kept(dataset: StreamingMegadocDataset) -> dict[str, Any]:
    """Which share of its generations passed the gates, and by cause how many did not."""
    if dataset.store is None:
        return {}
    [scope] = dataset.run.scopes
    tally = total(read_tallies(dataset.store, scope).values())
    made = tally.generations + tally.rejected.total()
    return {"kept_share": round(tally.generations / made, 4) if made else None, "rejected": dict(tally.rejected)}


def schedule(part: float, warmup: float) -> float:
    """The learning rate, of its highest, where this part of the training is over: a line up, then a cosine to 0."""
    if part < warmup:
        return part / warmup
    return 0.5 * (1 + math.cos(math.pi * (part - warmup) / (1 - warmup)))


def environment() -> dict[str, Any]:
    """What a run was made with."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    return {
        "commit": subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "processor": processor(),
    }


def processor() -> str:
    """What it calls itself."""
    names = (line.partition(":")[2] for line in Path("/proc/cpuinfo").read_text().split("\n") if "model name" in line)
    return next(names, platform.processor()).strip()
