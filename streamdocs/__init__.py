"""streamdocs: web text and megadocs for language-model pre-training, mixed while they are being written."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamdocs.config import RunFile
    from streamdocs.dataset import StreamingMegadocDataset
    from streamdocs.reading.assembly import Segment
    from streamdocs.recipes import Recipe, Rephrase, Stitch, Stretch
    from streamdocs.recipes.keys import Generator

__all__ = ["Generator", "Recipe", "Rephrase", "RunFile", "Segment", "Stitch", "StreamingMegadocDataset", "Stretch"]

# Importing torch and streaming takes seconds, and `streamdocs info` needs neither.
_MODULES = {
    "Generator": "recipes.keys",
    "RunFile": "config",
    "Segment": "reading.assembly",
    "StreamingMegadocDataset": "dataset",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'streamdocs' has no attribute {name!r}")
    return getattr(import_module(f"streamdocs.{_MODULES.get(name, 'recipes')}"), name)
