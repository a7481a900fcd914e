"""What the sections of a run file say: the generator, the mix and the server."""

import dataclasses
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

from streamdocs._base.paths import expand_path
from streamdocs._base.typed import FilePath, Number, ShareOf, VariableName, exact_fraction, kinds_of
from streamdocs._base.untrusted import faults
from streamdocs.corpus.columns.conditions import Where
from streamdocs.presets import MixPreset, with_mix
from streamdocs.recipes import RECIPES, Recipe
from streamdocs.recipes.programs.files import find_program
from streamdocs.recipes.programs.styles import STYLES
from streamdocs.recipes.prompts import PACKAGED, load_prompt
from streamdocs.schedule.mixture import MOST_SEQUENCES, MOST_TOKENS, WhenBehind
from streamdocs.steering.controllers import CONTROLLERS, FIXED, Controller


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
    if isinstance(fields.get("styles"), dict):
        styles = {_style(each, info.context): weight for each, weight in fields["styles"].items()}
        if len(styles) < len(fields["styles"]) or any(isinstance(each, bool) for each in styles.values()):
            raise ValueError("styles: each has one name, and a whole number")
        fields["styles"] = styles
    try:
        return TypeAdapter(RECIPES[name]).validate_python(fields)
    except ValidationError as error:
        raise ValueError(f"recipe {name}: {faults(error, kind=RECIPES[name])}") from error


def _style(name: Any, folder: Path | None) -> Any:
    """A packaged style by its name, or the program in a file."""
    return name if not isinstance(name, str) or name in STYLES else find_program(name, folder or Path())


def _make_controller(value: Any) -> Any:
    """A controller of its name and its fields, or of its name alone; None for the one that moves nothing."""
    fields = {"name": value} if isinstance(value, str) else value
    if fields is None or isinstance(fields, Controller):
        return fields
    if not isinstance(fields, dict):
        raise ValueError("it is a name, or has a name and fields of its own, like {name: ucb, floor: 0.1}")
    name = fields.get("name")
    if name == FIXED:
        if len(fields) > 1:
            raise ValueError(f"controller {FIXED} moves nothing and has no fields: leave them out")
        return None
    if not isinstance(name, str) or name not in CONTROLLERS:
        raise ValueError(f"{name!r}; it is one of {', '.join([FIXED, *CONTROLLERS])}")
    try:
        said = {each: fields[each] for each in fields if each != "name"}
        known = [each.name for each in dataclasses.fields(CONTROLLERS[name])]
        if unknown := [str(each) for each in said if each not in known]:
            raise ValueError(f"controller {name} has no {', '.join(unknown)}; its fields are {', '.join(known)}")
        return TypeAdapter(CONTROLLERS[name]).validate_python(said)
    except ValidationError as error:
        raise ValueError(f"controller {name}: {faults(error).removeprefix(f'controller {name}: ')}") from error


ControllerFields = Annotated[InstanceOf[Controller] | None, BeforeValidator(_make_controller)]
RecipeFields = Annotated[InstanceOf[Recipe] | None, BeforeValidator(_make_recipe)]


