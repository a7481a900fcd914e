"""The run file: one YAML that trainer and server both read."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlparse

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from streamdocs._base.untrusted import faults, load_yaml
from streamdocs.errors import ConfigError
from streamdocs.recipes import RECIPES, Recipe
from streamdocs.recipes.keys import Generator
from streamdocs.recipes.prompts import load_prompt
from streamdocs.schedule.mixture import WhenBehind, exact_fraction

#: Of an environment variable. What is none may be the secret itself, and is not shown.
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)]

#: Arguments of the dataset that decide what a server writes, and in which order.
_SCOPE = ("recipe", "generator", "shuffle", "shuffle_seed", "shuffle_algo", "shuffle_block_size", "num_canonical_nodes")
#: Those of the mixture that are None where they are not given.
_NONE = ("shuffle_block_size", "num_canonical_nodes", "epoch_size")

#: A path: what no file system takes is refused here.
_Path = Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=4096)]


def _number(value: Any) -> Any:
    """What "1.5k" or "64gb" says, as streaming reads it: one of its two readings knows any such word."""
    from streaming.base.util import bytes_to_int, number_abbrev_to_int  # noqa: PLC0415  (takes seconds)

    if not isinstance(value, str):
        return value
    return bytes_to_int(value) if value.lower().rstrip().endswith("b") else number_abbrev_to_int(value)


_Number = Annotated[Annotated[int, Field(ge=1, lt=1 << 60)] | None, BeforeValidator(_number)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class GeneratorSection(_Section):
    """Who writes. What is not part of a generation's identity (engine, endpoint, rates) may change at any time.

    ``engine``: ``template`` (built in, no model, for trying out), ``openai`` (any compatible endpoint) or ``sglang``
    (an SGLang server at ``endpoint``, or started for ``model_path``, a folder or a hub's name).
    ``model``: its name; where it is left out, the server asks the endpoint, and the trainer looks into the store.
    ``server_arguments``, ``server_log``: more flags for an SGLang that is started, and where its output goes.
    ``endpoint``: a URL, or a list of URLs of servers with the same model.
    ``context``: tokens that prompt and generation may have together, where the server does not say or should get less.
    ``timeout``: seconds for one request.
    ``sglang_python``: Python of the environment that has SGLang; default a ``.venv-sglang`` here or beside this one.
    """

    engine: Literal["template", "openai", "sglang"] = "template"
    model: str | None = None
    model_path: _Path | None = None
    server_arguments: tuple[str, ...] = ()
    server_log: _Path = "sglang.log"
    sglang_python: _Path | None = None
    revision: str = ""
    temperature: float = 1.0
    top_p: float = 1.0
    system: str | None = None
    endpoint: tuple[str, ...] = ()
    context: int | None = Field(default=None, ge=1)
    timeout: float = Field(default=600.0, gt=0)
    api_key_env: VariableName | None = None
    tokens_per_second: float | None = Field(default=None, gt=0)

    @field_validator("endpoint", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else () if value is None else value

    def relative_to(self, folder: Path) -> "GeneratorSection":
        """This, with its relative paths taken from ``folder``; a ``model_path`` that is not there is a hub's name."""
        update = {"server_log": str(folder / self.server_log)}
        if self.model_path and os.path.exists(folder / self.model_path):
            update["model_path"] = str(folder / self.model_path)
        if self.sglang_python:
            update["sglang_python"] = str(folder / self.sglang_python)
        return self.model_copy(update=update)

    def generator(self, served: tuple[str, str] | None = None) -> Generator | None:
        """The identity, with the model and revision ``served`` where the file does not say; None if unknown."""
        model, revision = served or (self.model, self.revision)
        if model is None:
            return None
        sampling: dict[str, Any] = {name: getattr(self, name) for name in ("temperature", "top_p", "system")}
        return Generator(model=model, revision=self.revision or revision, **sampling)


class MixSection(_Section):
    """What the trainer reads: the arguments of StreamingMegadocDataset that have these names."""

    synthetic_fraction: float | str = 0.75
    max_seq_len: int = 2048
    when_behind: WhenBehind = "reuse"
    window: int = 2048
    shuffle: bool = True
    shuffle_seed: int = 9176
    shuffle_algo: str = "py1e"
    shuffle_block_size: int = Field(default=1 << 18, ge=1)
    num_canonical_nodes: int = 1
    evaluation: bool = False
    epoch_size: _Number = None
    block_cross_document_attention: bool = False
    wait_timeout: float = Field(default=3600, ge=0)
    name: str = Field(default="", max_length=256)


class ServerSection(_Section):
    """How the server works.

    Args:
        max_in_flight: Most documents asked for at once; how many it is follows what the servers can take.
        failure_budget: Failures in a row, without an answer in between, after which the server stops.
        monitor_host, monitor_port: Where ``/metrics``, ``/health`` and ``/status`` are; 0 takes a free port.
        monitor_token_env: Environment variable that holds what has to be sent as ``Authorization: Bearer …``; needed
            where ``monitor_host`` is not the loopback.
        max_lead: Documents that generation may be ahead of the trainer; default the whole corpus once.
        gates: Limits of the gates, by name.
        attempts: How often a round is asked for before its rejected generations stay rejected.
        keep_checkpoints: As the dataset's.
        drain: Seconds that documents in flight have to be finished after SIGINT or SIGTERM; a second one ends them.
    """

    max_in_flight: int = Field(default=256, ge=1)
    failure_budget: int = Field(default=30, ge=1)
    monitor_host: str = Field(default="127.0.0.1", pattern=r"^[0-9A-Za-z.:-]+$", max_length=253)
    monitor_port: int = Field(default=0, ge=0, le=65535)
    monitor_token_env: VariableName | None = None
    max_lead: int | None = Field(default=None, ge=1)
    gates: dict[str, Any] = {}
    attempts: int = Field(default=2, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    drain: float = Field(default=2.0, ge=0)


def _make_recipe(value: Any, info: ValidationInfo) -> Any:
    """A recipe of its fields and its name; a prompt is a file in the folder of the run file."""
    if not isinstance(value, dict):
        return value
    fields = dict(value)
    name, prompt = fields.pop("name", None), fields.get("prompt", "")
    if not isinstance(name, str) or name not in RECIPES:
        raise ValueError(f"{name!r}; it is one of {', '.join(RECIPES)}")
    if not isinstance(prompt, str):
        raise ValueError("prompt is the name of a file")
    if prompt:
        fields["prompt"] = load_prompt((info.context or Path()) / prompt)
    try:
        return TypeAdapter(RECIPES[name]).validate_python(fields)
    except ValidationError as error:
        raise ValueError(f"recipe {name}: {faults(error)}") from error


class RunFile(_Section):
    """A run: corpus, store, recipe, generator and mix. Relative paths are relative to the file's folder.

    ``split``, ``remote``, ``download_retry``, ``download_timeout``, ``cache_limit``: as the dataset's arguments.
    """

    corpus: _Path
    remote: _Path | None = None
    split: str = "train"
    download_retry: int = Field(default=2, ge=0)
    download_timeout: float = Field(default=60, gt=0)
    cache_limit: _Number = None
    store: _Path | None = None
    recipe: Annotated[InstanceOf[Recipe] | None, BeforeValidator(_make_recipe)] = None
    generator: GeneratorSection = GeneratorSection()
    mix: MixSection = MixSection()
    server: ServerSection = ServerSection()

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "RunFile":
        if not self.synthetic:
            return self
        if self.store is None or self.recipe is None:
            raise ValueError(f"synthetic_fraction={self.mix.synthetic_fraction} needs a store and a recipe")
        if self.split != "train":
            raise ValueError(f"split {self.split!r}: generations are of 'train' alone; set synthetic_fraction to 0")
        return self

    @property
    def synthetic(self) -> bool:
        """Whether anything synthetic is read at all."""
        return exact_fraction(self.mix.synthetic_fraction) > 0

    @property
    def served(self) -> tuple[str, Recipe]:
        """The store that a server writes into, and its recipe.

        Raises:
            ConfigError: It has not all that a server needs.
        """
        if self.store is None or self.recipe is None or self.split != "train":
            raise ConfigError("a server needs a run file with a store and a recipe, and writes for split 'train' alone")
        return self.store, self.recipe

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "RunFile":
        """Read a run file.

        Raises:
            ConfigError: It cannot be read, or a field is unknown, missing or wrong; the message names each.
        """
        folder = Path(path).parent
        try:
            fields = load_yaml(Path(path).read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"run file {path} cannot be read: {error}") from error
        run = cls._checked(fields, f"run file {path}", folder)
        places = {"corpus": str(folder / run.corpus), "generator": run.generator.relative_to(folder)}
        if run.store and "://" not in run.store:
            places["store"] = str(folder / run.store)
        if run.remote and not urlparse(run.remote).scheme:  # as streaming tells a location from a path
            places["remote"] = str(folder / run.remote)
        return run.model_copy(update=places)

    @classmethod
    def of_arguments(cls, arguments: Mapping[str, Any]) -> "RunFile":
        """The run that keyword arguments of the dataset say; those that no file has are left out.

        Raises:
            ConfigError: One of them is wrong; the message names each.
        """
        plain = {name: str(v) if isinstance(v, os.PathLike | Fraction) else v for name, v in arguments.items()}
        store, generator = plain["store"], plain["generator"]
        mix = {name: plain[name] for name in MixSection.model_fields}
        fields = {
            **{name: plain[name] for name in cls.model_fields if name in plain},
            "corpus": plain["local"],
            "store": getattr(store, "location", store),
            "generator": asdict(generator) if isinstance(generator, Generator) else generator or {},
            "mix": {name: each for name, each in mix.items() if each is not None or name not in _NONE},
            "server": {"keep_checkpoints": plain["keep_checkpoints"]},
        }
        return cls._checked(fields, "arguments")

    @classmethod
    def _checked(cls, fields: Any, what: str, folder: Path | None = None) -> "RunFile":
        try:
            return cls.model_validate(fields, context=folder)
        except ValidationError as error:
            raise ConfigError(f"{what}: {faults(error)}") from error

    def dataset_arguments(self, **given: Any) -> dict[str, Any]:
        """What StreamingMegadocDataset takes from here, and what is ``given`` over it; None is as the file says.

        Raises:
            ConfigError: With what is given, no server that reads this file writes what such a dataset reads.
        """
        given = {name: value for name, value in given.items() if value is not None}
        sections = {"corpus", "mix", "server"}
        ours = {name: value for name, value in [*self, *self.mix] if name not in sections}
        ours |= {"local": self.corpus, "generator": self.generator.generator()}
        ours |= {"keep_checkpoints": self.server.keep_checkpoints}
        if given.get("split", "train") != "train":
            given = {"synthetic_fraction": 0, **given}  # nothing is written for what is held out
        if exact_fraction({**ours, **given}["synthetic_fraction"]):
            self._check_scope(ours, given)
        return {**ours, **given}

    @staticmethod
    def _check_scope(ours: dict[str, Any], given: dict[str, Any]) -> None:
        found = []
        for name in (name for name in _SCOPE if given.get(name, ours[name]) != ours[name] is not None):
            theirs, mine = ours[name], given[name]
            if isinstance(theirs, Recipe) and isinstance(mine, Recipe) and theirs.scope("") == mine.scope(""):
                continue  # only what is made of the same generations differs
            found.append(f"{name}: {theirs} in the run file, {mine} given")
        if given.get("when_behind") == "wait" != ours["when_behind"]:  # which changes how far ahead a server has to be
            found.append(f"when_behind: {ours['when_behind']} in the run file, wait given")
        if found:
            raise ConfigError(f"a server that reads the run file works for another run. Change it: {'; '.join(found)}")
