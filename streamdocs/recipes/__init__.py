"""Recipes: what a document becomes, what is asked for it, and under which key the answer is kept."""

from streamdocs.recipes.base import WEB_UNIT, Recipe
from streamdocs.recipes.rephrase import Rephrase
from streamdocs.recipes.request import Request
from streamdocs.recipes.stitch import Stitch
from streamdocs.recipes.stretch import Stretch
from streamdocs.recipes.synthllm import SynthLLM
from streamdocs.recipes.variants import Answer, Append, Correct, Judge, Template, Think

_VARIANTS: tuple[type[Recipe], ...] = (Append, Think, Answer, Correct, Judge, Template)
_ALL: tuple[type[Recipe], ...] = (Rephrase, Stitch, Stretch, *_VARIANTS, SynthLLM)
RECIPES = {recipe.name: recipe for recipe in _ALL}

#: Texts around and between the parts of a unit by default. A corpus comes with their tokens: few runs load a tokenizer.
MARKS = (Stitch.separator, Stretch.open_mark, Stretch.close_mark)

__all__ = [
    "MARKS",
    "RECIPES",
    "WEB_UNIT",
    "Answer",
    "Append",
    "Correct",
    "Judge",
    "Recipe",
    "Rephrase",
    "Request",
    "Stitch",
    "Stretch",
    "SynthLLM",
    "Template",
    "Think",
]
