"""Dataclasses whose values are of the types that they say, wherever they are made."""

from dataclasses import fields
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
