"""``streamdocs audit --diversity``: how different the newest generations in a store are, by style and writer."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import takewhile

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from streamdocs._base.console import printable
from streamdocs.generations.diversity import NEWEST, Diversities, Diversity, Group, group_of
from streamdocs.generations.encoding import decode_text
from streamdocs.generations.progress import block_key, read_retired
from streamdocs.run import Run
from streamdocs.store import Snapshot, Store
from streamdocs.streams import GenerationScope

#: Blocks of a round that are looked at, where many texts were rejected or are gone.
_MOST_BLOCKS = NEWEST


def stored_diversity(run: Run, store: Store) -> dict[Group, Diversity]:
    """How different the newest thousand texts of each stream, style and writer are.

    Raises:
        StreamdocsError: The store or a document cannot be read.
    """
    found = Diversities()
    for stream in run.synthetic:
        stream.scope.attach(store)
        gone = read_retired(store, stream.scope)
        with store.read() as snapshot:
            newest = [*_newest(snapshot, stream.scope, gone)]
        for round, document, texts in reversed(newest):
            found.add(stream.scope, round, texts, stream.scope.text(document, round))
    return found.measure()


def _newest(snapshot: Snapshot, scope: GenerationScope, gone: int) -> Iterator[tuple[int, int, list[str | None]]]:
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
                    yield round, document, record.texts


def diversity_table(measured: Mapping[Group, Diversity]) -> Table:
    """How different the texts of each group are."""
    table = Table(title=f"the newest {NEWEST:,} generations of each style and writer", box=SIMPLE)
    table.add_column("style by writer (stream)", overflow="fold")
    for name in ("texts", "repeated", "copied", "alike", "distinct", "length"):
        table.add_column(name, justify="right", no_wrap=True)
    for group, found in measured.items():
        shares = (found.repeated, found.copied, found.alike, found.distinct)
        told = ("-" if share is None else f"{share:.1%}" for share in shares)
        length = f"{found.length_mean:,.0f} ± {found.length_spread:,.0f}"
        name = printable(str(group).removeprefix("style "))
        table.add_row(name, f"{found.texts:,}", *told, length)
    return table


def collapse_lines(measured: Mapping[Group, Diversity]) -> list[str]:
    """What has collapsed of each group."""
    found = {group: group.collapses(each) for group, each in measured.items()}
    return [printable(f"{group} has collapsed: {', '.join(said.values())}") for group, said in found.items() if said]
