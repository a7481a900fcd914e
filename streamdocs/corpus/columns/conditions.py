"""Conditions on documents: what their values in some columns have to be, as ``where`` of a run file says."""

from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, RootModel, model_validator

from streamdocs._base.arrays import Bools
from streamdocs.corpus.columns.file import numbers, plain, told_value
from streamdocs.corpus.columns.values import Kind, NoValue, usable
from streamdocs.errors import some

_FROZEN = ConfigDict(frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


def _one_or_several(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)


def _as_kept(value: Any) -> float | str:
    if isinstance(kept := usable(value), NoValue):
        raise ValueError(f"no column has such a value: {kept.cause}")
    return kept


def _canonical(values: tuple[float | str, ...]) -> tuple[float | str, ...]:
    """The values in one order and each once, so that lists that mean the same are the same."""
    if len({isinstance(value, str) for value in values}) > 1:
        raise ValueError("both numbers and strings, and a column has one kind of values (quote what is a string)")
    if not values:
        raise ValueError("no value")
    return tuple(sorted({*values}))


_Number: TypeAlias = Annotated[float, Field(strict=True)]
_Value: TypeAlias = Annotated[float | str, BeforeValidator(_as_kept)]
_Values: TypeAlias = Annotated[tuple[_Value, ...], BeforeValidator(_one_or_several), AfterValidator(_canonical)]


class Condition(BaseModel):
    """What a document's value in one column has to be; a document that has none does not meet it.

    Args:
        min: Smallest number.
        max: Largest number.
        any_of: Numbers or strings of which it has to be one; a value or a list in place of a condition is short for it.
        none_of: Numbers or strings of which it must not be one.
    """

    model_config = ConfigDict(extra="forbid", **_FROZEN)

    min: _Number | None = None
    max: _Number | None = None
    any_of: _Values | None = None
    none_of: _Values | None = None

    @model_validator(mode="before")
    @classmethod
    def _values_alone(cls, value: Any) -> Any:
        return value if isinstance(value, dict | Condition) else {"any_of": value}

    @model_validator(mode="after")
    def _can_be_met(self) -> "Condition":
        if not self.identity:
            raise ValueError("it says nothing: give min, max, any_of or none_of, or a list of values")
        if len({*self._kinds()}) > 1:
            raise ValueError("of both numbers and strings, and a column has one kind of values")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:.15g} is more than max {self.max:.15g}")
        return self

    def _kinds(self) -> Iterator[Kind]:
        for value in (self.min, self.max, *(self.any_of or ()), *(self.none_of or ())):
            if value is not None:
                yield "string" if isinstance(value, str) else "number"

    @property
    def kind(self) -> Kind:
        """The kind of columns that can meet it."""
        return next(self._kinds())

    @property
    def identity(self) -> dict[str, Any]:
        """What it says, in plain values: the same for conditions that mean the same."""
        return self.model_dump(mode="json", exclude_none=True)

    def __str__(self) -> str:
        values = {name: each if isinstance(each, list) else [each] for name, each in self.identity.items()}
        return ", ".join(f"{name} {some([*map(told_value, each)])}" for name, each in values.items())

    def meets(self, column: pa.Array) -> Bools:
        """Which values of a piece of a column, see ``read_batches``, meet it: bool (rows,)."""
        if isinstance(column, pa.DictionaryArray):
            codes, met = plain(column.indices, np.dtype(np.int16))
            wanted, unwanted = self.any_of and {*self.any_of}, {*(self.none_of or ())}
            strings = [
                (not wanted or string in wanted) and string not in unwanted for string in column.dictionary.to_pylist()
            ]
            met[met] = np.array(strings, np.bool_)[codes[met]]
            return met
        return self._strings(column) if pa.types.is_string(column.type) else self._numbers(column)

    def _strings(self, column: pa.Array) -> Bools:
        met = column.is_valid()
        if self.any_of is not None:
            met = pc.and_(met, pc.is_in(column, value_set=pa.array(self.any_of, column.type)))
        if self.none_of is not None:
            met = pc.and_not(met, pc.is_in(column, value_set=pa.array(self.none_of, column.type)))
        return met.to_numpy(zero_copy_only=False)

    def _numbers(self, column: pa.Array) -> Bools:
        values, met = numbers(column)
        if self.min is not None:
            met &= values >= self.min
        if self.max is not None:
            met &= values <= self.max
        if self.any_of is not None:
            met &= np.isin(values, self.any_of)
        if self.none_of is not None:
            met &= ~np.isin(values, self.none_of)
        return met


class Where(RootModel[dict[str, Condition]]):
    """Conditions by column, of which a document has to meet all: ``{quality: {min: 3}, language: [en, de]}``."""

    model_config = _FROZEN

    @model_validator(mode="after")
    def _is_some(self) -> "Where":
        if not self.root:
            raise ValueError("it names no column; leave it out for all documents")
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """What it says, in plain values; see ``Condition.identity``."""
        return {name: self.root[name].identity for name in sorted(self.root)}

    def __str__(self) -> str:
        return "; ".join(f"{name} {self.root[name]}" for name in sorted(self.root))
