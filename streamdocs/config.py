"""The run file: one YAML that trainer and server both read."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlparse

from pydantic import BeforeValidator, Field, InstanceOf, TypeAdapter, ValidationError, ValidationInfo, model_validator

from streamdocs._base.paths import expand_path
from streamdocs._base.untrusted import faults, load_yaml
from streamdocs.errors import ConfigError
from streamdocs.recipes import RECIPES, Recipe
from streamdocs.recipes.keys import Generator
from streamdocs.recipes.prompts import PACKAGED, load_prompt
from streamdocs.schedule.mixture import exact_fraction
from streamdocs.sections import FilePath, GeneratorSection, MixSection, Number, Section, ServerSection

#: Arguments of the dataset that decide what a server writes, and in which order.
_SCOPE = ("recipe", "generator", "shuffle", "shuffle_seed", "shuffle_algo", "shuffle_block_size", "num_canonical_nodes")
#: Those of the mixture that are None where they are not given.
_NONE = ("shuffle_block_size", "num_canonical_nodes", "epoch_size")


def _make_recipe(value: Any, info: ValidationInfo) -> Any:
    """A recipe of its fields and its name; a prompt is a file in the folder of the run file."""
    if value is None or isinstance(value, Recipe):
        return value
    if not isinstance(value, dict):
        raise ValueError("it has a name and fields of its own, like {name: stitch, generations: 4}")
    fields = dict(value)
    name, prompt = fields.pop("name", None), fields.get("prompt", "")
    if not isinstance(name, str) or name not in RECIPES:
        raise ValueError(f"{name!r}; it is one of {', '.join(RECIPES)}")
    if not isinstance(prompt, str):
        raise ValueError("prompt is the name of a file")
    if prompt:
        prompt = expand_path(prompt)
        packaged = prompt in PACKAGED and not ((info.context or Path()) / prompt).exists()
        fields["prompt"] = load_prompt(prompt if packaged else (info.context or Path()) / prompt)
    try:
        return TypeAdapter(RECIPES[name]).validate_python(fields)
    except ValidationError as error:
        raise ValueError(f"recipe {name}: {faults(error)}") from error


class RunFile(Section):
    """A run: corpus, store, recipe, generator and mix. Relative paths are relative to the file's folder.

    Args:
        preset: ``small`` for small models, up to some billion parameters: a short prompt, temperature 0.5 and top_p 0.9
            where the file does not say others.
        corpus: Folder of the corpus (``streamdocs prepare``).
        store: Folder of the store; not needed where ``synthetic_fraction`` is 0.
        download_retry: Further tries for one file of ``remote``.
        download_timeout: Seconds for one file of ``remote``.
        cache_limit: Most bytes of shards that are kept of ``remote``, also as ``"64gb"``; default all of them.
        generator: Who writes.
        mix: What the trainer reads.
        server: How the server works.
    """

    preset: Literal["small"] | None = None
    corpus: FilePath
    remote: FilePath | None = None
    split: str = "train"
    download_retry: int = Field(default=2, ge=0)
    download_timeout: float = Field(default=60, gt=0)
    cache_limit: Number = None
    store: FilePath | None = None
    recipe: Annotated[InstanceOf[Recipe] | None, BeforeValidator(_make_recipe)] = None
    generator: GeneratorSection = GeneratorSection()
    mix: MixSection = MixSection()
    server: ServerSection = ServerSection()

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, fields: Any) -> Any:
        """A preset fills in what the file leaves out; anything that is wrong is told by the fields themselves."""
        if not isinstance(fields, dict) or fields.get("preset") != "small":
            return fields
        recipe, generator = fields.get("recipe"), fields.get("generator", {})
        if isinstance(recipe, dict) and recipe.get("name") in [*RECIPES]:
            recipe = {"prompt": f"short-{RECIPES[recipe['name']].kind}", **recipe}
        if isinstance(generator, dict):
            generator = {"temperature": 0.5, "top_p": 0.9, **generator}
        return {**fields, "recipe": recipe, "generator": generator}

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
        path = Path(expand_path(os.fspath(path)))
        folder = path.parent
        try:
            fields = load_yaml(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"run file {path} cannot be read: {error}") from error
        if not isinstance(fields, dict):
            raise ConfigError(f"run file {path} does not hold fields, each with its value, like `corpus: corpus`")
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
        sections = {"preset", "corpus", "mix", "server"}
        ours = {name: value for name, value in [*self, *self.mix] if name not in sections}
        writer, who = self.generator.generator(), given.get("generator")
        if writer is None and isinstance(who, Generator):  # of a model that the file does not name
            writer = self.generator.generator((who.model, who.revision))
        ours |= {"local": self.corpus, "generator": writer, "keep_checkpoints": self.server.keep_checkpoints}
        if given.get("split", "train") != "train":
            given = {"synthetic_fraction": 0, **given}  # nothing is written for what is held out
        if exact_fraction({**ours, **given}["synthetic_fraction"]):
            self._check_scope(ours, given)
        # Where nobody says who writes, the store does; how it is sampled is said.
        return {**ours, "generator": writer or self.generator.sampling, **given}

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
