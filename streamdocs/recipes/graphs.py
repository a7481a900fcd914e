"""Graphs of concepts, as recipes want them."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamdocs.recipes.base import Recipe


@dataclass(frozen=True, kw_only=True)
class GraphRule:
    """How a graph of concepts is made, and how many of its walks an item has.

    Args:
        concepts: What extracts the concepts of a document.
        editions: Shares of the documents that have to have concepts before an edition is sealed, rising.
        min_documents: Names that fewer documents have are left out.
        max_share: And those that more than this share of them have.
        walks: Of an item in each round.
        chars: Most characters that prompts show of each document that is nearest to a walk.
    """

    concepts: "Recipe"
    editions: tuple[Fraction, ...]
    min_documents: int
    max_share: Fraction
    walks: int
    chars: int

    @property
    def identity(self) -> list[Any]:
        """What decides its editions beside the concepts."""
        return [list(map(str, self.editions)), self.min_documents, str(self.max_share)]
