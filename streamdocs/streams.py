"""Streams: what a run reads side by side, each packed by itself: web text, or units made of generations."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from streamdocs._base.arrays import Int32s, Ints
from streamdocs._base.hashing import canonical, digest128, fingerprint
from streamdocs.documents import Documents, constant_tokens, moved_cuts
from streamdocs.plans.drawing import Drawn, drawn
from streamdocs.plans.editions import Editions
from streamdocs.plans.hard import HardPlans
from streamdocs.plans.plans import Plans
from streamdocs.recipes import Recipe, Rephrase
from streamdocs.recipes.keys import FORMAT_VERSION, Generator, Key, Keyring, Writers
from streamdocs.recipes.layout import WEB_LAYOUT, Layout, Part
from streamdocs.recipes.programs.tasks import Task
from streamdocs.schedule.mixture import SYNTHETIC, Mixture, WhenBehind
from streamdocs.schedule.order import Shuffle, SourceOrder
from streamdocs.schedule.packing import Packer, Units
from streamdocs.schedule.rounds import GenerationOrder
from streamdocs.store import Store

#: In place of a stream's name: what is written for the graph, and not read.
CONCEPTS = "(concepts)"
#: Cycles between two items about one document: more than there are, and no multiple of any small number, by which the
#: choices of a program go.
_REPEAT = (1 << 32) + 15


class Author(NamedTuple):
    """How a generation comes to be: its style, or the recipe of one that has none; and the names of who writes it."""

    style: str
    writer: str


class GenerationScope:
    """What decides which generations are asked for, in which order and under which keys.

    Args:
        sources, recipe, writers, order: The stream's.
        stream: Its name.

    Raises:
        ConfigError: The recipe names a writer that there is not.
    """

    def __init__(
        self, sources: Documents, recipe: Recipe, writers: Writers, order: SourceOrder, stream: str = SYNTHETIC
    ) -> None:
        self.sources = sources
        self.corpus = corpus = sources.corpus
        self.recipe = recipe
        self.writers = writers
        self.order = order
        self.stream = stream
        self.generation_order = GenerationOrder(recipe, order)
        self.keyring = Keyring(recipe, writers, corpus.tokenizer_digest)
        asked = recipe.scope(corpus.tokenizer_digest)
        where, how = sources.identity, order.shuffle
        other = [stream] if how.shuffle and stream != SYNTHETIC else []
        #: Digest of those who write: one, or several by slot and step.
        self.written_by = self.generator.fingerprint
        if not recipe.is_plain:
            self.written_by = fingerprint([self.keyring.written_by(round) for round in range(recipe.cycle)])
        parts = [where[0], *asked, self.written_by, how.identity, *where[1:], *other]
        # Keys hold the version, so that what another one has resolved is not there for this one.
        self.id = digest128(canonical([FORMAT_VERSION, *parts]))
        #: Where items are about walks: who extracts the concepts of the graph, its editions, and which walks they have.
        self.concepts: GenerationScope | None = None
        self.editions: Editions | None = None
        self.plans: Plans | None = None
        if graph := recipe.graph:
            its = SourceOrder(sources.shard_sizes, order.shuffle, CONCEPTS, sources.chosen, len(corpus.documents))
            self.concepts = GenerationScope(sources, graph.concepts, writers, its, CONCEPTS)
            self.plans = Plans(self.id, sources, graph.walks)
        #: Where some items are about hard documents in the place of others: which.
        self.hard = HardPlans(self.id, sources, recipe.errors, recipe.cycle) if recipe.errors else None
        #: The same by field, to name those in which two scopes differ.
        self.fields: dict[str, Any] = {
            "corpus": corpus.digest,
            "recipe": f"{recipe.kind} {fingerprint(asked)}",
            "generations": recipe.generations,
            "per_round": recipe.round_size,
            "generator": f"{self.generator.model if recipe.is_plain else 'programs'} {self.written_by}",
            **how.fields,
            **({"documents": fingerprint(where[1:])} if where[1:] else {}),
            **({"stream": stream} if other else {}),
        }

    @property
    def generator(self) -> Generator:
        """The default writer."""
        return self.writers.default

    @property
    def is_read(self) -> bool:
        """Whether training reads what is written; concepts are for the graph alone."""
        return self.stream != CONCEPTS

    @property
    def is_planned(self) -> bool:
        """Whether what a round's items are about is sealed in its plan, which no exported ledger holds."""
        return bool(self.hard or self.plans)

    @property
    def writer_names(self) -> list[str]:
        """The names of those who write for it; "" is the default writer."""
        return self.recipe.writer_names

    def author(self, round: int, number: int) -> Author:
        """How a generation of a round comes to be, and who writes it."""
        if self.recipe.is_plain:
            return Author(self.recipe.name, self.generator.model)
        task = self.recipe.tasks[self.recipe.slots_of_round(round)[number]]
        names = dict.fromkeys(name or self.generator.model for name in task.team.writers)
        return Author(task.style, " + ".join(names))

    def attach(self, store: Store) -> None:
        """From now on, take from a store what was sealed of what items are about, where these are not documents."""
        if self.hard:
            self.hard.attach(store)
        if self.plans and self.concepts and self.recipe.graph:
            self.plans.attach(store)
            self.editions = Editions(store, self.concepts.id, self.recipe.graph)

    def text(self, document: int, round: int) -> str:
        """What the texts of an item may be copies of: its document, or those that are nearest to its walks."""
        if self.plans is None:
            return self.sources.text(self.about(document, round)[0])
        nearest = [number for each in self.walks(document, round) for number in each.walk.documents]
        return "\n\n".join(map(self.sources.text, dict.fromkeys(nearest)))

    def about(self, document: int, round: int) -> tuple[int, int]:
        """The document that an item is about, and the number of the item among those: 0 is a document's own."""
        return (document, 0) if self.hard is None else self.hard.item(document, round)

    def tasks(self, document: int, round: int) -> list[Task]:
        """How the text of each slot of an item comes to be: of items about one document, no two ask the same."""
        _, number = self.about(document, round)
        return [task.of_cycle(number * _REPEAT) for task in self.recipe.tasks_of_round(round)]

    def edition(self, round: int) -> int | None:
        """The number of the edition that a round's walks are from; None where items are about documents."""
        if not (self.plans and self.editions):
            return None
        return self.editions.find(self.plans.of_round(round).edition).number

    def walks(self, document: int, round: int) -> list[Drawn]:
        """The walk that each slot of a round is about, with its documents; none where items are about documents."""
        found = drawn(self.plans, self.editions, document, round) if self.plans and self.editions else []
        return [each for each in found for _ in range(self.recipe.round_size // len(found))]

    def key(self, document: int, round: int) -> Key:
        """Under which a round of generations of a document is."""
        if self.hard:
            return self.keyring.key(self.hard.digest(document, round), round)
        (digest,) = self._source_digests(np.array([document]), np.array([round]))
        return self.keyring.key(digest, round)

    def key_digests(self, documents: Ints, rounds: Ints) -> list[bytes]:
        """Those of the keys of many (document, round) items: thousands of keys would set off the garbage collector."""
        return self.keyring.digests(self._source_digests(documents, rounds), rounds.tolist())

    def key_checks(self, documents: Ints, rounds: Ints) -> list[bytes]:
        """The same of the checks."""
        return self.keyring.checks(self._source_digests(documents, rounds), rounds.tolist())

    def _source_digests(self, documents: Ints, rounds: Ints) -> list[bytes]:
        if self.hard:
            return self.hard.digests(documents, rounds)
        return self.plans.digests(documents, rounds) if self.plans else self.sources.digests(documents)

    def shares_with(self, other: "GenerationScope") -> bool:
        """Whether some generation of this scope may be one of another, too: they ask the same of the same writer."""

        def asked(scope: GenerationScope) -> set[bytes]:
            digest, recipe = scope.corpus.tokenizer_digest, scope.recipe
            parts = (recipe.request_part(round, digest) for round in range(recipe.cycle))
            return {canonical([scope.keyring.written_by(round), *part]) for round, part in enumerate(parts)}

        return not asked(self).isdisjoint(asked(other))

    def shares_steps_with(self, other: "GenerationScope") -> bool:
        """Whether what a step of a program gives may be wanted by a program of another scope, too.

        What is done once is not looked at: it stays as long as any round.
        """

        def steps(scope: GenerationScope) -> set[bytes]:
            teams = [] if scope.recipe.is_plain else [task.team for task in scope.recipe.tasks]
            return {step for team in teams for step in team.origins(lambda name: scope.writers[name].fingerprint)}

        return not steps(self).isdisjoint(steps(other))

    def cut_places(self, text: str, round: int) -> list[int]:
        """The characters of a document at which the generations of a round go in, in the order of their slots."""
        tokens, offsets = self.corpus.tokenizer.encode_offsets(text)
        slots = np.array(self.recipe.slots_of_round(round))
        cuts = self.recipe.cuts(np.array(len(tokens)), slots)
        if self.recipe.cuts_at_boundaries:
            cuts = self.corpus.boundaries.nearest(tokens, np.array([len(tokens)]), cuts, np.array([len(cuts)]))
        starts = [start for start, _ in offsets] + [len(text)]
        return [starts[cut] for cut in cuts.tolist()]


class Stream:
    """What all streams have: sources that come in an order, laid out in units by a packer.

    Args:
        name, number: Of the stream in its run.
        label: What its sequences are called where they are counted, and what makes its orders differ from others'.
        sources: What its units are about.
        shuffle: How these are shuffled.
        recipe: Where generations go.
        layout: The parts of a unit.
    """

    def __init__(
        self,
        name: str,
        number: int,
        label: str,
        sources: Documents,
        shuffle: Shuffle,
        recipe: Recipe,
        layout: Layout,
    ) -> None:
        self.name = name
        self.number = number
        self.label = label
        self.sources = sources
        self.corpus = corpus = sources.corpus
        self.recipe = recipe
        self.order = SourceOrder(sources.shard_sizes, shuffle, label, sources.chosen, len(corpus.documents))
        self.constants = constant_tokens(corpus, recipe)
        move = partial(moved_cuts, corpus, corpus.boundaries) if recipe.cuts_at_boundaries else None
        self.packer = Packer(recipe, layout, self.constants, move)

    def unit_tokens(self, units: Units) -> Ints:
        """int64 (units,): tokens of each unit."""
        return self.packer.unit_tokens(units, self.sources.tokens(units.documents))


class WebStream(Stream):
    """Web documents end to end, pass after pass, each in another order.

    Args:
        name, number, sources, shuffle: As of a Stream.
        label: Of one that stands in for a synthetic stream of this name; default the name.
    """

    def __init__(self, name: str, number: int, sources: Documents, shuffle: Shuffle, label: str | None = None) -> None:
        super().__init__(name, number, label or name, sources, shuffle, Rephrase(generations=1), WEB_LAYOUT)
        self._ends = sum(len(self.constants[part]) for part in (Part.BOS, Part.EOS))
        #: Tokens of a pass.
        self.tokens = sources.total_tokens + self._ends * len(sources)

    def document_tokens(self, documents: Ints | Int32s) -> Ints:
        """int64 (documents,): tokens of some documents as they are packed."""
        return self.sources.tokens(documents) + self._ends


class SyntheticStream(Stream):
    """Units made of sources and their generations, sealed window by window.

    Args:
        name, number, sources, recipe, shuffle: As of a Stream.
        mixture: Of the run.
        writers: Who writes.
        when_behind: What to do where generations are missing.
        max_reuse: How often what exists may be read on average while more is to come; None for any number.
    """

    def __init__(
        self,
        name: str,
        number: int,
        sources: Documents,
        recipe: Recipe,
        mixture: Mixture,
        shuffle: Shuffle,
        writers: Writers,
        when_behind: WhenBehind = "reuse",
        max_reuse: float | None = None,
    ) -> None:
        super().__init__(name, number, name, sources, shuffle, recipe, recipe.unit_layout)
        self.mixture = mixture
        self.scope = GenerationScope(sources, recipe, writers, self.order, name)
        self.when_behind = when_behind
        self.max_reuse = max_reuse
        #: Web text in the place of units that there are not.
        self.filler = WebStream(name, number, sources, shuffle, "filler" if name == SYNTHETIC else f"filler {name}")

    def rows(self, window: int) -> range:
        """Its sequences in a window, by their numbers in it."""
        return self.mixture.rows(self.number, window)
