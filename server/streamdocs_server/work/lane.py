"""A lane: what a server writes for one stream, how far that is, and which block of it comes next."""

import contextlib
from collections.abc import Iterable, Set
from math import ceil

from streamdocs.generations.progress import Tally, block_key, read_watermark, sample_tally
from streamdocs.ledger.manifest import State
from streamdocs.ledger.waiting import wanted_beyond
from streamdocs.ledger.windows import newest_windows
from streamdocs.run import Run
from streamdocs.schedule.rounds import BLOCK
from streamdocs.store import Store
from streamdocs.streams import GenerationScope, SyntheticStream
from streamdocs_server.gates.gates import Gates
from streamdocs_server.gates.steps import gates_of
from streamdocs_server.work.desk import Desk
from streamdocs_server.work.leases import Leases
from streamdocs_server.work.resolve import Resolver
from streamdocs_server.work.retire import Retirer
from streamdocs_server.work.statistics import Statistics


def make_lanes(
    run: Run,
    store: Store,
    desk: Desk,
    gates: Gates,
    server: str,
    statistics: Statistics,
    *,
    attempts: int = 1,
    again: Set[str] = frozenset(),
    max_lead: int | None = None,
) -> list["Lane"]:
    """A lane for each synthetic stream of a run; for the arguments see there and at ``Resolver``.

    Raises:
        ConfigError: A step has gates that cannot be.
    """
    lanes = []
    for stream in run.synthetic:
        for step in stream.recipe.steps:
            gates_of(gates, step)
        resolver = Resolver(stream.scope, store, desk, gates, attempts, statistics, again)
        beside = [other.scope for other in run.synthetic if other is not stream]
        lanes.append(Lane(stream, store, resolver, server, max_lead, beside))
    return lanes


class Lane:
    """The blocks of one stream, in the order in which training will read them, never too far ahead of it.

    Args:
        stream: The stream.
        store: Where generations go.
        resolver: Who resolves an item of it.
        server: Name of this server.
        max_lead: Documents by which generation may be ahead of the trainer; default all of them once.
        beside: Scopes of the run's other streams.
    """

    def __init__(
        self,
        stream: SyntheticStream,
        store: Store,
        resolver: Resolver,
        server: str,
        max_lead: int | None,
        beside: Iterable[GenerationScope] = (),
    ) -> None:
        self.stream = stream
        self.name = stream.name
        self.scope = stream.scope
        self.order = self.scope.generation_order
        self.resolver = resolver
        self.leases = Leases(store, self.scope, server)
        self.retirer = Retirer(store, self.scope, beside)
        self._store = store
        self._max_lead = max_lead or self.order.sources
        # Rounds come in orders of their own, and it waits for all generations of its next document.
        self._whole_rounds = stream.when_behind == "wait" and stream.recipe.cycle > 1
        mixture = stream.mixture
        self._share = mixture.shares[stream.number].fraction
        self._window_tokens = ceil(mixture.window * self._share) * mixture.max_seq_len
        self.watermark = 0
        #: Sources in blocks that were begun, and of those the ones that are not resolved.
        self.unfinished = 0
        self.waits_for_trainer = False
        # Items that training wants by now, and those that its next window needs.
        self.wanted = 0
        self._needed = 0
        self._states: dict[bytes, State] = {}
        # Blocks that other servers had at the last look.
        self._elsewhere: set[int] = set()
        # A sample of what is stored, and whether it is all of that.
        self._stored, self._few_stored = Tally(), True

    @property
    def finished(self) -> bool:
        """Whether every item of every round is resolved."""
        return self.watermark == self.order.total_items

    @property
    def rounds_done(self) -> int:
        """Rounds that are complete."""
        return self.watermark // self.order.sources

    @property
    def lead(self) -> int | None:
        """Items by which generation is ahead of what training wants; negative where it is behind, None without any."""
        return self.watermark - self.wanted if self._states else None

    def look(self) -> None:
        """See how far everyone is."""
        self._elsewhere.clear()
        with self._store.read() as snapshot:
            self.watermark = read_watermark(snapshot, self.scope, self.watermark)
        # The run that is furthest, of all that read what is written here: another name or window is another ledger.
        known, self._states = self._states, {}
        for key, manifest in newest_windows(self._store, self.scope):
            with contextlib.suppress(ValueError):  # damaged, which its readers tell
                self._states[key] = known[key] if key in known else manifest().after
        states = [*self._states.values()] or [State()]
        self.wanted = max(self.order.wanted_items(state.sweep, state.cursor) for state in states)
        self._needed = max(self._items_of_next_window(state.sweep, state.cursor) for state in states)
        if wanted_beyond(self._store, self.scope) >= self.watermark:  # that was estimated too low
            self._needed = max(self._needed, self.watermark + max(self._max_lead, BLOCK))

    def next_block(self) -> int | None:
        """The first block that is neither resolved nor somebody's; None where there is none to do now."""
        limit = self._limit()
        number = self.order.block_of_item(self.watermark)
        while (first := self.order.first_item(number)) < limit:
            with self._store.read() as snapshot:
                resolved = snapshot.get("blocks", block_key(self.scope, number)) is not None
            if not resolved and number not in self.leases.held and number not in self._elsewhere:
                return number
            number += 1
        total = self.order.total_items
        self.waits_for_trainer = total is None or first < total
        return None

    def take(self, number: int) -> bool:
        """Lease a block; whether no other server has it."""
        if self.leases.acquire(number):
            self.waits_for_trainer = False
            return True
        self._elsewhere.add(number)
        return False

    def urgency(self, number: int) -> float:
        """Sequences of the run that training reads until it comes to the sources of a block; negative: it was there.

        Sources that wait for all their generations want them all at once, others one round a sweep.
        """
        ahead = self.order.first_item(number)
        if self._whole_rounds:
            units = ahead - self.wanted
        else:
            round, place = self.order.block(number)
            begun = max((state.sweep, state.cursor) for state in [*self._states.values(), State()])
            due = (self.stream.recipe.order_of_round(round), place * BLOCK)
            units = (due[0] - begun[0]) * self.order.sources + due[1] - begun[1]
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
            self._stored, self._few_stored = sample_tally(self._store, self.scope)
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
