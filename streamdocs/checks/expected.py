"""What is to be expected of generations that nobody wrote yet: their number, their length, what they cost and take."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np

from streamdocs._base.arrays import Ints
from streamdocs.checks.lengths import Lengths, lengths_of
from streamdocs.checks.probed import Probe
from streamdocs.generations.progress import read_tallies, total
from streamdocs.run import Run
from streamdocs.store import Store
from streamdocs.streams import GenerationScope

#: Of a token, where nobody counted.
_CHARACTERS = 4
#: Of records whose size is not known: bytes of a token as text, compressed, and of an item beside its generations.
_TEXT_BYTES, _ITEM_BYTES = 2.5, 120.0
#: Of a store, beside its records.
_OVERHEAD = 1.1


@dataclass(frozen=True)
class Expected:
    """What is to be expected of the items of one scope.

    Args:
        scope: Which.
        items: (document, round) items in all; None for endless rounds.
        resolved: Of these, those that the store has.
        lengths: How long generations are.
        completion_tokens: That an item costs, as engines count them, rejected texts and steps included.
        bytes: That an item takes in the store.
        known: What that is known from: "measured", "stored", or "most", as long as they may be.
    """

    scope: GenerationScope
    items: int | None
    resolved: int
    lengths: Lengths
    completion_tokens: float
    bytes: float
    known: str

    @property
    def tokens(self) -> float:
        """Of the generations of an item, on average over all documents."""
        sources = self.scope.sources
        return self.lengths.each + self.lengths.slope * sources.total_tokens / len(sources)

    @property
    def generations(self) -> float:
        """Accepted ones of an item."""
        found = self.lengths
        return found.generations / found.items if found.items else self.scope.recipe.round_size

    def generation_tokens(self, documents: Ints) -> Ints:
        """int64 (documents, generations of a round): tokens of each generation."""
        size = self.scope.recipe.round_size
        whole = self.lengths.tokens_of(self.scope.sources.tokens(documents))
        return np.maximum((whole[:, None] + np.arange(size)) // size, 1)


def expected(run: Run, store: Store | None, probe: Probe) -> dict[str, Expected]:
    """What is to be expected of each scope of a run, by its name.

    Args:
        run: The run.
        store: With what exists; None for nothing.
        probe: What was measured, which goes over what the store says.
    """
    found, stored = {}, dict[str, Lengths]()
    resolved = {scope.stream: _resolved(store, scope) for scope in run.scopes}
    if store:
        stored = {scope.stream: lengths_of(store, scope) for scope in run.scopes if resolved[scope.stream]}
    overhead = _overhead(stored, resolved, store.size()) if store and stored else _OVERHEAD
    for scope in run.scopes:
        name, written = scope.stream, probe.written.get(scope.stream)
        items = scope.generation_order.total_items
        if not scope.is_read:
            items = _concept_items(run, scope)
        if written and written.items and written.lengths.items:
            cost = written.completion_tokens / written.items
            found[name] = Expected(scope, items, resolved[name], written.lengths, cost, written.bytes, "measured")
        elif name in stored:
            each = stored[name]
            cost = each.tokens / each.items if scope.is_read else each.characters / _CHARACTERS
            found[name] = Expected(scope, items, resolved[name], each, cost, each.bytes * overhead, "stored")
        else:
            heard = next((each for each in probe.asked if each.stream == name and each.completion_tokens), None)
            for_each = heard.tokens / heard.completion_tokens if heard else _tokens_for_each(scope)
            found[name] = _most(run, scope, items, resolved[name], for_each)
    return found


def _most(run: Run, scope: GenerationScope, items: int | None, resolved: int, for_each: float) -> Expected:
    """Where no lengths are known: as long as may be. ``for_each``: tokens of the corpus for each of the writer's."""
    completion_tokens = scope.recipe.round_size * _most_tokens(scope)
    tokens = completion_tokens * for_each * scope.is_read
    size = _ITEM_BYTES + completion_tokens * _TEXT_BYTES + tokens * run.corpus.dtype.itemsize
    return Expected(scope, items, resolved, Lengths(each=tokens), completion_tokens, size * _OVERHEAD, "most")


def _most_tokens(scope: GenerationScope) -> float:
    """Completion tokens that a slot takes at most, on average over the sources: long ones are read in chunks."""
    if scope.recipe.is_plain:
        return scope.recipe.most_tokens
    sizes = scope.corpus.documents["text_bytes"][scope.sources.numbers]
    programs = {task.team.program.digest: task.team.program for task in scope.recipe.tasks}
    return max(
        sum(step.max_tokens for step in each.steps) * float(np.ceil(sizes / (each.chunk or sizes.max() or 1)).mean())
        for each in programs.values()
    )


def _tokens_for_each(scope: GenerationScope) -> float:
    """Tokens of the corpus for each of a writer's, of which nothing is known but its documents."""
    sources = scope.sources
    size = int(scope.corpus.documents["text_bytes"][sources.numbers].sum(dtype=np.int64))
    return _CHARACTERS * sources.total_tokens / size if size else 1.0


def _resolved(store: Store | None, scope: GenerationScope) -> int:
    return total(read_tallies(store, scope).values()).items if store else 0


def _overhead(samples: Mapping[str, Lengths], items: Mapping[str, int], size: int) -> float:
    """Bytes of a store for each byte of the records of its items."""
    records = sum(each.bytes * items[name] for name, each in samples.items())
    return size / records if records and size else _OVERHEAD


def _concept_items(run: Run, scope: GenerationScope) -> int:
    """Documents that the last edition of a graph is made of."""
    rules = [each.recipe.graph for each in run.synthetic if each.scope.concepts and each.scope.concepts.id == scope.id]
    return ceil(rules[0].editions[-1] * len(scope.sources)) if rules and rules[0] else len(scope.sources)
