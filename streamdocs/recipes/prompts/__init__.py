"""Prompts: plain text files with ``{placeholders}`` that are filled as data."""

import re
from collections.abc import Mapping
from pathlib import Path

from streamdocs.errors import ConfigError, reason

_FILES = {path.stem: path for path in sorted(Path(__file__).parent.rglob("*.txt"))}
#: Names of the prompts that come with the package: those of recipes, and in a folder of their own those of styles.
PACKAGED = tuple(_FILES)


def load_prompt(name_or_path: str | Path) -> str:
    """Text of a packaged prompt (one of ``PACKAGED``) or of a file of the user's own.

    Raises:
        ConfigError: There is no such file, or it is not text.
    """
    path = _FILES.get(str(name_or_path)) or Path(name_or_path)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # the second for a name that cannot be, or no UTF-8
        raise ConfigError(f"prompt {path} cannot be read: {reason(error)}") from error


def placeholders(template: str) -> set[str]:
    """Names that the template wants filled."""
    return set(re.findall(r"\{([a-z]+)\}", template))


def fill_prompt(template: str, fields: Mapping[str, str]) -> str:
    """Put each field in place of its ``{name}``, in one pass: what a document contains is never looked at again."""
    return re.sub(r"\{([a-z]+)\}", lambda match: fields.get(match[1], match[0]), template)
