"""What can be kept of a row's fields: finite numbers and short strings."""

import math
from collections import Counter
from collections.abc import Sequence
from numbers import Real
from typing import Literal, NamedTuple, TypeAlias

from streamdocs.errors import CorpusError

#: Of a string, in UTF-8: longer than any URL that browsers take, and far from a text.
MOST_BYTES = 4096

Kind: TypeAlias = Literal["number", "string"]


class NoValue(NamedTuple):
    """Why a row has no value that can be kept."""

    cause: str


MISSING = NoValue("missing")
Value: TypeAlias = float | str | NoValue

_TOO_LONG = NoValue(f"longer than {MOST_BYTES:,} bytes")
_INVALID = NoValue("invalid UTF-8")
_NOT_FINITE = NoValue("not a finite number")
_NOT_EXACT = NoValue("more digits than a float has")
_OTHER = NoValue("neither number nor string")
_NOT_OF_KIND: dict[Kind, str] = {"number": "not a number", "string": "not a string"}


def usable(value: object) -> Value:
    """A field's value as it is kept: true and false are 1 and 0, and a number is what float64 holds exactly."""
    if value is None:
        return MISSING
    if isinstance(value, str | bytes):
        return _short_string(value)
    if not isinstance(value, Real):
        return _OTHER
    try:
        number = float(value)
    except OverflowError:
        return _NOT_EXACT
    if not math.isfinite(number):
        return _NOT_FINITE
    return number if number == value else _NOT_EXACT


def _short_string(value: str | bytes) -> Value:
    if len(value) > MOST_BYTES:
        return _TOO_LONG
    try:
        text, data = (value, value.encode()) if isinstance(value, str) else (value.decode(), value)
    except UnicodeError:
        return _INVALID
    return text if len(data) <= MOST_BYTES else _TOO_LONG


class Keeping:
    """The columns that are kept: of which kind each is, and how many documents have no value in it, by cause.

    A column is of the kind of its first value; a value of the other kind is none.

    Args:
        names: The fields that are kept.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._kinds: list[Kind | None] = [None] * len(names)
        self._without = [Counter[str]() for _ in names]

    def take(self, values: Sequence[Value]) -> list[float | str | None]:
        """The values of one document, None for those that it has not."""
        return [self._take(column, value) for column, value in enumerate(values)]

    def _take(self, column: int, value: Value) -> float | str | None:
        if isinstance(value, NoValue):
            self._without[column][value.cause] += 1
            return None
        kind: Kind = "string" if isinstance(value, str) else "number"
        known = self._kinds[column] = self._kinds[column] or kind
        if kind == known:
            return value
        self._without[column][_NOT_OF_KIND[known]] += 1
        return None

    def known_kinds(self) -> list[Kind]:
        """The kind of each column, once all documents were taken.

        Raises:
            CorpusError: No document has a value in some column.
        """
        return [self._known(column) for column in range(len(self.names))]

    def _known(self, column: int) -> Kind:
        if (kind := self._kinds[column]) is None:
            causes = ", ".join(f"{count:,} {cause}" for cause, count in self._without[column].most_common())
            raise CorpusError(
                f"--keep {self.names[column]}: no document has a value that can be kept, a number or a string of up "
                f"to {MOST_BYTES:,} bytes ({causes})"
            )
        return kind

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Of each column, how many documents have no value, by cause."""
        return {name: dict(without) for name, without in zip(self.names, self._without, strict=True)}
