"""What is configured, wherever it is: types of fields, dataclasses whose values are of these, and exact shares."""

import os
import re
from collections.abc import Mapping
from dataclasses import fields
from fractions import Fraction
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)

from streamdocs._base.paths import expand_path
from streamdocs._base.untrusted import faults
from streamdocs.errors import ConfigError

#: Of an environment variable. What is none may be the secret itself, and is not shown.
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)]

#: A path: its ~ and $VARIABLES are replaced, and what no file system takes is refused here.
FilePath = Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=4096), AfterValidator(expand_path)]


def kinds_of(annotation: Any) -> frozenset[Any]:
    """The types that an annotation allows, whatever else it says of them."""
    if get_origin(annotation) is Annotated:
        return kinds_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return frozenset[Any]().union(*map(kinds_of, get_args(annotation)))
    return frozenset({annotation})


def _number(value: Any) -> Any:
    """What "1.5k" or "64gb" says, as streaming reads it: one of its two readings knows any such word."""
    from streaming.base.util import bytes_to_int, number_abbrev_to_int  # noqa: PLC0415  (takes seconds)

    if not isinstance(value, str):
        return value
    try:
        return bytes_to_int(value) if value.lower().rstrip().endswith("b") else number_abbrev_to_int(value)
    except ValueError as error:
        raise ValueError('has to be a whole number, or one with a unit, as "64gb" or "100k"') from error


Number = Annotated[Annotated[int, Field(ge=1, lt=1 << 60)] | None, BeforeValidator(_number)]


def _share(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, bool) or not isinstance(value, float | int | str):
        raise ValueError('has to be a number from 0 to 1, or a fraction like "1/3"')
    name = info.field_name or "share"
    try:
        exact_fraction(value, name)
    except ConfigError as error:  # which says the name that comes before it here
        raise ValueError(str(error).removeprefix(f"{name}=")) from error
    return value


#: A share as it is written: a number, or a string of a fraction; a truth value is neither.
ShareOf = Annotated[
    Annotated[float, Field(strict=True, ge=0, le=1)] | Annotated[str, Field(max_length=64)], BeforeValidator(_share)
]


def check_types(value: object, what: str) -> None:
    """Make sure that a frozen dataclass holds what its types say; where a float is due, a whole number becomes one.

    Raises:
        ConfigError: Some field does not; the message names each, as for a run file.
    """
    wrong = []
    for name, adapter in _adapters(type(value)).items():  # type: ignore[arg-type]
        try:
            object.__setattr__(value, name, adapter.validate_python(getattr(value, name), strict=True))
        except ValidationError as error:
            wrong.append(f"{name}: {faults(error)}")
    if wrong:
        raise ConfigError(f"{what}: {'; '.join(wrong)}")


@cache
def _adapters(kind: type[Any]) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints(kind, include_extras=True)
    finite = ConfigDict(allow_inf_nan=False)
    return {each.name: TypeAdapter(hints[each.name], config=finite) for each in fields(kind)}


def exact_fraction(number: float | str, name: str = "synthetic_fraction") -> Fraction:
    """The share that a number says: 0.75 as 3/4, and "1/3" as it is; ``name`` is what it is called.

    Raises:
        ConfigError: It is not a number from 0 to 1, or one of more than six decimals.
    """
    text = str(number)
    try:
        # An exponent of ten digits would make a number of ten billion.
        if len(text) > 64 or not re.fullmatch(r"[^eE]*([eE][-+]?[0-9]{1,3})?", text):
            raise ValueError(text[:64])
        fraction = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"{name}={text[:64]!r} is not a number") from error
    if not 0 <= fraction <= 1 or fraction.denominator > 10**6:
        raise ConfigError(
            f"{name}={number}: from 0 to 1 with at most six decimals, or a fraction like '1/3', of at most six digits"
        )
    return fraction


def plain(value: Any) -> Any:
    """A value as a file has it: paths and fractions as strings, also within mappings."""
    if isinstance(value, Mapping) and not isinstance(value, str):
        return {name: plain(each) for name, each in value.items()}
    return str(value) if isinstance(value, os.PathLike | Fraction) else value
