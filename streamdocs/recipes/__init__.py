"""Recipes: what a document becomes, what is asked for it, and under which key the answer is kept."""

from streamdocs.recipes.base import WEB_UNIT, Recipe, Request
from streamdocs.recipes.rephrase import Rephrase
from streamdocs.recipes.stitch import Stitch
from streamdocs.recipes.stretch import Stretch

RECIPES: dict[str, type[Recipe]] = {r.name: r for r in (Rephrase, Stitch, Stretch)}

#: Texts around and between the parts of a unit by default. A corpus comes with their tokens: few runs load a tokenizer.
MARKS = (Stitch.separator, Stretch.open_mark, Stretch.close_mark)

__all__ = ["MARKS", "RECIPES", "WEB_UNIT", "Recipe", "Rephrase", "Request", "Stitch", "Stretch"]
