"""The page docs/run-file.md: every field of a run file with its type, its default and its sentence.

``python docs/run_file.py > docs/run-file.md`` writes it. Types and defaults are those that a run file is checked
against, sentences those of the classes' docstrings (``Args``), so a field without one is an error here.
"""

import dataclasses
import json
from collections.abc import Iterator
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticUndefined

from streamdocs import Program, Recipe, Step, StreamingMegadocDataset
from streamdocs.checks import schema
from streamdocs.config import RunFile
from streamdocs.corpus import Condition
from streamdocs.recipes import RECIPES
from streamdocs.recipes.keys import Generator
from streamdocs.recipes.rules import ErrorRule
from streamdocs.sections import BudgetSection, DecontaminateSection, MixSection, ServerSection, StreamSection
from streamdocs.steering.controllers import CONTROLLERS, FIXED
from streamdocs.writers import GeneratorSection, WriterSection
from streamdocs_server.gates.gates import Gates

#: Each part of a run file, and whose words are taken for the fields that it has no words for.
SECTIONS: dict[str, tuple[type, ...]] = {
    "": (RunFile, StreamingMegadocDataset),
    "streams.NAME": (StreamSection,),
    "generator": (GeneratorSection, Generator),
    "writers.NAME": (WriterSection, GeneratorSection, Generator),
    "mix": (MixSection, StreamingMegadocDataset),
    "server": (ServerSection, StreamingMegadocDataset),
    "server.budget": (BudgetSection,),
    "server.decontaminate": (DecontaminateSection,),
    "server.gates": (Gates,),
    "where": (Condition,),
}

HEAD = """\
# The run file, field by field

One YAML file that trainer and server both read (`StreamingMegadocDataset.from_run_file`, `streamdocs-server`). A field
that is not here is an error, and so is a value of another type, but that a word may stand for what it says (`"512"`,
`"100k"`, `"false"`); relative paths are relative to the file.
[recipes.md](recipes.md) has an example. This page is made from the code: `python docs/run_file.py`.
"""


def page() -> str:
    """The page in Markdown."""
    parts = [HEAD]
    for section, (kind, *others) in SECTIONS.items():
        parts.append(f"## `{section}`\n" if section else "## At the top\n")
        parts.append(table(fields(kind), sentences(kind, *others)))
    parts.append("## `recipe`\n\nFields of every recipe, beside its `name`; `styles` are in [styles.md](styles.md).\n")
    parts.append(table(fields(Recipe), sentences(Recipe)))
    parts.append("## `recipe.errors`\n\nWhich documents rounds say more of: see [errors.md](errors.md).\n")
    parts.append(table(fields(ErrorRule), sentences(ErrorRule)))
    common = [*fields(Recipe)]
    for name, recipe in RECIPES.items():
        parts.append(f"## `recipe`, with `name: {name}`\n\n{first_line(recipe)}\n")
        own = [field for field in fields(recipe) if field not in common]
        if recipe.default_styles:
            own.append(("styles", dict[str, int], dict(recipe.default_styles)))
        if own:
            parts.append(table(iter(own), sentences(recipe)))
    for name, controller in CONTROLLERS.items():
        parts.append(f"## `mix.controller`, with `name: {name}`\n\n{first_line(controller)}\n")
        parts.append(table(fields(controller), sentences(controller)))
    for kind, what in ((Program, "A file with a program"), (Step, "One of its `steps`")):
        parts.append(f"## {what}\n\n{first_line(kind)}\n")
        parts.append(table(fields(kind), sentences(kind)))
    return "\n".join(parts)


def fields(kind: type) -> Iterator[tuple[str, Any, Any]]:
    """Name, type and default of each field; ``...`` where it has to be given."""
    if issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            default = ... if field.default is PydanticUndefined else field.default
            yield name, Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation, default
        return
    hints = get_type_hints(kind, include_extras=True)
    for each in (field for field in dataclasses.fields(kind) if field.metadata.get("in_file", True)):
        given = each.default if each.default is not dataclasses.MISSING else ...
        yield each.name, hints[each.name], None if each.default_factory is not dataclasses.MISSING else given


def table(rows: Iterator[tuple[str, Any, Any]], words: dict[str, str]) -> str:
    """Rows of a table in Markdown."""
    lines = ["| field | type | default | |", "|---|---|---|---|"]
    for name, kind, default in rows:
        lines.append(f"| `{name}` | {type_of(name, kind)} | {default_of(name, default)} | {words[name]} |")
    return "\n".join(lines) + "\n"


def sentences(*kinds: type) -> dict[str, str]:
    """What docstrings say of each field, as a cell of a table."""
    return {name: _cell(text) for name, text in schema.sentences(*kinds).items()}


def first_line(kind: type) -> str:
    """What a class is, in its own words."""
    return _cell(schema.first_line(kind))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def type_of(name: str, kind: Any) -> str:
    """A type in words."""
    named = {"recipe": "below", "errors": "[below](#recipeerrors)", **{each: f"[below](#{each})" for each in SECTIONS}}
    if name in named:
        return f"section, see {named[name]}"
    if name == "controller":
        return f"{' or '.join(f'`{each}`' for each in [FIXED, *CONTROLLERS])}, or a section with that `name`, see below"
    if name in ("gates", "budget", "decontaminate"):
        return f"section, see [below](#server{name})"
    if name == "streams" or (name == "writers" and "WriterSection" in str(kind)):
        return f"sections by name, see [below](#{name}name)"
    if name == "steps":
        return "a list of sections, see below"
    return " or ".join(dict.fromkeys(_words(TypeAdapter(kind).json_schema())))


def _words(schema: dict[str, Any]) -> Iterator[str]:
    for each in schema.get("anyOf", [schema]):
        if "enum" in each or "const" in each:
            yield from (f"`{value}`" for value in each.get("enum", [each.get("const")]))
        elif each["type"] == "array":
            yield f"{' or '.join(_words(each['items']))}, or a list of them"
        elif each["type"] != "null":
            yield _NAMES[each["type"]] + "".join(
                f" {sign} {each[key]:g}" for key, sign in _LIMITS.items() if key in each
            )


_NAMES = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "`true` or `false`",
    "object": "section",
}
_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}


def default_of(name: str, default: Any) -> str:
    """A default as it stands in YAML; nothing where a field is left out or a section."""
    if default is ...:
        return "needed"
    if default is None or isinstance(default, BaseModel) or default in ((), {}, ""):
        return "the packaged one" if name == "prompt" else ""
    return f"`{default if isinstance(default, str) and default.isprintable() else json.dumps(default)}`"


if __name__ == "__main__":
    print(page(), end="")