class Section(BaseModel):
    """A part of a run file: no fields but its own, no infinite numbers, and values are not repeated in errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_truth_value(cls, value: Any, info: ValidationInfo) -> Any:
        """Otherwise true would be the number 1."""
        kinds = kinds_of(cls.model_fields[str(info.field_name)].annotation)
        if isinstance(value, bool) and kinds <= {int, float, type(None)}:
            raise ValueError("has to be a number")
        return value


class StreamSection(Section):
    """One of the streams of a run: web text, or with a recipe what that makes of documents.

    Args:
        share: Of all sequences: ``0.25``, or a fraction like ``"1/3"``; those of all streams add up to one.
        corpus: Folder of a corpus of its own; default the run's.
        remote: Where missing files of that are downloaded from.
        where: Which documents, by columns that ``streamdocs prepare --keep`` kept; default all of them.
        recipe: What a document becomes; none for web text.
        when_behind: As in ``mix``, for this stream.
        max_reuse: As in ``mix``, for this stream.
    """

    share: ShareOf
    corpus: FilePath | None = None
    remote: FilePath | None = None
    where: Where | None = None
    recipe: RecipeFields = None
    when_behind: WhenBehind | None = None
    max_reuse: float | None = Field(default=None, gt=0)

    @property
    def fraction(self) -> Fraction:
        """Its exact share."""
        return exact_fraction(self.share, "share")

    @property
    def synthetic(self) -> bool:
        """Whether it is made of generations."""
        return self.recipe is not None

    def apart(self, name: str) -> dict[str, "StreamSection"]:
        """The streams that one of this name is short for, each with its part of the share; or itself."""
        if self.recipe is None or not self.recipe.streams or not self.fraction:
            return {name: self}
        found = {}
        for end, (part, recipe) in self.recipe.streams.items():
            share = exact_fraction(str(self.fraction * part), f"share of {name}{end}")
            found[f"{name}{end}"] = self.model_copy(update={"share": str(share), "recipe": recipe})
        return found

    @model_validator(mode="after")
    def _says_what_can_be(self) -> "StreamSection":
        if self.remote and not self.corpus:
            raise ValueError("remote is of a corpus of its own, and there is none: give corpus too")
        if not self.synthetic and (self.when_behind or self.max_reuse):
            raise ValueError("when_behind and max_reuse are of streams with a recipe")
        return self


class MixSection(Section):
    """What the trainer reads: the arguments of StreamingMegadocDataset that have these names, which says what they are.

    Args:
        preset: A mix by the regime it is for, in place of ``synthetic_fraction``: ``streamdocs presets`` lists them
            with their sources. Another ``synthetic_fraction`` beside it is refused.
        shuffle: Whether documents come in a random order.
        shuffle_seed: Seed of that order, and of the mixture within a window.
        shuffle_algo: How StreamingDataset shuffles: ``py1e``, ``py1s``, ``py1br``, ``py2s``, ``py1b`` or ``naive``.
        shuffle_block_size: Documents that are shuffled together, by algorithms that go by blocks.
        num_canonical_nodes: Parts of the corpus that are shuffled apart from each other.
    """

    preset: MixPreset | None = None
    synthetic_fraction: ShareOf = 0.75
    max_seq_len: int = Field(default=2048, ge=1, le=MOST_TOKENS)
    when_behind: WhenBehind = "reuse"
    max_reuse: float | None = Field(default=None, gt=0)
    window: int = Field(default=2048, ge=1, le=MOST_SEQUENCES)
    shuffle: bool = True
    shuffle_seed: int = Field(default=9176, ge=0, lt=1 << 63)
    shuffle_algo: Literal["py1e", "py1s", "py1br", "py2s", "py1b", "naive"] = "py1e"
    shuffle_block_size: int = Field(default=1 << 18, ge=1)
    num_canonical_nodes: int = Field(default=1, ge=1)
    evaluation: bool = False
    epoch_size: Number = None
    block_cross_document_attention: bool = False
    mask_labels: tuple[Literal["web", "rephrase", "thought", "mark"], ...] = ()
    wait_timeout: float = Field(default=3600, ge=0)
    name: str = Field(default="", max_length=256)
    controller: ControllerFields = None

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, fields: Any) -> Any:
        return with_mix(fields)


class BudgetSection(Section):
    """How much a server writes before it stops; what is not said has no limit. Training goes on with what there is.

    Args:
        tokens: Tokens of generations in the store, of all streams of the run.
        documents: Documents that were written about, once for each round.
        hours: Of one start of the server.
    """

    tokens: int | None = Field(default=None, ge=1)
    documents: int | None = Field(default=None, ge=1)
    hours: float | None = Field(default=None, gt=0)


class DecontaminateSection(Section):
    """Texts that training must not read: what has words in common with one of them is rejected as "contaminated".

    Args:
        files: Benchmarks, as files, folders or datasets that ``streamdocs prepare`` reads. Every string of a row of 8
            words or more counts by itself, whatever its field is called.
        held_out: Whether what the corpora hold out counts too.
        words: So many in a row are too many; of scripts without spaces, twice as many characters.
    """

    files: tuple[FilePath, ...] = ()
    held_out: bool = True
    words: int = Field(default=13, ge=8, le=100)

    @field_validator("files", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    def relative_to(self, folder: Path) -> "DecontaminateSection":
        """This, with relative paths taken from ``folder``."""
        return self.model_copy(
            update={"files": tuple(each if "://" in each else str(folder / each) for each in self.files)}
        )


class ServerSection(Section):
    """How the server works.

    Args:
        max_in_flight: Most documents asked for at once; how many it is follows what the servers can take.
        failure_budget: Failures in a row, without an answer in between, after which the server stops.
        monitor_host: Address of ``/metrics``, ``/health`` and ``/status``.
        monitor_port: Port of them; 0 takes a free one.
        monitor_token_env: Environment variable that holds what has to be sent as ``Authorization: Bearer …``; needed
            where ``monitor_host`` is not the loopback.
        max_lead: Documents that generation may be ahead of the trainer; default the whole corpus once.
        gates: Limits for what is accepted.
        attempts: How often a round is asked for before its rejected generations stay rejected.
        keep_checkpoints: Newest states of the trainer whose generations are kept while rounds retire.
        budget: How much is written in all.
        drain: Seconds that documents in flight have to be finished after SIGINT or SIGTERM; a second one ends them.
        decontaminate: Texts that training must not read; default none, or with ``synthllm`` what the corpora hold out.
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
    budget: BudgetSection = BudgetSection()
    drain: float = Field(default=2.0, ge=0)
    decontaminate: DecontaminateSection | None = None

    def relative_to(self, folder: Path) -> "ServerSection":
        """This, with relative paths taken from ``folder``."""
        found = self.decontaminate and self.decontaminate.relative_to(folder)
        return self.model_copy(update={"decontaminate": found})


def places_of(fields: Any, folder: Path) -> dict[str, str]:
    """Where the corpus of some fields is, and its remote location, taken from ``folder`` where they are relative."""
    found = {}
    if fields.corpus:
        found["corpus"] = str(folder / fields.corpus)
    if fields.remote and not urlparse(fields.remote).scheme:  # as streaming tells a location from a path
        found["remote"] = str(folder / fields.remote)
    return found
