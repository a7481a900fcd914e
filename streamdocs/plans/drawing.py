"""The walks of items: those that the plan of their round gives them, from its edition."""

from typing import NamedTuple

from streamdocs.graph.walks import Walk
from streamdocs.plans.editions import Editions
from streamdocs.plans.plans import Plans


class Drawn(NamedTuple):
    """A walk, which edition it is from, and its number among the walks of that."""

    edition: bytes
    number: int
    walk: Walk


def drawn(plans: Plans, editions: Editions, source: int, round: int) -> list[Drawn]:
    """The walks of an item.

    Raises:
        StoreError: Its round has no plan, or the edition cannot be read.
    """
    edition = plans.of_round(round).edition
    walks = editions.walks(edition)
    return [Drawn(edition, number, walks.walk(number)) for number in plans.walks_of(source, round)]
