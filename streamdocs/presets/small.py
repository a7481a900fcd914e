"""``preset: small``: what small models, up to some billion parameters, are asked and how they are sampled."""

from typing import Any

from streamdocs.recipes import RECIPES


def with_small_prompts(fields: Any) -> Any:
    """The fields of a run, with what its preset fills in; what is wrong is told by the fields themselves."""
    if not isinstance(fields, dict) or fields.get("preset") != "small":
        return fields
    generator, streams = fields.get("generator", {}), fields.get("streams")
    if isinstance(generator, dict):
        generator = {"temperature": 0.5, "top_p": 0.9, **generator}
    if isinstance(streams, dict):
        streams = {name: with_short_prompt(stream) for name, stream in streams.items()}
    return {**with_short_prompt(fields), "generator": generator, "streams": streams}


def with_short_prompt(fields: Any) -> Any:
    """Fields with a recipe, whose prompt is the short one where they name none."""
    recipe = fields.get("recipe") if isinstance(fields, dict) else None
    if not isinstance(recipe, dict) or recipe.get("name") not in [*RECIPES]:
        return fields
    of = RECIPES[recipe["name"]]
    if recipe.get("styles") or of.default_styles or not of.takes_styles:  # which have prompts of their own
        return fields
    return {**fields, "recipe": {"prompt": f"short-{RECIPES[recipe['name']].kind}", **recipe}}
