"""What the sections of a run file say: the generator, the mix and the server."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from streamdocs._base.paths import expand_path
from streamdocs.recipes.keys import Generator
from streamdocs.schedule.mixture import WhenBehind

#: Of an environment variable. What is none may be the secret itself, and is not shown.
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)]

#: A path: its ~ and $VARIABLES are replaced, and what no file system takes is refused here.
FilePath = Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=4096), AfterValidator(expand_path)]


def _number(value: Any) -> Any:
    """What "1.5k" or "64gb" says, as streaming reads it: one of its two readings knows any such word."""
    from streaming.base.util import bytes_to_int, number_abbrev_to_int  # noqa: PLC0415  (takes seconds)

    if not isinstance(value, str):
        return value
    return bytes_to_int(value) if value.lower().rstrip().endswith("b") else number_abbrev_to_int(value)


Number = Annotated[Annotated[int, Field(ge=1, lt=1 << 60)] | None, BeforeValidator(_number)]


class Section(BaseModel):
    """A part of a run file: no fields but its own, no infinite numbers, and values are not repeated in errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class GeneratorSection(Section):
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
    model_path: FilePath | None = None
    server_arguments: tuple[str, ...] = ()
    server_log: FilePath = "sglang.log"
    sglang_python: FilePath | None = None
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


class MixSection(Section):
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
    epoch_size: Number = None
    block_cross_document_attention: bool = False
    wait_timeout: float = Field(default=3600, ge=0)
    name: str = Field(default="", max_length=256)


class ServerSection(Section):
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
