"""``streamdocs evaluate``: a model's loss on what a run's corpus holds out, and on text of other domains."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from streamdocs._base.console import plain_console
from streamdocs._base.paths import expand_path
from streamdocs.config import RunFile
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import ConfigError
from streamdocs.measure.heldout import held_out
from streamdocs.measure.loss import Loss, evaluate
from streamdocs.measure.models import load_model


def evaluate_model(
    target: str,
    run_file: Path,
    builder: str | None,
    domains: Sequence[str],
    batch_size: int,
    *,
    split_at: int | None,
    max_seq_len: int | None,
    device: str | None,
    record: Path | None,
    name: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Print the losses of a model, and add them to a file of runs.

    Args:
        target, builder: Say which model (``load_model``).
        run_file: Says which corpus, and how long sequences are.
        domains: Of other text, ``NAME=FOLDER`` each.
        batch_size: Documents at once.
        split_at, max_seq_len: As for ``held_out``.
        device: Of the model.
        record: File that gets a line, if any.
        name, seed: In that line, the recipe and the seed.
        as_json: Print one JSON object.

    Raises:
        StreamdocsError: The run file, a corpus or the model cannot be read.
        ConfigError: There is nothing held out, or nothing says which recipe the line is of.
    """
    file = RunFile.load(run_file)
    line = _line(file, run_file, name, seed) if record else {}
    corpus = Corpus(
        file.corpus, file.remote, download_timeout=file.download_timeout, download_retry=file.download_retry
    )
    sets = held_out(corpus, max_seq_len or file.mix.max_seq_len, split_at=split_at, domains=dict(map(_domain, domains)))
    if not sets or (record and not {"short", "long"} & {*sets}):
        raise ConfigError(
            f"{file.corpus} holds no documents out: prepare it with --holdout, or name a corpus by --domain"
        )
    where = _device(device)
    found = evaluate(load_model(target, builder, corpus.vocab_size, where), sets, batch_size, where)
    if record:
        web_tokens = int(corpus.tokens_per_document.sum())
        _add(record, {"tokens": web_tokens, "loss": found["iid"].mean, **line})
    left_out = {each: sets[each].left_out for each in sets}
    left_out["iid"] = left_out.get("short", 0) + left_out.get("long", 0)
    if as_json:
        print(json.dumps({each: told(loss, left_out[each]) for each, loss in found.items()}))
    else:
        plain_console().print(losses_table(found, left_out))


def told(loss: Loss, left_out: int) -> dict[str, Any]:
    """A loss, as JSON has it."""
    error = None if math.isnan(loss.error) else loss.error
    return {
        "loss": loss.mean,
        "standard_error": error,
        "tokens": int(loss.tokens),
        "documents": int(loss.documents),
        "left_out": left_out,
    }


def losses_table(found: Mapping[str, Loss], left_out: Mapping[str, int]) -> Table:
    """Losses by set."""
    table = Table("text", "nats a token", "standard error", "tokens", "documents", "left out", title="held-out loss")
    for name, loss in found.items():
        error = "" if math.isnan(loss.error) else f"{loss.error:.4f}"
        counts = (f"{int(each):,}" for each in (loss.tokens, loss.documents, left_out[name]))
        table.add_row(name, f"{loss.mean:.4f}", error, *counts)
    return table


def _domain(said: str) -> tuple[str, str]:
    name, sign, folder = said.partition("=")
    if not (name and sign and folder):
        raise ConfigError(f"--domain {said}: it is NAME=FOLDER, of a corpus that `streamdocs prepare` made")
    return name, expand_path(folder)


def _device(name: str | None) -> torch.device:
    try:
        return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ConfigError(f"--device {name}: PyTorch has no such device") from error


def _line(file: RunFile, path: Path, name: str | None, seed: int) -> dict[str, Any]:
    """What a run file says of a run in a file of them."""
    recipes = {each: of.recipe for each, of in file.streams_by_name.items() if of.recipe and of.fraction}
    if len(recipes) > 1 and name is None:
        raise ConfigError(
            f"{path} has several recipes ({', '.join(recipes)}): say by --name what runs like it are called"
        )
    generations = {recipe.generations for recipe in recipes.values()}
    only = next(iter(recipes.values()), None)
    return {
        "recipe": name or (only.name if only else "web"),
        "G": generations.pop() if len(generations) == 1 else max(generations, default=0),
        "seed": seed,
    }


def _add(path: Path, line: dict[str, Any]) -> None:
    try:
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise ConfigError(f"--record {path} cannot be written: {error.strerror}") from error
