"""Recipes: what a document becomes.

A recipe says which generations it needs of a document and how a *unit* (one document of the training stream) is laid
out from them. The three are those of "Data-efficient pre-training by scaling synthetic megadocs" (arXiv 2603.18534).

Generations come in rounds of ``per_round`` a document. Every generation has a *slot*, 0 to ``generations`` - 1; round r
fills ``per_round`` of them, and after ``cycle`` rounds all are filled. Later rounds fill the same slots anew, so a unit
always uses the newest ``generations`` there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict

from streamdocs._base.arrays import Ints
from streamdocs._base.hashing import digest128, seeded_numbers
from streamdocs.errors import ConfigError
from streamdocs.recipes.layout import WEB_LAYOUT, Layout, Part
from streamdocs.recipes.prompts import load_prompt, placeholders
from streamdocs.recipes.requests import Request

#: In ``slots_of_sweep``: this sweep reads the web document itself.
WEB_UNIT = -1

#: Most generations of a document, tokens of each, and rounds: what is worked out for a document has to fit in memory,
#: and the number of a round in 32 bits.
MOST_GENERATIONS, MOST_TOKENS, MOST_ROUNDS = 4096, 1 << 24, 1 << 31


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the three recipes have in common.

    Args:
        generations: Generations a unit draws on, G.
        per_round: Generations asked for at once, a divisor of G; default G.
        rounds: Rounds in all; ``"enough"`` (default) is as many as G needs, ``None`` endless: always fresh ones.
        prompt: Text of the prompt, with its placeholders.
        max_tokens: Most new tokens of one generation.

    Raises:
        ConfigError: A number that cannot be, or a prompt without its placeholder.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")  # where a run file is read

    name: ClassVar[str]
    kind: ClassVar[Literal["rephrase", "thought"]]
    fields: ClassVar[tuple[str, ...]]

    generations: int
    per_round: int | None = None
    rounds: int | Literal["enough"] | None = "enough"
    prompt: str = ""
    max_tokens: int = 0

    def __post_init__(self) -> None:
        if self.generations < 1:
            raise ConfigError(f"{self.name}: generations={self.generations}; at least one is needed")
        if self.generations > MOST_GENERATIONS:
            raise ConfigError(f"{self.name}: generations={self.generations}; at most {MOST_GENERATIONS:,}")
        if isinstance(self.rounds, int) and self.rounds > MOST_ROUNDS:
            raise ConfigError(f"{self.name}: rounds={self.rounds}; at most {MOST_ROUNDS:,}, or null for endless ones")
        if self.round_size < 1 or self.generations % self.round_size:
            raise ConfigError(f"{self.name}: per_round={self.per_round} does not divide generations={self.generations}")
        if isinstance(self.rounds, int) and self.rounds < self.cycle:
            raise ConfigError(
                f"{self.name}: rounds={self.rounds}, but {self.cycle} are needed to fill {self.generations} slots"
            )
        missing = set(self.fields) - placeholders(self.prompt)
        if missing:
            raise ConfigError(f"{self.name}: the prompt lacks the placeholder {{{sorted(missing)[0]}}}")
        if not 1 <= self.max_tokens <= MOST_TOKENS:
            raise ConfigError(f"{self.name}: max_tokens={self.max_tokens}; from 1 to {MOST_TOKENS:,}")

    @property
    def round_size(self) -> int:
        """Generations a document in one round."""
        return self.generations if self.per_round is None else self.per_round

    @property
    def cycle(self) -> int:
        """Rounds that fill every slot once."""
        return self.generations // self.round_size

    @property
    def total_rounds(self) -> int | None:
        """Rounds in all, None for endless."""
        return self.cycle if self.rounds == "enough" else self.rounds

    @property
    def layout(self) -> Layout:
        """How a unit is laid out."""
        raise NotImplementedError

    @property
    def reads_documents(self) -> bool:
        """Whether a pass over all units also reads every web document once."""
        return True

    @property
    def sweeps(self) -> int:
        """Units a document, and so how often a pass over all units goes over the documents."""
        return 1

    def slots_of_sweep(self, sweep: int, documents: Ints, seed: int) -> Ints | None:
        """The slot that sweep ``sweep`` of a pass reads of each document; None where it reads all together."""
        return None

    def order_of_round(self, round: int) -> int:
        """The sweep in whose order of documents a round is generated: the first that can want it."""
        return round

    def last_round_wanted(self, sweep: int) -> int:
        """The newest round that sweep ``sweep`` (counted from the start of the run) wants."""
        return sweep + self.cycle - 1

    def slots_of_round(self, round: int) -> range:
        """The slots that a round fills."""
        first = round % self.cycle * self.round_size
        return range(first, first + self.round_size)

    def request_part(self, round: int, tokenizer_digest: str) -> list[Any]:
        """What goes into the key of a generation: everything about the request that can change the text."""
        return [self.kind, digest128(self.prompt.encode()), self.max_tokens, self.round_size]

    def requests(self, text: str, offsets: Sequence[tuple[int, int]], round: int) -> list[Request]:
        """The requests of one round for a document of ``text``, whose tokens lie at these character ``offsets``."""
        return [self._request({"document": text}, self.round_size)]

    def cuts(self, tokens: Ints, slots: Ints) -> Ints:
        """Token index at which the generation of each slot goes into its document of ``tokens`` tokens."""
        return np.zeros(np.broadcast(tokens, slots).shape, np.int64)

    def place_of_slot(self, slot: int) -> int:
        """Where a slot's generation stands among the others of its unit."""
        return slot

    def _request(self, fields: dict[str, str], n: int) -> Request:
        return Request(kind=self.kind, template=self.prompt, fields=fields, n=n, max_tokens=self.max_tokens)


