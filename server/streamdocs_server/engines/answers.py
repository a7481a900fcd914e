"""What servers answer, as far as it is read: anything else than this is a malformed answer."""

from typing import Annotated

from pydantic import BaseModel, Field

#: What a server counts: no number of it makes an array, a metric or a division overflow.
Tokens = Annotated[int, Field(ge=0, lt=1 << 48)]


class Message(BaseModel):
    """What was generated."""

    content: str | None = None


class Choice(BaseModel):
    """One generation."""

    message: Message
    finish_reason: str | None = None  # "stop", "length", or a word of the server's own


class PromptDetails(BaseModel):
    """What of a prompt was read before."""

    cached_tokens: Tokens | None = None


class Usage(BaseModel):
    """What an answer took."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    prompt_tokens_details: PromptDetails | None = None


class Chat(BaseModel):
    """An answer to a chat."""

    choices: list[Choice] = Field(min_length=1)
    usage: Usage | None = None


class Model(BaseModel):
    """A model that is served."""

    id: str
    max_model_len: Annotated[int, Field(ge=1, lt=1 << 48)] | None = None


class Models(BaseModel):
    """All that are served."""

    data: list[Model] = Field(min_length=1)


class Count(BaseModel):
    """How many tokens a prompt has."""

    count: Tokens
