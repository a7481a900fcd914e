"""The run file: one YAML that trainer and server both read."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from streamdocs._base.paths import expand_path
from streamdocs._base.typed import FilePath, Number, exact_fraction, plain
from streamdocs._base.untrusted import faults, load_yaml
from streamdocs.errors import ConfigError, reason
from streamdocs.named import MOST_STREAMS, StreamName, Streams, check_controller, check_shares
from streamdocs.presets import with_small_prompts
from streamdocs.recipes import Recipe
from streamdocs.recipes.keys import RULES, Generator, Writers
from streamdocs.schedule.mixture import SYNTHETIC, WEB
from streamdocs.sections import (
    MixSection,
    RecipeFields,
    Section,
    ServerSection,
    StreamSection,
    places_of,
)
from streamdocs.store import Store, open_store
from streamdocs.store.objects.open import check_url, is_url
from streamdocs.writers import GeneratorSection, WriterSection

#: Arguments of the dataset that decide what a server writes, and in which order.
_SCOPE = (
    "recipe",
    "streams",
    "generator",
    "writers",
    "shuffle",
    "shuffle_seed",
    "shuffle_algo",
    "shuffle_block_size",
    "num_canonical_nodes",
)
#: Those of the mixture that are None where they are not given.
_NONE = ("shuffle_block_size", "num_canonical_nodes", "epoch_size")


Writing = Annotated[dict[StreamName, WriterSection], Field(min_length=1, max_length=MOST_STREAMS)]


class RunFile(Section):
    """A run: corpus, store, recipe, generator and mix. Relative paths are relative to the file's folder.

    Args:
        preset: ``small`` for small models, up to some billion parameters: a short prompt, temperature 0.5 and top_p 0.9
            where the file does not say others.
        corpus: Folder of the corpus (``streamdocs prepare``).
        store: Folder of the store, or a URL that machines share (docs/many-machines.md); not needed where
            ``synthetic_fraction`` is 0.
        cache: Folder of each node for what it reads of a URL; default ``cache``.
        cache_bytes: What may lie there, also as ``"64gb"``; default as much as there is.
        download_retry: Further tries for one file of ``remote``.
        download_timeout: Seconds for one file of ``remote``.
        cache_limit: Most bytes of shards that are kept of ``remote``, also as ``"64gb"``; default all of them.
        recipe: What a document becomes in the synthetic stream of a run that has one, beside its web stream.
        streams: Streams by their names, in place of ``recipe`` and ``synthetic_fraction``.
        generator: Who writes.
        writers: Those who write by their names, in its place; the first of them writes what names nobody.
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
    cache: FilePath = "cache"
    cache_bytes: Number = None
    recipe: RecipeFields = None
    streams: Streams | None = None
    generator: GeneratorSection = GeneratorSection()
    writers: Writing | None = None
    mix: MixSection = MixSection()
    server: ServerSection = ServerSection()

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, fields: Any) -> Any:
        return with_small_prompts(fields)

    @field_validator("store")
    @classmethod
    def _is_some_place(cls, value: str | None) -> str | None:
        if value is not None and is_url(value):
            check_url(value)
        return value

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "RunFile":
        if self.streams is not None:
            self._check_streams(self.streams)
        check_controller(self.mix.controller, self.streams_by_name)
        if RULES in (self.writers or {}):
            raise ValueError(f"writers.{RULES}: rules that write without a model have that name: take another")
        if self.writers and self.generator != GeneratorSection():
            raise ValueError("writers say what generator does: give the one or the others")
        if not self.synthetic:
            return self
        if self.store is None or not any(section.synthetic for section in self.streams_by_name.values()):
            plain = f"synthetic_fraction={self.mix.synthetic_fraction} needs a store and a recipe"
            raise ValueError(plain if self.streams is None else "a stream of a recipe needs a store")
        if self.split != "train":
            raise ValueError(
                f"split {self.split!r}: generations are of 'train' alone; read it without any synthetic share"
            )
        return self

    def _check_streams(self, streams: dict[str, StreamSection]) -> None:
        if self.recipe is not None or "synthetic_fraction" in self.mix.model_fields_set:
            fraction = "preset" if self.mix.preset else "synthetic_fraction"
            raise ValueError(f"streams say what recipe and mix.{fraction} do: give the one or the others")
        check_shares(streams)

    @property
    def streams_by_name(self) -> dict[str, StreamSection]:
        """Every stream, in the order in which they are numbered: web streams first, each kind by name.

        Those of the file, or the two that a recipe and a fraction say; in place of one with ``levels`` one for each.
        """
        named = self.streams
        if named is None:
            fraction = exact_fraction(self.mix.synthetic_fraction)
            named = {WEB: StreamSection(share=str(1 - fraction))}
            if self.recipe is not None:
                named[SYNTHETIC] = StreamSection(share=str(fraction), recipe=self.recipe)
        apart = (each for name, section in named.items() for each in section.apart(name).items())
        return dict(sorted(apart, key=lambda each: (each[1].synthetic, each[0])))

    @property
    def corpora(self) -> dict[str, str | None]:
        """The folder of every corpus that is read, and where missing files of it come from; the run's own is first."""
        found = {self.corpus: self.remote}
        for section in self.streams_by_name.values():
            if section.corpus:
                found.setdefault(section.corpus, section.remote)
        return found

    @property
    def synthetic(self) -> bool:
        """Whether anything synthetic is read at all."""
        if self.streams is not None:
            return any(section.synthetic for section in self.streams.values())
        return exact_fraction(self.mix.synthetic_fraction) > 0

    @property
    def sections_of_writers(self) -> dict[str, GeneratorSection]:
        """The writers that the file has, the default one first; a generator's name is ""."""
        return dict(self.writers) if self.writers else {"": self.generator}

    def who_writes(self, served: tuple[str, str] | None = None) -> Writers | None:
        """Those who write; None where the generator's model is not known. ``served``: as of its ``generator``."""
        if self.writers:
            return Writers({name: section.identity for name, section in self.writers.items()})
        return Writers.of(found) if (found := self.generator.generator(served)) else None

    def open_store(self, *, must_exist: bool = False) -> Store:
        """Its store, as for ``streamdocs.store.open_store``."""
        return open_store(self.store or "", cache=self.cache, cache_bytes=self.cache_bytes, must_exist=must_exist)

    def open_served(self) -> Store:
        """The store that a server writes into.

        Raises:
            ConfigError: The file has not all that a server needs.
        """
        recipes = any(section.synthetic for section in self.streams_by_name.values())
        if self.store is None or not recipes or self.split != "train":
            raise ConfigError("a server needs a run file with a store and a recipe, and writes for split 'train' alone")
        return self.open_store()

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
            raise ConfigError(f"run file {path} cannot be read: {reason(error)}") from error
        if not isinstance(fields, dict):
            raise ConfigError(f"run file {path} does not hold fields, each with its value, like `corpus: corpus`")
        run = cls._checked(fields, f"run file {path}", folder)
        places: dict[str, Any] = {**places_of(run, folder), "server": run.server.relative_to(folder)}
        places["generator"] = run.generator.relative_to(folder)
        writers = (run.writers or {}).items()
        places["writers"] = {name: each.named(name).relative_to(folder) for name, each in writers} or None
        places["cache"] = str(folder / run.cache)
        if run.store and not is_url(run.store):
            places["store"] = str(folder / run.store)
        if run.streams is not None:
            streams = run.streams.items()
            places["streams"] = {name: each.model_copy(update=places_of(each, folder)) for name, each in streams}
        return run.model_copy(update=places)

    @classmethod
    def of_arguments(cls, arguments: Mapping[str, Any]) -> "RunFile":
        """The run that keyword arguments of the dataset say; those that no file has are left out.

        Raises:
            ConfigError: One of them is wrong; the message names each.
        """
        said = {name: plain(value) for name, value in arguments.items()}
        store, generator = said["store"], said["generator"]
        mix = {name: said[name] for name in MixSection.model_fields if name in said}
        if said["streams"] is not None and not mix["synthetic_fraction"]:
            del mix["synthetic_fraction"]  # the default of one who gives streams
        fields = {
            **{name: said[name] for name in cls.model_fields if name in said},
            "corpus": said["local"],
            "store": getattr(store, "location", store),
            "generator": generator or {},
            "mix": {name: each for name, each in mix.items() if each is not None or name not in _NONE},
            "server": {"keep_checkpoints": said["keep_checkpoints"]},
        }
        return cls._checked(fields, "arguments")

    @classmethod
    def _checked(cls, fields: Any, what: str, folder: Path | None = None) -> "RunFile":
        try:
            return cls.model_validate(fields, context=folder)
        except ValidationError as error:
            raise ConfigError(f"{what}: {faults(error, kind=cls)}") from error

    def dataset_arguments(self, **given: Any) -> dict[str, Any]:
        """What StreamingMegadocDataset takes from here, and what is ``given`` over it; None is as the file says.

        Raises:
            ConfigError: With what is given, no server that reads this file writes what such a dataset reads.
        """
        given = {name: value for name, value in given.items() if value is not None}
        sections = {"preset", "corpus", "mix", "server"}
        ours = {name: value for name, value in [*self, *self.mix] if name not in sections}
        writer, who = None if self.writers else self.generator.generator(), given.get("generator")
        if writer is None and isinstance(who, Generator):  # of a model that the file does not name
            writer = self.generator.generator((who.model, who.revision))
        ours |= {"local": self.corpus, "generator": writer, "keep_checkpoints": self.server.keep_checkpoints}
        if self.streams is not None:
            del ours["synthetic_fraction"]
        if given.get("split", "train") != "train":  # nothing is written for what is held out, and no share moves
            ours["controller"] = None
            given = {**({"synthetic_fraction": 0} if self.streams is None else {"streams": self._web_streams}), **given}
        if self.streams is not None or exact_fraction({**ours, **given}["synthetic_fraction"]):
            self._check_scope(ours, given)
        if not self.writers:  # where nobody says who writes, the store does; how it is sampled is said
            ours["generator"] = writer or self.generator.sampling
        return {**ours, **given}

    @property
    def _web_streams(self) -> dict[str, StreamSection]:
        """The web streams alone, with shares as they have to each other."""
        assert self.streams is not None
        web = {name: section for name, section in self.streams.items() if not section.synthetic}
        if not web:
            raise ConfigError("every stream has a recipe, and nothing is written for what is held out: read web text")
        total = sum(section.fraction for section in web.values())
        return {name: each.model_copy(update={"share": str(each.fraction / total)}) for name, each in web.items()}

    @staticmethod
    def _check_scope(ours: dict[str, Any], given: dict[str, Any]) -> None:
        found = []
        for name in (name for name in _SCOPE if given.get(name, ours[name]) != ours[name] is not None):
            theirs, mine = ours[name], given[name]
            if name == "streams" and not any(
                each.synthetic for each in TypeAdapter(Streams).validate_python(mine).values()
            ):
                continue  # web text alone needs no server
            if isinstance(theirs, Recipe) and isinstance(mine, Recipe) and theirs.scope("") == mine.scope(""):
                continue  # only what is made of the same generations differs
            found.append(f"{name}: {theirs} in the run file, {mine} given")
        if given.get("when_behind") == "wait" != ours["when_behind"]:  # which changes how far ahead a server has to be
            found.append(f"when_behind: {ours['when_behind']} in the run file, wait given")
        if found:
            raise ConfigError(f"a server that reads the run file works for another run. Change it: {'; '.join(found)}")