@dataclass(frozen=True, kw_only=True)
class Rephrase(Recipe):
    """Simple rephrasing: every generation is a document of its own, and so is the web document (unless ``web=False``).

    A pass goes over the documents G (+1) times, each time in another order and with another of their units.
    """

    name: ClassVar[str] = "rephrase"
    kind: ClassVar[Literal["rephrase", "thought"]] = "rephrase"
    fields: ClassVar[tuple[str, ...]] = ("document",)

    web: bool = True
    prompt: str = field(default_factory=lambda: load_prompt("rephrase"))
    max_tokens: int = 1024

    @property
    def layout(self) -> Layout:
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


@dataclass(frozen=True, kw_only=True)
class Stitch(Recipe):
    """Stitched rephrasing: the rephrases of a document and the document itself as one document, a megadoc.

    Args:
        web: Where the web document stands: ``"last"`` (best in the paper), ``"first"`` or ``"none"``.
        separator: Text between the parts.
    """

    name: ClassVar[str] = "stitch"
    kind: ClassVar[Literal["rephrase", "thought"]] = "rephrase"
    fields: ClassVar[tuple[str, ...]] = ("document",)

    web: Literal["last", "first", "none"] = "last"
    separator: str = "\n\n"
    prompt: str = field(default_factory=lambda: load_prompt("rephrase"))
    max_tokens: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.web not in ("last", "first", "none"):
            raise ConfigError(f"stitch: web={self.web!r}; it is 'last', 'first' or 'none'")

    @property
    def reads_documents(self) -> bool:
        """As ``web`` says."""
        return self.web != "none"

    @property
    def layout(self) -> Layout:
        """BOS, the parts with a separator in between, EOS."""
        if self.web == "last":
            return Layout((Part.BOS,), (Part.GENERATION, Part.SEPARATOR), (Part.DOCUMENT, Part.EOS))
        if self.web == "first":
            return Layout((Part.BOS, Part.DOCUMENT), (Part.SEPARATOR, Part.GENERATION), (Part.EOS,))
        return Layout((Part.BOS,), (Part.SEPARATOR, Part.GENERATION), (Part.EOS,), skip_first=True)


@dataclass(frozen=True, kw_only=True)
class Stretch(Recipe):
    """Latent thoughts: the document's tokens are cut into G + 1 equal pieces, with a thought at every cut.

    Each thought is generated from the text before its cut and the text after it.

    Args:
        open_mark: Text before a thought; where it is a special token of the tokenizer, it becomes that token.
        close_mark: Text after a thought, likewise.
    """

    name: ClassVar[str] = "stretch"
    kind: ClassVar[Literal["rephrase", "thought"]] = "thought"
    fields: ClassVar[tuple[str, ...]] = ("before", "after")

    open_mark: str = "<think>"
    close_mark: str = "</think>"
    prompt: str = field(default_factory=lambda: load_prompt("thought"))
    max_tokens: int = 512

    @property
    def layout(self) -> Layout:
        """BOS, then pieces of the document with marked thoughts in between, EOS."""
        each = (Part.OPEN, Part.GENERATION, Part.CLOSE, Part.DOCUMENT_NEXT)
        return Layout((Part.BOS, Part.DOCUMENT_HEAD), each, (Part.EOS,))

    def request_part(self, round: int, tokenizer_digest: str) -> list[Any]:
        """Also which cuts, in tokens of which tokenizer."""
        cuts = [self.place_of_slot(slot) for slot in self.slots_of_round(round)]
        return [*super().request_part(round, tokenizer_digest), self.generations, cuts, tokenizer_digest]

    def requests(self, text: str, offsets: Sequence[tuple[int, int]], round: int) -> list[Request]:
        """One request a cut, in the order of the document, so that a server's prefix cache serves what they share."""
        slots = np.array(self.slots_of_round(round))
        starts = [start for start, _ in offsets] + [len(text)]
        places = [starts[cut] for cut in self.cuts(np.array(len(offsets)), slots)]
        return [self._request({"before": text[:place], "after": text[place:]}, 1) for place in places]

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


#: Texts around and between the parts of a unit by default. A corpus comes with their tokens: few runs load a tokenizer.
MARKS = (Stitch.separator, Stretch.open_mark, Stretch.close_mark)

RECIPES: dict[str, type[Rephrase] | type[Stitch] | type[Stretch]] = {r.name: r for r in (Rephrase, Stitch, Stretch)}
