"""What a generation is compared with: its document, and the instructions that were sent with it."""

import re
from collections.abc import Mapping
from functools import cached_property, lru_cache

from streamdocs.recipes import Request
from streamdocs_server.gates.words import Words, shares_more

#: Fewer words than this are a line that a text may repeat.
_LEAST_WORDS = 25
_PLACEHOLDER = re.compile(r"\{[a-z]+\}")


class Source:
    """A request, as gates look at it: what a document says itself is never taken for a model's own words.

    Args:
        template: The prompt, with its placeholders.
        fields: What was filled in.
    """

    def __init__(self, template: str, fields: Mapping[str, str]) -> None:
        self.document = "\n\n".join(fields.values())
        self._template = template.lower()
        self._said: dict[str, bool] = {}

    @cached_property
    def folded(self) -> str:
        """The document in lower case."""
        return self.document.lower()

    @cached_property
    def words(self) -> Words:
        """Those of the document."""
        return Words(self.document)

    def is_within(self, text: str) -> bool:
        """Whether a text has all of the document, word for word; a line or two may well be there again."""
        return len(self.words.listed) >= _LEAST_WORDS and self.document.strip() in text

    def cut_from(self, text: str) -> str:
        """A text without the document before or after it, as far as there is anything else."""
        if not self.is_within(text):
            return text
        document = self.document.strip()
        return text.removeprefix(document).removesuffix(document).strip() or text

    @property
    def instructions(self) -> Words:
        """The words of the prompt without its document."""
        return _instructions(self._template)

    @cached_property
    def repeats_instructions(self) -> bool:
        """Whether the document has words of the prompt around it."""
        return shares_more(self.instructions, self.words, 0)

    def asks(self, line: str) -> bool:
        """Whether a line of several words is the prompt's, and not the document's."""
        line = line.strip(' #*_>"“”:.-').lower()
        return line.count(" ") >= 3 and line in self._template and not self.says(line)

    def says(self, fragment: str) -> bool:
        """Whether the document has it, in either case."""
        fragment = fragment.strip().lower()
        if fragment not in self._said:
            self._said[fragment] = fragment in self.folded
        return self._said[fragment]


def source_of(request: Request) -> Source:
    """That of a request; the same one for the generations of a document, one after another."""
    return _source(request.template, tuple(request.fields.items()))


@lru_cache(maxsize=64)
def _source(template: str, fields: tuple[tuple[str, str], ...]) -> Source:
    return Source(template, dict(fields))


@lru_cache(maxsize=16)
def _instructions(template: str) -> Words:
    return Words(_PLACEHOLDER.sub("\n", template))
