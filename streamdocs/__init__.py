"""streamdocs: web text and megadocs for language-model pre-training, mixed while they are being written."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamdocs.config import RunFile
    from streamdocs.dataset import StreamingMegadocDataset
    from streamdocs.reading.assembly import Segment
    from streamdocs.recipes import (
        Answer,
        Append,
        Correct,
        Judge,
        Recipe,
        Rephrase,
        Stitch,
        Stretch,
        SynthLLM,
        Template,
        Think,
    )
    from streamdocs.recipes.keys import Generator
    from streamdocs.recipes.programs.program import Program, Step
    from streamdocs.recipes.rules import ErrorRule

__all__ = [
    "Answer",
    "Append",
    "Correct",
    "ErrorRule",
    "Generator",
    "Judge",
    "Program",
    "Recipe",
    "Rephrase",
    "RunFile",
    "Segment",
    "Step",
    "Stitch",
    "StreamingMegadocDataset",
    "Stretch",
    "SynthLLM",
    "Template",
    "Think",
]

# Importing torch and streaming takes seconds, and `streamdocs info` needs neither.
_MODULES = {
    "ErrorRule": "recipes.rules",
    "Generator": "recipes.keys",
    "Program": "recipes.programs.program",
    "Step": "recipes.programs.program",
    "RunFile": "config",
    "Segment": "reading.assembly",
    "StreamingMegadocDataset": "dataset",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'streamdocs' has no attribute {name!r}")
    return getattr(import_module(f"streamdocs.{_MODULES.get(name, 'recipes')}"), name)
