"""How a unit is laid out: which parts it has, and in which order."""

from dataclasses import dataclass
from enum import IntEnum


class Part(IntEnum):
    """A piece of a unit."""

    BOS = 0
    EOS = 1
    SEPARATOR = 2  # between the parts of a stitched megadoc
    OPEN = 3  # the marks around a thought
    CLOSE = 4
    GENERATION = 5
    DOCUMENT = 6  # the whole web document
    DOCUMENT_IF_ALONE = 7  # the whole web document, in a unit that has no generation
    DOCUMENT_HEAD = 8  # the web document up to the first cut
    DOCUMENT_NEXT = 9  # the web document from this generation's cut to the next


@dataclass(frozen=True)
class Layout:
    """The parts of a unit in order: some before, some for each generation, some after."""

    before: tuple[Part, ...]
    each: tuple[Part, ...]
    after: tuple[Part, ...]
    #: Leave out the very first part of ``each``: a separator that would separate nothing.
    skip_first: bool = False

    @property
    def parts(self) -> tuple[tuple[Part, ...], tuple[Part, ...], tuple[Part, ...]]:
        """All three."""
        return self.before, self.each, self.after


#: A web document by itself.
WEB_LAYOUT = Layout(before=(Part.BOS, Part.DOCUMENT_IF_ALONE), each=(Part.GENERATION,), after=(Part.EOS,))
