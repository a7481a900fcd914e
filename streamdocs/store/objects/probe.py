"""Whether an object store does what a store relies on."""

import secrets
from concurrent.futures import ThreadPoolExecutor

from streamdocs.errors import StoreError
from streamdocs.store.objects.reliable import ReliableObjects

_RACERS = 16


def probe(objects: ReliableObjects) -> None:
    """Try whether an object can be created once only, read and listed at once, and missed.

    Raises:
        StoreError: It cannot, or the store does not answer.
    """
    name = f"probe/{secrets.token_hex(8)}"
    contents = [f"{number}:{secrets.token_hex(8)}".encode() for number in range(_RACERS)]
    try:
        with ThreadPoolExecutor(_RACERS) as pool:
            created = list(pool.map(lambda data: objects.create(name, data), contents))
        found = objects.get(name)
        again = objects.create(name, b"again")
        after = objects.get(name)
        winners = [data for data, won in zip(contents, created, strict=True) if won]
        # A request may have been carried out without an answer, and then found what it had made itself.
        if again or len(winners) > 1 or found not in (winners or contents) or after != found:
            what = f"{len(winners) + again} of {_RACERS + 1} created one object (If-None-Match is not heeded)"
        elif name not in [each.name for each in objects.list("probe/")]:
            what = "an object that was written is not listed"
        elif objects.get(name + "-missing") is not None:
            what = "an object that is not there is found"
        else:
            return
    finally:
        objects.delete([name])
    raise StoreError(
        f"store {objects.location} cannot hold a store: {what}. Generations would be lost without a word; take "
        "another object store, or a newer version of its server"
    )
