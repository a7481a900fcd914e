"""Documents: the sources of streams, and what of a corpus their units are made of."""

from functools import cached_property
from typing import Any

import numpy as np

from streamdocs._base.arrays import Int32s, Ints, Tokens
from streamdocs._base.hashing import digest128
from streamdocs.corpus.columns.conditions import Where
from streamdocs.corpus.reader import Corpus
from streamdocs.recipes import Recipe
from streamdocs.recipes.boundaries import TokenBoundaries
from streamdocs.recipes.layout import Part
from streamdocs.schedule.sources import Sources


class Documents(Sources):
    """Documents of a corpus, all or some of them, as the sources of a stream; a source is a document's number.

    Args:
        corpus: Where they are.
        where: Which; None for all.

    Raises:
        ConfigError: The condition cannot be, or no document meets it.
    """

    def __init__(self, corpus: Corpus, where: Where | None = None) -> None:
        self.corpus = corpus
        #: int32 (documents,), sorted: which they are; None for all.
        self.chosen: Int32s | None = None if where is None else corpus.select(where)
        self._where = where
        self.shard_sizes = corpus.shard_sizes
        if self.chosen is not None:
            ends = np.searchsorted(self.chosen, np.cumsum(corpus.shard_sizes))
            sizes = np.diff(ends, prepend=0)
            self.shard_sizes = sizes[sizes > 0]

    @property
    def identity(self) -> list[Any]:
        """The corpus, and which documents of it where they are some."""
        return [self.corpus.digest, *([] if self.chosen is None else [digest128(self.chosen.data)])]

    def is_all_of(self, corpus: Corpus) -> bool:
        """Whether these are all documents of a corpus."""
        return self.chosen is None and self.corpus is corpus

    @property
    def identity_names(self) -> list[str]:
        """The same in few characters."""
        return [self.corpus.digest[:16], *(digest.hex()[:16] for digest in self.identity[1:])]

    def __len__(self) -> int:
        """How many there are."""
        return int(self.shard_sizes.sum())

    @property
    def numbers(self) -> Ints:
        """int64 (documents,): which they are."""
        return np.arange(len(self)) if self.chosen is None else self.chosen.astype(np.int64)

    def __str__(self) -> str:
        """How many of which."""
        where = "" if self._where is None else f" of {len(self.corpus.documents):,} where {self._where}"
        return f"{len(self):,} documents{where}"

    def digests(self, sources: Ints) -> list[bytes]:
        """Digests of their texts."""
        return self.corpus.document_digests(sources)

    def text(self, source: int) -> str:
        """The document's."""
        return self.corpus.text(source)

    def tokens(self, sources: Ints | Int32s) -> Ints:
        """As the corpus counts them."""
        return self.corpus.tokens_per_document[sources]

    @cached_property
    def total_tokens(self) -> int:
        """Of all of them."""
        every = self.corpus.tokens_per_document
        return int((every if self.chosen is None else every[self.chosen]).sum())


def moved_cuts(corpus: Corpus, boundaries: TokenBoundaries, documents: Ints, counts: Ints, cuts: Ints) -> Ints:
    """The cuts of some documents, ``counts`` (documents,) of each, where they are nearest to a boundary."""
    documents, counts = documents[counts > 0], counts[counts > 0]
    return boundaries.nearest(corpus.tokens_of(documents), corpus.tokens_per_document[documents], cuts, counts)


def constant_tokens(corpus: Corpus, recipe: Recipe) -> dict[Part, Tokens]:
    """The tokens of each constant part of a recipe's units."""
    marks = {Part.SEPARATOR: "separator", Part.OPEN: "open_mark", Part.CLOSE: "close_mark"}
    tokens = corpus.encode_marks([getattr(recipe, name, "") for name in marks.values()])
    ends = [np.array([] if token is None else [token], corpus.dtype) for token in corpus.ends]
    return dict(zip([*marks, Part.BOS, Part.EOS], [*tokens, *ends], strict=True))
