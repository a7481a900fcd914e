"""What servers answer, as far as it is read: anything else than this is a malformed answer."""

from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)


def _or_none(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """What is beside the point of an answer does not void it."""
    try:
        return handler(value)
    except ValidationError:
        return None


#: What a server counts: no number of it makes an array, a metric or a division overflow.
Tokens = Annotated[int, Field(ge=0, lt=1 << 48)]
_Told = Annotated[Tokens | None, WrapValidator(_or_none)]
_Text = Annotated[str | None, WrapValidator(_or_none)]

#: Words for "it is whole" and "it was cut off at max_tokens", beside OpenAI's own, which come first.
_STOPPED = {"stop", "eos", "eos_token", "end", "end_turn", "end_of_turn", "stop_sequence", "stop_token", "complete"}
_CUT = {"length", "max_tokens", "max_new_tokens", "max_output_tokens", "max_length", "model_length", "token_limit"}
#: And for "this is no text to keep".
_FAILED = {"abort", "aborted", "cancel", "cancelled", "canceled", "error", "failed", "timeout", "interrupted"}
_FAILED |= {"tool_calls", "tool_call", "tool_use", "function_call", "insufficient_system_resource"}
FILTERED = {"content_filter", "content_filtered", "filter", "safety", "refusal", "recitation", "blocklist"}
FILTERED |= {"prohibited_content", "spii"}


class Part(BaseModel):
    """A piece of a message that comes in several."""

    type: str = "text"
    text: str | None = None


class Message(BaseModel):
    """What was generated."""

    content: str | list[Part | str] | None = None
    reasoning_content: _Text = None
    reasoning: _Text = None
    refusal: _Text = None

    @property
    def text(self) -> str | None:
        """The content, its parts as one; None where there is none."""
        if not isinstance(self.content, list):
            return self.content
        parts = [Part(text=part) if isinstance(part, str) else part for part in self.content]
        return "".join(part.text or "" for part in parts if part.type in ("text", "output_text"))

    @property
    def reasoned(self) -> bool:
        """Whether it reasoned beside the content."""
        parts = self.content if isinstance(self.content, list) else []
        beside = any(isinstance(part, Part) and part.type in ("thinking", "reasoning") for part in parts)
        return beside or bool(self.reasoning_content or self.reasoning)


class Choice(BaseModel):
    """One generation."""

    message: Message
    finish_reason: str | None = None

    @property
    def ran_out(self) -> bool:
        """Whether it says that it took all the tokens that it was given."""
        return (self.finish_reason or "").lower() in _CUT

    def ended(self, whole: bool) -> Literal["stop", "length", "filtered"] | None:
        """How it ended; None where that makes it no text to keep.

        Where the server says nothing, ``whole`` decides: that its tokens are fewer than it was given. A word that is
        not known counts as cut off, so that no more than whole sentences are kept.
        """
        reason = (self.finish_reason or "").lower()
        if reason in FILTERED or (self.message.refusal and not self.message.text):
            return "filtered"
        if reason in _FAILED:
            return None
        return "stop" if reason in _STOPPED or (not reason and whole) else "length"


class PromptDetails(BaseModel):
    """What of a prompt was read before."""

    cached_tokens: _Told = None


class Usage(BaseModel):
    """What an answer took."""

    prompt_tokens: _Told = None
    completion_tokens: _Told = None
    prompt_tokens_details: Annotated[PromptDetails | None, WrapValidator(_or_none)] = None


class _Version(BaseModel):
    version: str


class Metadata(BaseModel):
    """What SGLang says of the weights that wrote an answer: the last ones, and all where they changed meanwhile."""

    weight_version: _Text = None
    weight_versions: Annotated[list[_Version] | None, WrapValidator(_or_none)] = None


class Chat(BaseModel):
    """An answer to a chat."""

    choices: list[Choice] = Field(min_length=1)
    usage: Annotated[Usage | None, WrapValidator(_or_none)] = None
    metadata: Annotated[Metadata | None, WrapValidator(_or_none)] = None

    @property
    def versions(self) -> set[str]:
        """Every version of the weights that it says it is of; none where it says none."""
        told = self.metadata or Metadata()
        return {each.version for each in told.weight_versions or []} | ({told.weight_version or ""} - {""})


class Model(BaseModel):
    """A model that is served; the second is the most tokens of prompt and generation, where that is told."""

    id: str = Field(validation_alias=AliasChoices("id", "name", "model"))
    max_model_len: Annotated[int | None, Field(ge=1, lt=1 << 48), WrapValidator(_or_none)] = Field(
        default=None,
        validation_alias=AliasChoices("max_model_len", "context_length", "context_window", "max_context_length"),
    )


class Models(BaseModel):
    """All that are served: under ``data`` or ``models``, or as a bare list, of objects or names."""

    data: list[Model] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        found = value.get("data", value.get("models")) if isinstance(value, dict) else value
        if not isinstance(found, list):
            return value
        return {"data": [{"id": each} if isinstance(each, str) else each for each in found]}

    def named(self, name: str) -> Model | None:
        """The one of a name, also where the list says ``models/NAME`` or ``NAME:latest``."""
        names = (name, f"models/{name}", f"{name}:latest")
        return next((model for each in names for model in self.data if model.id == each), None)


class Count(BaseModel):
    """How many tokens a prompt has."""

    count: Tokens
