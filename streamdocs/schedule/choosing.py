"""Choosing: which generations of each document its unit is made of."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Bools, Ints
from streamdocs.recipes import WEB_UNIT, Recipe
from streamdocs.schedule.packing import Units


class Shelf(Protocol):
    """What a store holds at one moment."""

    @property
    def watermark(self) -> int:
        """(round, document) items resolved, in the order of generation."""

    def all_lengths(self, documents: Ints, rounds: Ints) -> npt.NDArray[np.uint32]:
        """uint32 (items, generations of a round): tokens of each generation; 0 for a rejected or lost one."""

    def all_checksums(self, units: Units) -> npt.NDArray[np.uint64]:
        """uint64 (generations,): of the tokens of each generation of some units; 0 for a lost one."""


class Chooser:
    """Makes units of documents, by the rules of one recipe. An example: docs/worked-example.md.

    Args:
        recipe: How many rounds a unit draws on, and in which order its generations stand.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._places = np.array([recipe.place_of_slot(slot) for slot in range(recipe.generations)], np.int64)

    def units(self, documents: Ints, newest: Ints, slots: Ints | None, shelf: Shelf) -> tuple[Units, Bools]:
        """Units of documents from their newest rounds, and which documents gave one.

        A document whose generations were all rejected or lost gives none.
        """
        if slots is None:
            owner, rounds, numbers, tokens = self._together(documents, newest, shelf)
            given = np.zeros(len(documents), np.bool_)
        else:
            owner, rounds, numbers, tokens = self._one_by_one(documents, newest, slots, shelf)
            given = slots == WEB_UNIT
        accepted = tokens > 0
        counts = np.bincount(owner[accepted], minlength=len(documents))
        given |= counts > 0
        generations = (column[accepted] for column in (rounds, numbers, tokens))
        return Units(documents[given], counts[given], *generations), given

    def _together(self, documents: Ints, newest: Ints, shelf: Shelf) -> tuple[Ints, Ints, Ints, Ints]:
        """All newest generations of each document as its unit has them: index of document, round, number, tokens."""
        recipe = self._recipe
        first = np.maximum(newest - recipe.cycle + 1, 0)
        counts = newest - first + 1
        owner = np.repeat(np.arange(len(documents)), counts)
        rounds = newest[owner] + 1 - np.cumsum(counts)[owner] + np.arange(len(owner))
        tokens = shelf.all_lengths(documents[owner], rounds).ravel().astype(np.int64)
        owner, rounds = np.repeat(owner, recipe.round_size), np.repeat(rounds, recipe.round_size)
        numbers = np.arange(len(owner)) % recipe.round_size
        slots = rounds % recipe.cycle * recipe.round_size + numbers
        order = np.lexsort((self._places[slots], owner))
        return owner[order], rounds[order], numbers[order], tokens[order]

    def _one_by_one(self, documents: Ints, newest: Ints, slots: Ints, shelf: Shelf) -> tuple[Ints, Ints, Ints, Ints]:
        """The newest generation for one slot of each document, but for web units."""
        owner = np.flatnonzero(slots != WEB_UNIT)
        phases, numbers = np.divmod(slots[owner], self._recipe.round_size)
        rounds = newest[owner] - (newest[owner] - phases) % self._recipe.cycle
        tokens = shelf.all_lengths(documents[owner], rounds)[np.arange(len(owner)), numbers]
        return owner, rounds, numbers, tokens.astype(np.int64)
