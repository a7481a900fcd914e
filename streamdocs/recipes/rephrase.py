"""Simple rephrasing: every generation is a short document of its own."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from streamdocs._base.arrays import Ints
from streamdocs._base.hashing import seeded_numbers
from streamdocs.recipes.base import WEB_UNIT, Recipe
from streamdocs.recipes.layout import WEB_LAYOUT, Layout


@dataclass(frozen=True, kw_only=True)
class Rephrase(Recipe):
    """Simple rephrasing: every generation is a document of its own, and so is the web document (unless ``web=False``).

    A pass goes over the documents G (+1) times, each time in another order and with another of their units.

    Args:
        web: Whether the web document is read, too, once in a pass.
    """

    name: ClassVar[str] = "rephrase"

    web: bool = True

    @property
    def unit_layout(self) -> Layout:
        """BOS, the rephrase or the document, EOS."""
        return WEB_LAYOUT

    @property
    def reads_documents(self) -> bool:
        """As ``web`` says."""
        return self.web

    @property
    def sweeps(self) -> int:
        """G, and one for the web document."""
        return self.generations + self.web

    def slots_of_sweep(self, sweep: int, documents: Ints, seed: int) -> Ints:
        """Slots in rising order, the web document in between at a place that differs by document.

        So sweep s needs no slot above s (the generator is never asked for more), and web documents are spread evenly.
        """
        slots = np.full(len(documents), sweep, np.int64)
        if not self.web:
            return slots
        place = (seeded_numbers(documents, seed, "web unit") % np.uint64(self.sweeps)).astype(np.int64)
        slots -= sweep > place
        slots[place == sweep] = WEB_UNIT
        return slots

    def order_of_round(self, round: int) -> int:
        """The sweep that reads the round's first slot."""
        passes, in_cycle = divmod(round, self.cycle)
        return passes * self.sweeps + in_cycle * self.round_size

    def last_round_wanted(self, sweep: int) -> int:
        """The round of the sweep's own slot."""
        passes, in_pass = divmod(sweep, self.sweeps)
        return passes * self.cycle + min(in_pass // self.round_size, self.cycle - 1)
