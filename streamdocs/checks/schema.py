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
    parts["Condition"] = {"anyOf": [parts["Condition"], {"type": ["number", "string", "boolean", "array"]}]}
    names = {"enum": [FIXED, *CONTROLLERS]}
    parts["Recipe"] = {"oneOf": [_named(name, kind, parts) for name, kind in RECIPES.items()]}
    parts["Controller"] = {"anyOf": [names, *(_named(name, kind, parts) for name, kind in CONTROLLERS.items())]}
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
    """Also says what may be written in a file in place of what a field holds in the end."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """Numbers may be words, as "64gb"; one may stand for a list of one."""
        found, name = super().function_before_schema(schema), getattr(schema["function"]["function"], "__name__", "")
        if name == "_number":
            return {"anyOf": [found, {"type": "string"}]}
        if name == "_one_or_several":
            return {"anyOf": [*([found["items"]] if "items" in found else []), found, {"type": "null"}]}
        return found


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
