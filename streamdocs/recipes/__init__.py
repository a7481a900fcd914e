"""Recipes: what a document becomes, what is asked for it, and under which key the answer is kept."""

from streamdocs.recipes.base import MARKS, RECIPES, WEB_UNIT, Recipe, Rephrase, Stitch, Stretch

__all__ = ["MARKS", "RECIPES", "WEB_UNIT", "Recipe", "Rephrase", "Stitch", "Stretch"]
