"""What resolved blocks say of all items of a scope: some of them, from the store of a run or of a probe."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Ints
from streamdocs.generations.progress import Tally
from streamdocs.generations.records import token_keys
from streamdocs.store import Snapshot, Store, Table
from streamdocs.streams import GenerationScope

#: Blocks that are looked at: the first ones, which are of documents at random; and of these the ones whose records are.
_MOST_BLOCKS, _MOST_RECORDS = 4096, 64


@dataclass(frozen=True)
class Lengths:
    """How long generations are, and how large.

    Args:
        items: (document, round) items that were looked at; 0 for none.
        generations: Accepted ones of them.
        tokens: Of these, as the corpus counts them.
        each, slope: An item whose document has d tokens has each + slope d tokens of generations, by least squares over
            blocks; slope is 0 where items are not about one document.
        text_bytes, token_bytes: Of an item's records, with their keys.
        characters: Bytes of the texts of an item.
    """

    items: int = 0
    generations: int = 0
    tokens: int = 0
    each: float = 0.0
    slope: float = 0.0
    text_bytes: float = 0.0
    token_bytes: float = 0.0
    characters: float = 0.0

    @property
    def bytes(self) -> float:
        """Of both records."""
        return self.text_bytes + self.token_bytes

    def tokens_of(self, document_tokens: Ints) -> Ints:
        """int64 (documents,): tokens of the generations of an item about each document, at least one."""
        return np.maximum(np.rint(self.each + self.slope * document_tokens), 1).astype(np.int64)


def lengths_of(store: Store, scope: GenerationScope) -> Lengths:
    """What is resolved of a scope, beyond gaps too."""
    whole, rows, sizes = Tally(), list[tuple[int, int, int]](), list[tuple[float, float]]()
    order = scope.generation_order
    with store.read() as snapshot:
        for key, value in islice(snapshot.scan("blocks", scope.id), _MOST_BLOCKS):
            tally, block = Tally.unpack(value), order.block(int.from_bytes(key[-8:], "big"))
            whole += tally
            sources = order.sources_of(block)
            if scope.plans is None and tally.items:
                rows.append((tally.items, int(scope.sources.tokens(sources).sum()), tally.tokens))
            if len(sizes) < _MOST_RECORDS:
                digests = scope.key_digests(sources, np.full(len(sources), block.round))
                text = _bytes(snapshot, "texts", digests)
                sizes.append((text, _bytes(snapshot, "tokens", token_keys(scope, digests))))
    mean = whole.tokens / whole.items if whole.items else 0.0
    fitted = _fitted(np.array(rows, np.float64), mean)
    text, token = np.mean(sizes, axis=0).tolist() if sizes else (0.0, 0.0)
    characters = whole.text_bytes / whole.items if whole.items else 0.0
    return Lengths(whole.items, whole.generations, whole.tokens, *fitted, text, token, characters)


def _bytes(snapshot: Snapshot, table: Table, keys: list[bytes]) -> float:
    """Of the mean entry under some keys."""
    sizes = snapshot.get_many(table, keys).sizes
    return float(sizes.mean()) + len(keys[0]) * float((sizes > 0).mean())


def _fitted(rows: npt.NDArray[np.float64], mean: float) -> tuple[float, float]:
    """Tokens of an item apart from its document's, and for each token of that."""
    if len(rows) < 8:  # blocks that say too little of how lengths depend on documents
        return mean, 0.0
    items, about, tokens = rows.T
    documents, written = about / items, tokens / items
    spread = float(((documents - documents.mean()) ** 2).sum())
    if not spread:
        return mean, 0.0
    slope = float(((documents - documents.mean()) * (written - written.mean())).sum()) / spread
    return float(written.mean() - slope * documents.mean()), slope
