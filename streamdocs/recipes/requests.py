"""What is asked of a language model for one document."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from streamdocs.recipes.prompts import fill_prompt


@dataclass(frozen=True, kw_only=True)
class Request:
    """``n`` independent generations from one prompt.

    ``fields`` holds the document's text as data: ``document`` for a rephrase, ``before`` and ``after`` for a thought.
    """

    kind: Literal["rephrase", "thought"]
    template: str
    fields: Mapping[str, str]
    n: int
    max_tokens: int

    @property
    def prompt(self) -> str:
        """The user message that is sent."""
        return fill_prompt(self.template, self.fields)
