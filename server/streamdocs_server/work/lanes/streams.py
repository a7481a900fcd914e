"""The lanes of streams."""

import contextlib
from collections.abc import Iterable
from math import ceil

from streamdocs.generations.progress import Tally, sample_tally
from streamdocs.learning.hard import HardDocuments
from streamdocs.ledger.manifest import State
from streamdocs.ledger.waiting import wanted_beyond
from streamdocs.ledger.windows import newest_windows
from streamdocs.schedule.rounds import BLOCK
from streamdocs.store import Store
from streamdocs.streams import GenerationScope, SyntheticStream
from streamdocs_server.work.lanes.lane import Lane
from streamdocs_server.work.resolve import Resolver
from streamdocs_server.work.retire import Retirer


class StreamLane(Lane):
    """The blocks of one stream, in the order in which training will read them, never too far ahead of it.

    Args:
        stream: The stream.
        max_lead: Documents by which generation may be ahead of the trainer; default all of them once.
        beside: The run's other scopes.
        hard: What plans its rounds, where they say more of hard documents.
        store, resolver, server: As of a Lane.
    """

    def __init__(
        self,
        stream: SyntheticStream,
        store: Store,
        resolver: Resolver,
        server: str,
        max_lead: int | None,
        beside: Iterable[GenerationScope] = (),
        hard: HardDocuments | None = None,
    ) -> None:
        super().__init__(store, resolver, server)
        self.retirer = Retirer(store, self.scope, beside)
        self.stream = stream
        self._hard = hard
        self._max_lead = max_lead or self.order.sources
        # Rounds come in orders of their own, and it waits for all generations of its next document.
        self._whole_rounds = stream.when_behind == "wait" and stream.recipe.cycle > 1
        mixture = stream.mixture
        self._share = mixture.shares[stream.number].fraction
        self._window_tokens = ceil(mixture.window * self._share) * mixture.max_seq_len
        #: Whether training stands still for want of it.
        self.is_waited_for = False
        # Items that training wants by now, and those that its next window needs.
        self.wanted = 0
        self._needed = 0
        self._states: dict[bytes, State] = {}
        # A sample of what is stored, and whether it is all of that.
        self._stored, self._few_stored = Tally(), True

    @property
    def lead(self) -> int | None:
        """Items by which generation is ahead of what training wants; negative where it is behind, None without any."""
        return self.watermark - self.wanted if self._states else None

    def look(self) -> None:
        """See how far everyone is."""
        super().look()
        # The run that is furthest, of all that read what is written here: another name or window is another ledger.
        known, self._states = self._states, {}
        for key, manifest in newest_windows(self.store, self.scope):
            with contextlib.suppress(ValueError):  # damaged, which its readers tell
                self._states[key] = known[key] if key in known else manifest().after
        states = [*self._states.values()] or [State()]
        self.wanted = max(self.order.wanted_items(state.sweep, state.cursor) for state in states)
        self._needed = max(self._items_of_next_window(state.sweep, state.cursor) for state in states)
        self.is_waited_for = wanted_beyond(self.store, self.scope) >= self.watermark
        if self.is_waited_for:  # that was estimated too low
            self._needed = max(self._needed, self.watermark + max(self._max_lead, BLOCK))

    def keep_up(self) -> None:
        """Read what training reported, and retire rounds."""
        if self._hard:
            self._hard.catch_up()
        if self.total_items != self.scope.recipe.cycle * self.order.sources:  # otherwise every round stays in use
            self.retirer.retire()

    def stop(self) -> None:
        """Retire no more."""
        self.retirer.stop()

    def urgency(self, number: int) -> float:
        """Sequences of the run that training reads until it comes to the sources of a block; negative: it was there.

        Sources that wait for all their generations want them all at once, others one round a sweep.
        """
        ahead = self.order.first_item(number)
        if self._whole_rounds:
            units = ahead - self.wanted
        else:
            begun = max((state.sweep, state.cursor) for state in [*self._states.values(), State()])
            units = self.order.sources_until(ahead, *begun)
        return units * self._unit_tokens / float(self._share * self.stream.mixture.max_seq_len or 1)

    @property
    def _unit_tokens(self) -> float:
        """Tokens of a unit, about."""
        stream, stored = self.stream, self._stored
        each = stored.tokens / stored.generations if stored.generations else stream.recipe.most_tokens
        if stream.recipe.sweeps > 1:
            return each
        rounds = min(self.rounds_done + 1, stream.recipe.cycle)
        document = stream.filler.tokens / self.order.sources if stream.recipe.reads_documents else 0
        return document + rounds * stream.recipe.round_size * each

    def _items_of_next_window(self, sweep: int, cursor: int) -> int:
        """What is wanted until the end of the next window, rather too much: without it training would never go on."""
        if self._few_stored:
            self._stored, self._few_stored = sample_tally(self.store, self.scope)
        recipe, stored = self.stream.recipe, self._stored
        units = stored.items * (recipe.round_size if recipe.sweeps > 1 else 1)  # that have so many tokens together
        sources = cursor + 2 * self._window_tokens * units // max(stored.tokens, 1)
        sweeps, cursor = divmod(sources, self.order.sources)
        return self.order.wanted_items(sweep + sweeps, self.order.sources if self._whole_rounds else cursor)

    def _limit(self) -> int:
        """Items before which work may begin: within the lead, and at most one round above those in use."""
        rounds_in_store = self.retirer.retired_rounds + self.stream.recipe.cycle + 1
        limit = max(self.wanted + self._max_lead, self._needed)
        limit = min(limit, rounds_in_store * self.order.sources)
        return limit if self.order.total_items is None else min(limit, self.order.total_items)

    def _is_planned(self, round: int) -> bool:
        """Whether it is settled what it is about; walks are as soon as there is an edition to draw them from."""
        if self._hard:
            self._hard.plan(round)
        plans, editions = self.scope.plans, self.scope.editions
        if plans is None or editions is None or plans.find(round):
            return True
        if not (usable := [each for each in editions.sealed() if each.topics]):
            return False
        plans.seal(round, usable[-1].digest)
        return True
