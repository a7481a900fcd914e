"""streamdocs: web text and megadocs for language-model pre-training, mixed while they are being written."""

from streamdocs.assembly import Segment
from streamdocs.config import RunFile
from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.keys import Generator
from streamdocs.recipes import Recipe, Rephrase, Stitch, Stretch

__all__ = [
    "Generator",
    "Recipe",
    "Rephrase",
    "RunFile",
    "Segment",
    "Stitch",
    "StreamingMegadocDataset",
    "Stretch",
]
