"""What is asked of a writer."""

from collections.abc import Mapping
from dataclasses import dataclass

from streamdocs.recipes.programs.program import Kind, Step
from streamdocs.recipes.prompts import fill_prompt


@dataclass(frozen=True, kw_only=True)
class Request:
    """``n`` independent generations from one prompt.

    ``fields`` holds the document's text as data: ``document`` for a rephrase, ``before`` and ``after`` for a thought;
    for a ``step`` of a program also what the steps before it gave.
    """

    kind: Kind
    template: str
    fields: Mapping[str, str]
    n: int
    max_tokens: int
    step: Step | None = None

    @property
    def prompt(self) -> str:
        """The user message that is sent."""
        return fill_prompt(self.template, self.fields)
