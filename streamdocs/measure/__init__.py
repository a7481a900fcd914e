"""What a recipe is worth: loss on held-out text, data efficiency, and scaling laws.

The measure is that of *Data-efficient pre-training by scaling synthetic megadocs* (arXiv 2603.18534).
"""

from streamdocs.measure.heldout import DocumentSet, held_out
from streamdocs.measure.loss import Loss, evaluate

__all__ = ["DocumentSet", "Loss", "evaluate", "held_out"]
