"""The JSON schema of run files, made from what they are checked against, with the sentences of its docstrings."""

import functools
import inspect
import re
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from streamdocs.config import RunFile
from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.recipes import RECIPES
from streamdocs.recipes.keys import Generator
from streamdocs.sections import BudgetSection, DecontaminateSection, MixSection, Section, ServerSection, StreamSection
from streamdocs.steering.controllers import CONTROLLERS, FIXED
from streamdocs.writers import GeneratorSection, WriterSection

#: Whose words are taken for the fields of each part of a run file, after its own.
WORDS: dict[type, tuple[type, ...]] = {
    RunFile: (StreamingMegadocDataset,),
    StreamSection: (),
    GeneratorSection: (Generator,),
    WriterSection: (GeneratorSection, Generator),
    MixSection: (StreamingMegadocDataset,),
    ServerSection: (StreamingMegadocDataset,),
    BudgetSection: (),
    DecontaminateSection: (),
}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: In a list of arguments, or in one with dashes: the names, and all that is said of them.
_ENTRIES = (
    re.compile(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", re.MULTILINE),
    re.compile(r"^- (``\w+``(?:, ``\w+``)*): (.*(?:\n {2}.*)*)", re.MULTILINE),
)


def run_file_schema() -> dict[str, Any]:
    """The schema of a run file, of the draft 2020-12."""
    found = RunFile.model_json_schema(schema_generator=_OfRunFiles)
    parts: dict[str, Any] = found["$defs"]
    for kind, others in WORDS.items():
        _describe(found if kind is RunFile else parts.get(kind.__name__, {}), sentences(kind, *others))
    # Values may stand for a condition.
    values = {"type": ["number", "string", "boolean", "array"]}
    parts["Condition"] = {"if": {"type": "object"}, "then": parts["Condition"], "else": values}
    parts["Recipe"] = _one_of([_named(name, kind, parts) for name, kind in RECIPES.items()])
    sections = _one_of([_named(name, kind, parts) for name, kind in CONTROLLERS.items()], FIXED)
    parts["Controller"] = {"if": {"type": "object"}, "then": sections, "else": {"enum": [FIXED, *CONTROLLERS, None]}}
    return {"$schema": _DIALECT, **found, "title": "A run of streamdocs"}


def sentences(*kinds: type) -> dict[str, str]:
    """What the docstrings of some classes, and of those that they extend, say of each field; the first has the word."""
    found: dict[str, str] = {}
    for each in (base for kind in kinds for base in kind.__mro__ if base not in (Section, BaseModel)):
        doc = inspect.cleandoc(each.__doc__ or "")
        for names, sentence in (entry for pattern in _ENTRIES for entry in pattern.findall(doc)):
            text = plain(" ".join(sentence.split()))
            found = dict.fromkeys(re.findall(r"\w+", names), text[:1].upper() + text[1:]) | found
    return found


def first_line(kind: type) -> str:
    """What a class is, in its own words."""
    return plain((kind.__doc__ or "").partition("\n")[0])


def plain(text: str) -> str:
    """Words of a docstring, with what is Python's as YAML has it."""
    words = {"``": "`", "None": "null", "=False": ": false"}
    return functools.reduce(lambda text, word: text.replace(word, words[word]), words, text)


def _describe(part: dict[str, Any], words: dict[str, str]) -> None:
    part.pop("description", None)
    for name, field in part.get("properties", {}).items():
        if name in words:
            field["description"] = words[name]


class _OfRunFiles(GenerateJsonSchema):
    """Also says what may be written in a file in place of what a field holds in the end.

    As far as can be, of what may be one thing or another, errors are those of the one that it is.
    """

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """Numbers may be words, as "64gb"; one may stand for a list of one."""
        found, name = super().function_before_schema(schema), getattr(schema["function"]["function"], "__name__", "")
        if name == "_number":
            return _either([found, {"type": "string"}])
        if name == "_one_or_several" and "items" in found:
            one = {"if": {"not": {"type": "null"}}, "then": found["items"]}
            return {"if": {"type": "array"}, "then": found, "else": one}
        return found

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Null is one thing, and what has fields or names another."""
        inner = self.generate_inner(schema["schema"])
        if {"$ref", "patternProperties", "additionalProperties"} & {*inner}:
            return {"if": {"not": {"type": "null"}}, "then": inner}
        return _either([inner, {"type": "null"}])

    def union_schema(self, schema: core_schema.UnionSchema) -> JsonSchemaValue:
        """Limits of numbers say nothing of text, and the other way about."""
        found = super().union_schema(schema)
        return _either(found["anyOf"]) if "anyOf" in found else found

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Names of another form are none."""
        found = super().dict_schema(schema)
        return {**found, "additionalProperties": False} if "patternProperties" in found else found


def _either(kinds: list[JsonSchemaValue]) -> JsonSchemaValue:
    """What may be of several types: in one, where each is plain, or else as alternatives."""
    types = [type for each in kinds for type in _types(each)]
    if len({*types}) < len(types) or not all(map(_types, kinds)):
        return {"anyOf": kinds}
    return {**functools.reduce(lambda one, other: {**one, **other}, kinds), "type": types}


def _types(schema: JsonSchemaValue) -> list[str]:
    """Those of a schema whose other words are about these alone; none of another."""
    found = (
        schema.get("type", [])
        if not {"enum", "const", "items", "properties", "additionalProperties"} & {*schema}
        else []
    )
    return [found] if isinstance(found, str) else found


def _one_of(sections: list[JsonSchemaValue], *others: str) -> JsonSchemaValue:
    """The section of those with a name that has it: what is wrong is said of that one alone."""
    names = [each["title"] for each in sections]
    return {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"enum": [*others, *names]}},
        "allOf": [
            {
                "if": {"type": "object", "required": ["name"], "properties": {"name": {"const": name}}},
                "then": each,
            }
            for name, each in zip(names, sections, strict=True)
        ],
    }


def _named(name: str, kind: type, parts: dict[str, Any]) -> JsonSchemaValue:
    """A section that has a name, and the fields of a class; what it refers to goes to ``parts``."""
    found = TypeAdapter(kind).json_schema(schema_generator=_OfRunFiles)
    for other, part in found.pop("$defs", {}).items():
        parts.setdefault(other, part)
    _describe(found, sentences(kind))
    properties = {"name": {"const": name}, **found.get("properties", {})}
    required = ["name", *found.get("required", [])]
    said = {"title": name, "description": first_line(kind), "additionalProperties": False}
    return {**found, **said, "properties": properties, "required": required}
