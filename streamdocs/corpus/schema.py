"""What the indexes of a corpus have to look like. They may have been downloaded, and name files to be opened."""

from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from streamdocs._base.arrays import Count
from streamdocs._base.untrusted import faults

#: A file in its folder and nowhere else: no separator, no drive, nothing hidden, no parent.
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=255)]
_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
_TokenId = Annotated[int, Field(ge=0, lt=1 << 32)]


class _Section(BaseModel):
    model_config = ConfigDict(strict=True)


class _Column(_Section):
    file: FileName
    digest: _Digest
    missing: Count


class NumberColumn(_Column):
    """What ``corpus.json`` says of a column of numbers; ``quartiles`` are from the smallest to the largest, if any."""

    kind: Literal["number"]
    quartiles: tuple[Finite, Finite, Finite, Finite, Finite] | None = Field(strict=False)


class StringColumn(_Column):
    """… and of one of strings: how many there are, None for many, and how many documents have the commonest few."""

    kind: Literal["string"]
    distinct: Count | None
    commonest: dict[str, Count]


class _Split(_Section):
    documents: Annotated[int, Field(ge=1, lt=1 << 32)]
    tokens: Count
    text_bytes: Count
    digest: _Digest
    columns: dict[str, Annotated[NumberColumn | StringColumn, Field(discriminator="kind")]] = {}


class _Tokenizer(_Section):
    name: str
    vocab_size: Annotated[int, Field(ge=1, le=1 << 32)]
    bos: _TokenId | None
    eos: _TokenId
    dtype: Literal["uint16", "uint32"]
    digest: _Digest
    marks: dict[str, list[_TokenId]] = {}

    @model_validator(mode="after")
    def _check_marks(self) -> "_Tokenizer":
        if max(chain.from_iterable(self.marks.values()), default=0) >= self.vocab_size:
            raise ValueError(f"marks: there are only {self.vocab_size} tokens")
        return self


class _LeftOut(_Section):
    files: Count
    first: str


class _Report(_Section):
    rows: Count
    duplicates: Count
    bad: dict[str, Count]
    files: Count | None = None
    left_out: dict[str, _LeftOut] = {}
    columns: dict[str, dict[str, Count]] = {}
    made_from: dict[str, Any] = {}


class _Index(_Section):
    tokenizer: _Tokenizer
    splits: dict[FileName, _Split]
    report: _Report


class _Raw(_Section):
    basename: FileName
    bytes: Count


class _Shard(_Section):
    raw_data: _Raw
    samples: Annotated[int, Field(ge=0, lt=1 << 32)]
    column_names: tuple[Literal["text"], Literal["tokens"]] = Field(strict=False)
    compression: Literal["", None]


_SHARDS = TypeAdapter(list[_Shard])


def check_index(index: dict[str, Any]) -> None:
    """Make sure that ``corpus.json`` says what this version writes.

    Raises:
        ValueError: It does not; the message names each field.
    """
    _check(_Index.model_validate, index)


def check_shards(shards: Any) -> None:
    """Make sure that the shards of an MDS index are what ``streamdocs prepare`` writes.

    Raises:
        ValueError: They are not; the message names each field.
    """
    _check(_SHARDS.validate_python, shards)


def _check(validate: Any, value: Any) -> None:
    try:
        validate(value)
    except ValidationError as error:
        raise ValueError(faults(error, 3)) from error
