"""What the sections of a run file say: the generator, the mix and the server."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    JsonValue,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from streamdocs._base.paths import expand_path
from streamdocs._base.untrusted import faults
from streamdocs.corpus.columns.conditions import Where
from streamdocs.recipes import RECIPES, Recipe
from streamdocs.recipes.keys import Generator
from streamdocs.recipes.prompts import PACKAGED, load_prompt
from streamdocs.schedule.mixture import WhenBehind, exact_fraction

#: Of an environment variable. What is none may be the secret itself, and is not shown.
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)]

#: Fields of a request's body that are the generator's own, and what may be sent in their place.
_OURS = ("model", "messages", "n", "seed", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stream")
_RENAMED = Literal["n", "seed", "max_tokens", "temperature", "top_p"]

#: A share as it is written: a number, or a string of a fraction; a truth value is neither.
ShareOf = Annotated[float, Field(strict=True)] | str

#: A path: its ~ and $VARIABLES are replaced, and what no file system takes is refused here.
FilePath = Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=4096), AfterValidator(expand_path)]


def _number(value: Any) -> Any:
    """What "1.5k" or "64gb" says, as streaming reads it: one of its two readings knows any such word."""
    from streaming.base.util import bytes_to_int, number_abbrev_to_int  # noqa: PLC0415  (takes seconds)

    if not isinstance(value, str):
        return value
    return bytes_to_int(value) if value.lower().rstrip().endswith("b") else number_abbrev_to_int(value)


Number = Annotated[Annotated[int, Field(ge=1, lt=1 << 60)] | None, BeforeValidator(_number)]


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


RecipeFields = Annotated[InstanceOf[Recipe] | None, BeforeValidator(_make_recipe)]


class Section(BaseModel):
    """A part of a run file: no fields but its own, no infinite numbers, and values are not repeated in errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class GeneratorSection(Section):
    """Who writes. What is not part of a generation's identity (engine, endpoint, rates) may change at any time.

    Args:
        engine: ``template`` (built in, no model, for trying out), ``openai`` (any compatible endpoint) or ``sglang``
            (an SGLang server at ``endpoint``, or started for ``model_path``).
        model: Its name; where it is left out, the server asks the endpoint, and the trainer looks into the store.
        model_path: What an SGLang server is started for: a folder, or a hub's name.
        server_arguments: More flags for an SGLang server that is started.
        server_log: Where its output goes.
        sglang_python: Python of the environment that has SGLang; default a ``.venv-sglang`` here or beside this one.
        extra_body: Further fields of a request's body, as ``{chat_template_kwargs: {enable_thinking: false}}``. They
            are part of a generation's identity: other values ask for other generations.
        fields: Names of ``n``, ``seed``, ``max_tokens``, ``temperature`` and ``top_p`` at the server, null for what is
            left out. A refusal that names one of them is understood without this, as far as no text can change by it.
        endpoint: URL of a server, or of several with the same model; up to the API's version, or without a path.
        context: Tokens that prompt and generation may have together, where the server does not say or should get less.
        timeout: Seconds for one request.
        api_key_env: Environment variable that holds the key for ``endpoint``.
        tokens_per_second: Speed of the ``template`` engine, to try a slow generator out; default as fast as it can.
    """

    engine: Literal["template", "openai", "sglang"] = "template"
    model: str | None = None
    model_path: FilePath | None = None
    server_arguments: tuple[str, ...] = ()
    server_log: FilePath = "sglang.log"
    sglang_python: FilePath | None = None
    revision: str = ""
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    system: str | None = None
    extra_body: dict[str, JsonValue] | None = None
    fields: dict[_RENAMED, str | None] = {}
    endpoint: tuple[str, ...] = ()
    context: int | None = Field(default=None, ge=1)
    timeout: float = Field(default=600.0, gt=0)
    api_key_env: VariableName | None = None
    tokens_per_second: float | None = Field(default=None, gt=0)

    @field_validator("endpoint", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else () if value is None else value

    @field_validator("extra_body")
    @classmethod
    def _is_extra(cls, value: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        if ours := [name for name in _OURS if name in (value or {})]:
            raise ValueError(f"{', '.join(ours)}: generator, recipe and fields say that, and nothing is streamed")
        return value or None  # nothing more is nothing else

    @model_validator(mode="after")
    def _says_what_it_samples(self) -> "GeneratorSection":
        for name in ("temperature", "top_p"):
            if name in self.fields and self.fields[name] is None and getattr(self, name) != 1:
                raise ValueError(
                    f"{name} is {getattr(self, name):g}, and fields leaves it out: that would be another text"
                )
        return self

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
        return Generator(model=model, revision=self.revision or revision, **self.sampling)

    @property
    def sampling(self) -> dict[str, Any]:
        """Of the identity, what is not the model's."""
        return {name: getattr(self, name) for name in ("temperature", "top_p", "system", "extra_body")}


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
        shuffle: Whether documents come in a random order.
        shuffle_seed: Seed of that order, and of the mixture within a window.
        shuffle_algo: How StreamingDataset shuffles: ``py1e``, ``py1s``, ``py1br``, ``py2s``, ``py1b`` or ``naive``.
        shuffle_block_size: Documents that are shuffled together, by algorithms that go by blocks.
        num_canonical_nodes: Parts of the corpus that are shuffled apart from each other.
    """

    synthetic_fraction: ShareOf = 0.75
    max_seq_len: int = 2048
    when_behind: WhenBehind = "reuse"
    max_reuse: float | None = Field(default=None, gt=0)
    window: int = 2048
    shuffle: bool = True
    shuffle_seed: int = 9176
    shuffle_algo: str = "py1e"
    shuffle_block_size: int = Field(default=1 << 18, ge=1)
    num_canonical_nodes: int = 1
    evaluation: bool = False
    epoch_size: Number = None
    block_cross_document_attention: bool = False
    mask_labels: tuple[Literal["web", "rephrase", "thought", "mark"], ...] = ()
    wait_timeout: float = Field(default=3600, ge=0)
    name: str = Field(default="", max_length=256)


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
