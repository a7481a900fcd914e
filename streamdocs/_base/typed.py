"""What is configured, wherever it is: dataclasses whose values are of the types that they say, and exact shares."""

import os
import re
from collections.abc import Mapping
from dataclasses import fields
from fractions import Fraction
from functools import cache
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from streamdocs._base.untrusted import faults
from streamdocs.errors import ConfigError


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
