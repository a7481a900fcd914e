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


#: The row has no such field.
MISSING = NoValue("missing")
_NULL = NoValue("null")
Value: TypeAlias = float | str | NoValue

_TOO_LONG = NoValue(f"longer than {MOST_BYTES:,} bytes")
_INVALID = NoValue("invalid UTF-8")
_NOT_FINITE = NoValue("not a finite number")
_NOT_EXACT = NoValue("more digits than a float has")
OTHER = NoValue("neither number nor string")


def usable(value: object) -> Value:
    """A field's value as it is kept: true and false are 1 and 0, and a number is what float64 holds exactly."""
    if value is None:
        return _NULL
    if isinstance(value, str | bytes):
        return _short_string(value)
    if not isinstance(value, Real):
        return OTHER
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

    A column is of the kind that most of its values are of, and one of the other kind is no value.

    Args:
        names: The fields that are kept.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._kinds = [Counter[Kind]() for _ in names]
        self._without = [Counter[str]() for _ in names]

    def take(self, values: Sequence[Value]) -> list[float | str | None]:
        """The values of one document, None for those that it has not."""
        found: list[float | str | None] = []
        for value, kinds, without in zip(values, self._kinds, self._without, strict=True):
            if isinstance(value, NoValue):
                without[value.cause] += 1
                found.append(None)
            else:
                kinds["string" if isinstance(value, str) else "number"] += 1
                found.append(value)
        return found

    @property
    def kinds(self) -> list[Kind]:
        """The kind of each column, once all documents were taken.

        Raises:
            CorpusError: No document has a value in some column.
        """
        for name, kinds, without in zip(self.names, self._kinds, self._without, strict=True):
            if not kinds:
                causes = ", ".join(f"{count:,} {cause}" for cause, count in without.most_common())
                raise CorpusError(
                    f"--keep {name}: no document has a value that can be kept, a number or a string of up to "
                    f"{MOST_BYTES:,} bytes ({causes})"
                )
        return ["string" if kinds["string"] > kinds["number"] else "number" for kinds in self._kinds]

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Of each column, how many documents have no value, by cause."""
        found = {}
        for name, kind, kinds, without in zip(self.names, self.kinds, self._kinds, self._without, strict=True):
            others = kinds.total() - kinds[kind]
            found[name] = dict(without) | ({f"not a {kind}": others} if others else {})
        return found
