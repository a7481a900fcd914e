"""Who writes, as a run file says it: one generator, or writers by their names."""

import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from streamdocs._base.typed import FilePath, VariableName
from streamdocs.recipes.keys import Generator
from streamdocs.sections import Section

#: Fields of a request's body that are the generator's own, and what may be sent in their place.
_OURS = ("model", "messages", "n", "seed", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stream")
_RENAMED = Literal["n", "seed", "max_tokens", "temperature", "top_p"]


def _is_of_http(url: str) -> str:
    # What it says is not told, for there may be a password in it.
    if not re.match(_HTTP, url):
        raise ValueError("has to be the URL of a server, http(s)://host[:port][/path]")
    return url


_HTTP = "^[Hh][Tt][Tt][Pp][Ss]?://."
Endpoint = Annotated[str, Field(json_schema_extra={"pattern": _HTTP}), AfterValidator(_is_of_http)]


class GeneratorSection(Section):
    """Who writes. What is not part of a generation's identity (engine, endpoint, rates) may change at any time.

    Args:
        engine: ``template`` (built in, no model, for trying out), ``openai`` (any compatible endpoint) or ``sglang``
            (an SGLang server at ``endpoint``, or started for ``model_path``).
        model: Its name; where it is left out, the server asks the endpoint, and the trainer looks into the store.
        model_path: What an SGLang server is started for: a folder, or a hub's name.
        server_arguments: More flags for an SGLang server that is started.
        server_log: Where its output goes; that of one of several writers to ``sglang-NAME.log`` by default.
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
    fields: dict[_RENAMED, str | None] = Field(default={})
    endpoint: tuple[Endpoint, ...] = ()
    context: int | None = Field(default=None, ge=1)
    timeout: float = Field(default=600.0, gt=0)
    api_key_env: VariableName | None = None
    tokens_per_second: float | None = Field(default=None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _of_a_generator(cls, value: Any) -> Any:
        return asdict(value) if isinstance(value, Generator) else value

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


class WriterSection(GeneratorSection):
    """One of several writers: as a generator, but that its model is named, since trainers have to know who writes."""

    @model_validator(mode="after")
    def _says_who_it_is(self) -> "WriterSection":
        if self.model is None and self.engine != "template":
            raise ValueError(
                "model is needed: the name under which its server serves it, which trainers know it by too"
            )
        return self

    def named(self, name: str) -> "WriterSection":
        """This, with a log of its own where none is named: several may be started on one machine."""
        return (
            self
            if "server_log" in self.model_fields_set
            else self.model_copy(update={"server_log": f"sglang-{name}.log"})
        )

    @property
    def identity(self) -> Generator:
        """Who it is."""
        found = self.generator(("template", "1") if self.model is None else None)
        assert found is not None
        return found
