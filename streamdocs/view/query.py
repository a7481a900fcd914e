"""What an address asks for."""

from collections.abc import Collection
from urllib.parse import parse_qs

from streamdocs.errors import ConfigError

#: The largest number that an address may have.
MOST_NUMBER = (1 << 62) - 1
_MOST_FIELDS = 16


class AddressError(ConfigError):
    """An address asks for what no page has, whatever the run."""


class Query:
    """What an address asks for.

    Args:
        path: Of which page.
        text: Behind its question mark.
        names: What that may name.

    Raises:
        AddressError: It names something else, or something twice.
    """

    def __init__(self, path: str, text: str, names: Collection[str]) -> None:
        self.key = f"{path}?{text}"
        try:
            found = parse_qs(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="replace")
        except ValueError as error:
            raise AddressError(f"the address asks for too much ({error})") from error
        for name, values in found.items():
            if name not in names:
                has = f"it has {', '.join(names)}" if names else "it has nothing of that kind"
                raise AddressError(f"{name[:40]}=: this page has no such part; {has}")
            if len(values) > 1:
                raise AddressError(f"{name}=: it is there {len(values)} times, and counts once")
        self._said = {name: value for name, (value,) in found.items() if value}

    def text(self, name: str) -> str | None:
        """A text; None where it is not there, or empty."""
        return self._said.get(name)

    def number(self, name: str) -> int | None:
        """A whole number from 0 on; None where it is not there.

        Raises:
            AddressError: It is none.
        """
        if (said := self._said.get(name)) is None:
            return None
        if not (said.isascii() and said.isdigit() and len(said) <= 19 and int(said) <= MOST_NUMBER):
            raise AddressError(f"{name}={said[:40]}: a whole number from 0 to {MOST_NUMBER:,}")
        return int(said)

    def is_set(self, name: str) -> bool:
        """Whether something is asked for, by 1.

        Raises:
            AddressError: It is neither 1 nor 0, which is as if it was not there.
        """
        return self.one_of(name, ("0", "1")) == "1"

    def one_of(self, name: str, choices: Collection[str]) -> str | None:
        """One of some words; None where it is not there.

        Raises:
            AddressError: It is none of them.
        """
        said = self._said.get(name)
        if said is not None and said not in choices:
            raise AddressError(f"{name}={said[:40]}: it is one of {', '.join(choices)}")
        return said
