"""Latent thoughts: a document stretched by what was thought at each of its cuts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np

from streamdocs._base.arrays import Ints
from streamdocs.errors import ConfigError
from streamdocs.recipes.base import MostTokens, Recipe
from streamdocs.recipes.layout import Layout, Part
from streamdocs.recipes.prompts import load_prompt
from streamdocs.recipes.request import Request


@dataclass(frozen=True, kw_only=True)
class Stretch(Recipe):
    """Latent thoughts: the document is cut into G + 1 pieces of as many tokens, with a thought at every cut.

    Each thought is generated from the text before its cut and the text after it.

    Args:
        cut_at: ``"word"`` moves each cut to the nearest whitespace, or where none is near to the nearest character;
            ``"token"`` leaves it between any two tokens, which may be within a word or a character.
        open_mark: Text before a thought; where it is a special token of the tokenizer, it becomes that token.
        close_mark: Text after a thought, likewise.
    """

    name: ClassVar[str] = "stretch"
    kind: ClassVar[Literal["rephrase", "thought"]] = "thought"

    cut_at: Literal["word", "token"] = "word"
    open_mark: str = "<think>"
    close_mark: str = "</think>"
    prompt: str = field(default_factory=lambda: load_prompt("thought"), repr=False)
    max_tokens: MostTokens = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cut_at not in ("word", "token"):
            raise ConfigError(f"stretch: cut_at={self.cut_at!r}; it is 'word' or 'token'")

    @property
    def fields(self) -> tuple[str, ...]:
        """What stands around a cut."""
        return ("before", "after")

    @property
    def unit_layout(self) -> Layout:
        """BOS, then pieces of the document with marked thoughts in between, EOS."""
        each = (Part.OPEN, Part.GENERATION, Part.CLOSE, Part.DOCUMENT_NEXT)
        return Layout((Part.BOS, Part.DOCUMENT_HEAD), each, (Part.EOS,))

    @property
    def identity(self) -> dict[str, Any]:
        """Without ``cut_at`` where it is ``"token"``, which is all that there was before it."""
        return {name: value for name, value in super().identity.items() if (name, value) != ("cut_at", "token")}

    def request_part(self, round: int, tokenizer_digest: str) -> list[Any]:
        """Also which cuts, in tokens of which tokenizer, and whether they are moved."""
        cuts = [self.place_of_slot(slot) for slot in self.slots_of_round(round)]
        moved = [self.cut_at] if self.cuts_at_boundaries else []
        return [*super().request_part(round, tokenizer_digest), self.generations, cuts, tokenizer_digest, *moved]

    def requests(self, text: str, places: Sequence[int], round: int) -> list[Request]:
        """One request a cut, in the order of the document, so that a server's prefix cache serves what they share."""
        return [self._request(fields, 1) for fields in self.sources(text, places)]

    def sources(self, text: str, places: Sequence[int]) -> list[dict[str, str]]:
        """The text before each cut, and the text after it."""
        return [{"before": text[:place], "after": text[place:]} for place in places]

    @property
    def cuts_at_boundaries(self) -> bool:
        """As ``cut_at`` says."""
        return self.cut_at == "word"

    def cuts(self, tokens: Ints, slots: Ints) -> Ints:
        """floor(tokens * (cut + 1) / (G + 1)): G + 1 pieces whose lengths differ by at most one."""
        table = np.array([self.place_of_slot(slot) for slot in range(self.generations)])
        return tokens.astype(np.int64) * (table[slots] + 1) // (self.generations + 1)

    def place_of_slot(self, slot: int) -> int:
        """Each round takes every ``cycle``-th cut, shifted so that the first n rounds are always evenly spread."""
        round, number = divmod(slot, self.round_size)
        return number * self.cycle + spread_order(self.cycle)[round]


@lru_cache
def spread_order(size: int) -> tuple[int, ...]:
    """Order of ``range(size)``, seen as a circle, in which each next place is as far as can be from those before."""
    places = np.arange(size)
    chosen, distance = [], np.full(size, size)
    place = size // 2
    for _ in range(size):
        chosen.append(place)
        apart = np.abs(places - place)
        distance = np.minimum(distance, np.minimum(apart, size - apart))
        place = int(np.argmax(distance))  # the first of those that are as far
    return tuple(chosen)
