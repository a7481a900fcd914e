"""Stitched rephrasing: all rephrases of a document and the document itself, one after another."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from streamdocs.recipes.base import Recipe
from streamdocs.recipes.layout import Layout, Part


@dataclass(frozen=True, kw_only=True)
class Stitch(Recipe):
    """Stitched rephrasing: the rephrases of a document and the document itself as one document, a megadoc.

    Args:
        web: Where the web document stands: ``"last"`` (best in the paper), ``"first"`` or ``"none"``.
        separator: Text between the parts.
    """

    name: ClassVar[str] = "stitch"

    web: Literal["last", "first", "none"] = "last"
    separator: str = "\n\n"

    @property
    def reads_documents(self) -> bool:
        """As ``web`` says."""
        return self.web != "none"

    @property
    def unit_layout(self) -> Layout:
        """BOS, the parts with a separator in between, EOS."""
        if self.web == "last":
            return Layout((Part.BOS,), (Part.GENERATION, Part.SEPARATOR), (Part.DOCUMENT, Part.EOS))
        if self.web == "first":
            return Layout((Part.BOS, Part.DOCUMENT), (Part.SEPARATOR, Part.GENERATION), (Part.EOS,))
        return Layout((Part.BOS,), (Part.SEPARATOR, Part.GENERATION), (Part.EOS,), skip_first=True)
