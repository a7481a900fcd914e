"""The run file: one YAML that trainer and server both read."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlparse

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from streamdocs._base.untrusted import faults, load_yaml
from streamdocs.errors import ConfigError
from streamdocs.recipes import RECIPES, Recipe
from streamdocs.recipes.keys import Generator
from streamdocs.recipes.prompts import load_prompt

#: Of an environment variable. What is none may be the secret itself, and is not shown.
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)]

_RECIPES: dict[str, TypeAdapter[Recipe]] = {name: TypeAdapter(kind) for name, kind in RECIPES.items()}

#: A path: what no file system takes is refused here.
_Path = Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=4096)]


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
        return Generator(
            model=model,
            revision=self.revision or revision,
            temperature=self.temperature,
            top_p=self.top_p,
            system=self.system,
        )


class MixSection(_Section):
    """What the trainer reads."""

    synthetic_fraction: float | str = 0.75
    max_seq_len: int = 2048
    when_behind: Literal["wait", "reuse", "web"] = "reuse"
    window: int = 2048
    shuffle_seed: int = 9176
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


class RunFile(_Section):
    """A run: corpus, store, recipe, generator and mix. Relative paths are relative to the file's folder."""

    corpus: _Path
    remote: _Path | None = None
    store: _Path
    recipe: dict[str, Any]
    generator: GeneratorSection = GeneratorSection()
    mix: MixSection = MixSection()
    server: ServerSection = ServerSection()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "RunFile":
        """Read a run file.

        Raises:
            ConfigError: It cannot be read, or a field is unknown, missing or wrong; the message names each.
        """
        try:
            run = cls.model_validate(load_yaml(Path(path).read_bytes()))
        except ValidationError as error:
            raise ConfigError(f"run file {path}: {faults(error)}") from error
        except (OSError, ValueError) as error:
            raise ConfigError(f"run file {path} cannot be read: {error}") from error
        folder = Path(path).parent
        recipe = dict(run.recipe)
        if "prompt" in recipe:
            if not isinstance(recipe["prompt"], str):
                raise ConfigError(f"run file {path}: recipe.prompt is the name of a file")
            recipe["prompt"] = load_prompt(folder / recipe["prompt"])
        store = run.store if "://" in run.store else str(folder / run.store)
        remote = run.remote
        if remote and not urlparse(remote).scheme:  # as streaming tells a location from a path
            remote = str(folder / remote)
        generator = run.generator.relative_to(folder)
        places = {"corpus": str(folder / run.corpus), "remote": remote, "store": store}
        run = run.model_copy(update={**places, "recipe": recipe, "generator": generator})
        run.make_recipe()
        return run

    def make_recipe(self) -> Recipe:
        """The recipe.

        Raises:
            ConfigError: Its name or one of its fields is not known.
        """
        fields = dict(self.recipe)
        name = fields.pop("name", None)
        if not isinstance(name, str) or name not in RECIPES:
            raise ConfigError(f"recipe.name: {name!r}; it is one of {', '.join(RECIPES)}")
        try:
            return _RECIPES[name].validate_python(fields)
        except ValidationError as error:
            raise ConfigError(f"recipe {name}: {faults(error)}") from error

    def dataset_arguments(self) -> dict[str, Any]:
        """What StreamingMegadocDataset takes from here."""
        return {
            "local": self.corpus,
            "remote": self.remote,
            "store": self.store,
            "recipe": self.make_recipe(),
            "generator": self.generator.generator(),
            "keep_checkpoints": self.server.keep_checkpoints,
            **self.mix.model_dump(),
        }
