"""The newest generations in a store: how different they are, and what became of those that were asked for."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from streamdocs.generations.diversity import NEWEST, Diversities, Diversity, Group, group_of
from streamdocs.generations.encoding import TextRecord, decode_text
from streamdocs.generations.progress import block_key, read_retired
from streamdocs.run import Run
from streamdocs.store import Snapshot, Store
from streamdocs.streams import GenerationScope

#: Blocks of a round that are looked at, where many texts were rejected or are gone.
_MOST_BLOCKS = NEWEST


class Newest(NamedTuple):
    """The newest thousand texts of each stream, style and writer, and what was rejected of these beside them.

    diversity: How different they are. rejected: How many generations of these items were rejected, by cause.
    """

    diversity: Mapping[Group, Diversity]
    rejected: Mapping[Group, Counter[str]]


def stored_newest(run: Run, store: Store) -> Newest:
    """What the newest generations in a store are like.

    Raises:
        StreamdocsError: The store or a document cannot be read.
    """
    found, rejected = Diversities(), dict[Group, Counter[str]]()
    for stream in run.synthetic:
        stream.scope.attach(store)
        gone = read_retired(store, stream.scope)
        with store.read() as snapshot:
            newest = [*_newest(snapshot, stream.scope, gone)]
        for round, document, record in reversed(newest):
            found.add(stream.scope, round, record.texts, stream.scope.text(document, round))
            for number, cause in enumerate(record.causes):
                if cause:
                    rejected.setdefault(group_of(stream.scope, round, number), Counter())[cause] += 1
    return Newest(found.measure(), rejected)


def stored_diversity(run: Run, store: Store) -> Mapping[Group, Diversity]:
    """How different the newest thousand texts of each stream, style and writer are.

    Raises:
        StreamdocsError: The store or a document cannot be read.
    """
    return stored_newest(run, store).diversity


def _newest(snapshot: Snapshot, scope: GenerationScope, gone: int) -> Iterator[tuple[int, int, TextRecord]]:
    """Round, document and texts of items, the newest first, until each group has as many texts as are looked at.

    ``gone``: so many rounds left the store.
    """
    order, counts = scope.generation_order, Counter[Group]()
    first = gone * order.blocks_per_round
    keys = takewhile(lambda key: key.startswith(scope.id), snapshot.keys("blocks", block_key(scope, first)))
    blocks = np.fromiter((int.from_bytes(key[-8:], "big") for key in keys), np.int64)
    for round in np.unique(blocks // order.blocks_per_round)[::-1].tolist():
        groups = {group_of(scope, round, number) for number in range(scope.recipe.round_size)}
        for number in blocks[blocks // order.blocks_per_round == round][::-1][:_MOST_BLOCKS].tolist():
            if all(counts[group] >= NEWEST for group in groups):
                break
            for document in order.sources_of(order.block(number))[::-1].tolist():
                key = scope.key(document, round)
                if record := decode_text(key, snapshot.get("texts", key.digest)):
                    counts.update(group_of(scope, round, at) for at, text in enumerate(record.texts) if text)
                    yield round, document, record
