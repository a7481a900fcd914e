"""Prompts: plain text files with ``{placeholders}`` that are filled as data."""

import re
from collections.abc import Mapping
from pathlib import Path

_FOLDER = Path(__file__).parent


def load_prompt(name_or_path: str | Path) -> str:
    """Text of a packaged prompt (``"rephrase"``, ``"thought"``) or of a file of the user's own."""
    packaged = _FOLDER / f"{name_or_path}.txt"
    return (packaged if packaged.is_file() else Path(name_or_path)).read_text(encoding="utf-8")


def placeholders(template: str) -> set[str]:
    """Names that the template wants filled."""
    return set(re.findall(r"\{([a-z]+)\}", template))


def fill_prompt(template: str, fields: Mapping[str, str]) -> str:
    """Put each field in place of its ``{name}``, in one pass: what a document contains is never looked at again."""
    return re.sub(r"\{([a-z]+)\}", lambda match: fields.get(match[1], match[0]), template)
