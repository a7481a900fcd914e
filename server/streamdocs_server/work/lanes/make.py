"""The lanes of a run."""

from collections.abc import Set

from streamdocs.learning.hard import HardDocuments
from streamdocs.run import Run
from streamdocs.store import Store
from streamdocs.streams import GenerationScope
from streamdocs_server.gates.gates import Gates
from streamdocs_server.gates.steps import gates_of
from streamdocs_server.work.desk import Desk
from streamdocs_server.work.lanes.concepts import ConceptLane
from streamdocs_server.work.lanes.lane import Lane
from streamdocs_server.work.lanes.streams import StreamLane
from streamdocs_server.work.resolve import Resolver
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
) -> list[Lane]:
    """A lane for the concepts of each graph, and one for each synthetic stream of a run.

    For the arguments see there and at ``Resolver``.

    Raises:
        ConfigError: A step has gates that cannot be.
    """

    def resolver(scope: GenerationScope) -> Resolver:
        for step in scope.recipe.steps:
            gates_of(gates, step)
        scope.attach(store)
        return Resolver(scope, store, desk, gates, attempts, statistics, again)

    streams = []
    for stream in run.synthetic:
        beside = [other for other in run.scopes if other.id != stream.scope.id]
        resolves = resolver(stream.scope)
        hard = HardDocuments(run, stream, store) if stream.scope.hard else None
        streams.append(StreamLane(stream, store, resolves, server, max_lead, beside, hard))
    readers: dict[bytes, list[StreamLane]] = {}
    for lane in streams:
        if lane.scope.concepts:
            readers.setdefault(lane.scope.concepts.id, []).append(lane)
    concepts: list[Lane] = []
    for lanes in readers.values():
        scope, rule = lanes[0].scope.concepts, lanes[0].scope.recipe.graph
        assert scope and rule
        alone = len(lanes) == len(streams)
        concepts.append(ConceptLane(lanes, rule, alone, store, resolver(scope), server))
    return [*concepts, *streams]
