"""Asking again for what was rejected, once what caused it is mended."""

from collections import Counter
from collections.abc import Collection, Sequence

from streamdocs.errors import ConfigError
from streamdocs.generations.progress import Tally
from streamdocs.store import Store
from streamdocs.streams import GenerationScope
from streamdocs_server.work.retire import Retirer


def reopen(store: Store, scopes: Sequence[GenerationScope], causes: Collection[str]) -> frozenset[str]:
    """Make unresolved again what holds a generation that was rejected for one of some causes, or for any: ``all``.

    What was accepted stays. Rounds that retired do, too. Of all servers of a store, only the one that is told to will
    ask again for what is reopened.

    Returns:
        The causes.

    Raises:
        ConfigError: Nothing was rejected for one of them.
    """
    found: dict[bytes, Counter[str]] = {}
    for scope in scopes:
        retired = Retirer(store, scope).retired_rounds
        with store.read() as snapshot:
            for key, value in snapshot.scan("blocks", scope.id):
                rejected = Tally.unpack(value).rejected
                if rejected and scope.generation_order.block(int.from_bytes(key[-8:], "big")).round >= retired:
                    found[key] = rejected
    known = sum(found.values(), Counter[str]())
    sought = frozenset(known if "all" in causes else causes)
    if unknown := sorted(sought - known.keys()):
        there = ", ".join(f"{cause!r} ({count:,})" for cause, count in known.most_common()) or "nothing"
        raise ConfigError(f"--again {unknown[0]!r}: nothing was rejected for that. There is {there}")
    store.delete("blocks", [key for key, rejected in found.items() if not sought.isdisjoint(rejected)])
    return sought
