"""Models by what a command line names: a folder, a checkpoint, or a function."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from streamdocs.errors import ConfigError
from streamdocs.measure.loss import Model

_WHAT = (
    "name a folder that transformers loads, a checkpoint with --model FILE.py:NAME for what builds its model, or a "
    "function FILE.py:NAME or package.module:NAME from input_ids to logits"
)

#: What a Composer checkpoint holds beside tensors and plain values: times, versions and states of generators.
_HARMLESS: list[Any] = [
    *(timedelta, torch.torch_version.TorchVersion, np.ndarray, np.dtype),
    np.empty(0).__reduce__()[0],
    *(type(np.dtype(name)) for name in ("uint8", "uint32", "uint64", "int32", "int64", "float32", "float64")),
]


def load_model(target: str, builder: str | None, vocabulary: int, device: torch.device) -> Model:
    """The model that ``target`` names.

    Args:
        target: A folder of transformers, a checkpoint, or FILE.py:NAME or package.module:NAME of a function from
            ``input_ids`` to logits.
        builder: The same of what makes the model of a checkpoint, given the size of the vocabulary.
        vocabulary: That size.
        device: Where it goes.

    Raises:
        ConfigError: It is none of these, or cannot be loaded.
    """
    path = Path(target)
    if path.is_dir():
        return _of_folder(path).to(device)
    if path.is_file():
        return _of_checkpoint(path, builder, vocabulary, device)
    if ":" not in target:
        raise ConfigError(f"{target} is not there: {_WHAT}")
    model = named(target)
    return model.to(device) if isinstance(model, nn.Module) else model


def _of_folder(path: Path) -> nn.Module:
    if not (path / "config.json").is_file():
        raise ConfigError(f"{path} has no config.json: {_WHAT}")
    try:
        from transformers import AutoModelForCausalLM  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f"{path}: a folder needs transformers: pip install transformers") from error
    try:
        return AutoModelForCausalLM.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigError(f"{path}: transformers cannot load it: {error}") from error


def _of_checkpoint(path: Path, builder: str | None, vocabulary: int, device: torch.device) -> nn.Module:
    if builder is None:
        raise ConfigError(f"{path} holds weights: say by --model FILE.py:NAME what builds the model that they are of")
    model = named(builder)(vocabulary)
    if not isinstance(model, nn.Module):
        raise ConfigError(f"--model {builder}: it makes no torch.nn.Module of the size of a vocabulary, {vocabulary:,}")
    try:
        model.load_state_dict(weights_of(_loaded(path), model))
    except RuntimeError as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"{path} does not fit what --model {builder} builds: {said[:300]}") from error
    return model.to(device)


def _loaded(path: Path) -> Any:
    """What a checkpoint holds; of the kinds that may run code when they are read nothing is taken."""
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, for a file that may hold anything
        said = " ".join(str(error).split())
        raise ConfigError(
            f"{path} is no checkpoint of weights alone ({said[:200]}): save model.state_dict() and name that"
        ) from error


def weights_of(state: Any, model: nn.Module) -> Mapping[str, torch.Tensor]:
    """The weights of a model in what was saved: by themselves, beside others as ``model``, or as Composer has them.

    A wrapper's prefix (``module.``, ``model.``) before all names is taken off.
    """
    for name in ("state", "model"):
        state = state[name] if isinstance(state, Mapping) and isinstance(state.get(name), Mapping) else state
    if not isinstance(state, Mapping):
        raise ConfigError(f"a checkpoint holds {type(state).__name__}, where weights by their names are due")
    wanted = [*model.state_dict()]
    for prefix in ("", "module.", "model.", "model.module."):
        if all(f"{prefix}{name}" in state for name in wanted):
            return {name: state[f"{prefix}{name}"] for name in wanted}
    return state


def named(what: str) -> Any:
    """What FILE.py:NAME or package.module:NAME names.

    Raises:
        ConfigError: There is no such thing, or it cannot be called.
    """
    place, _, name = what.rpartition(":")
    try:
        module = _module(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        found = getattr(module, name)
    except (ImportError, OSError, AttributeError, ValueError, SyntaxError) as error:
        raise ConfigError(f"{what} cannot be loaded: {error}: it is FILE.py:NAME or package.module:NAME") from error
    if not callable(found):
        raise ConfigError(f"{what} is a {type(found).__name__}, where something to be called is due")
    return found


def _module(path: Path) -> Any:
    """A file as a module; what lies beside it can be imported, as when Python runs it."""
    name = f"_streamdocs_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module")
    if (folder := str(path.absolute().parent)) not in sys.path:
        sys.path.insert(0, folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
