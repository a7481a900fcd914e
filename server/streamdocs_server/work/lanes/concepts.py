"""The lane of a graph's concepts, and the editions that are sealed of it as it goes on."""

import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil

import numpy as np

from streamdocs._base.arrays import Ints
from streamdocs.errors import EngineError
from streamdocs.generations.encoding import decode_text
from streamdocs.graph.build import build_edition
from streamdocs.graph.edition import Edition
from streamdocs.plans.editions import Editions
from streamdocs.recipes.programs.concepts import Concepts
from streamdocs.recipes.rules import GraphRule
from streamdocs.store import Store
from streamdocs_server.work.lanes.lane import Lane
from streamdocs_server.work.lanes.streams import StreamLane
from streamdocs_server.work.resolve import Resolver

log = logging.getLogger(__name__)

_CHUNK = 4096
#: A name that no more documents have is never too frequent.
_FEW = 20


class ConceptLane(Lane):
    """Extracts the concepts of the documents of some streams, and seals the editions of their graph.

    Args:
        readers: The lanes of the streams whose walks go through it.
        rule: How it is made.
        alone: Whether the run has no other streams.
        store, resolver, server: As of a Lane.
    """

    pause = 0.2

    def __init__(
        self,
        readers: Sequence[StreamLane],
        rule: GraphRule,
        alone: bool,
        store: Store,
        resolver: Resolver,
        server: str,
    ) -> None:
        super().__init__(store, resolver, server)
        self._readers = readers
        self._rule = rule
        self._alone = alone
        self.editions = Editions(store, self.scope.id, rule)
        # Documents that have to be resolved for each edition.
        self._needed = [ceil(share * self.order.sources) for share in rule.editions]
        self._sealed = 0
        self._usable = False

    @property
    def total_items(self) -> int:
        """Documents of the last edition."""
        return self._needed[-1]

    @property
    def finished(self) -> bool:
        """Whether nobody needs any more of it."""
        return self.watermark >= self.total_items or all(reader.finished for reader in self._readers)

    def urgency(self, number: int) -> float:
        """As of the first round of those who read it; above all while training waits and there is no edition yet."""
        if not self._usable and any(reader.is_waited_for for reader in self._readers):
            return float("-inf")
        return min(reader.urgency(number) for reader in self._readers)

    def keep_up(self) -> None:
        """Seal the editions that are due.

        Raises:
            EngineError: The last one has no topics, and so no walks, and there is nothing else to write.
        """
        while self._sealed < len(self._needed) and self.watermark >= self._needed[self._sealed]:
            sealed = self.editions.sealed()
            if len(sealed) <= self._sealed:
                documents = self.scope.order.order(0)[: self._needed[self._sealed]].astype(np.int64)
                edition = self._build(documents)
                sealed = [self.editions.seal(self._sealed + 1, edition, len(documents))]
                log.info(
                    "edition %d of the graph: %s topics and %s concepts of %s documents",
                    *(
                        self._sealed + 1,
                        f"{len(edition.topics):,}",
                        f"{len(edition.concepts):,}",
                        f"{len(documents):,}",
                    ),
                )
            self._usable = self._usable or any(each.topics for each in sealed)
            self._sealed += 1
        if self._sealed == len(self._needed) and not self._usable and not self._readers[0].ended:
            self._end(
                f"the graph of concepts of {self._needed[-1]:,} documents has no topics, so there are no walks: lower "
                f"recipe.min_documents ({self._rule.min_documents}), raise recipe.max_share ({self._rule.max_share}), "
                "or look at the concepts (`streamdocs generations RUN_YAML`)"
            )

    def _end(self, fault: str) -> None:
        """Write nothing of the streams that read it; others go on."""
        if self._alone:
            raise EngineError(fault)
        for reader in self._readers:
            reader.ended = True
        log.error("nothing is written of stream %s: %s", ", ".join(each.name for each in self._readers), fault)

    def stop(self) -> None:
        """Nothing: an edition that is being made is sealed first."""

    def _build(self, documents: Ints) -> Edition:
        few = Fraction(min(_FEW, len(documents)), len(documents))
        least, most = self._rule.min_documents, max(self._rule.max_share, few)
        return build_edition(documents, self._topics(documents), min_documents=least, max_share=most)

    def _topics(self, documents: Ints) -> Iterator[Sequence[tuple[str, Sequence[str]]] | None]:
        """The topics of some resolved documents; None for one that has none."""
        for start in range(0, len(documents), _CHUNK):
            some = documents[start : start + _CHUNK]
            keys = [self.scope.key(document, 0) for document in some.tolist()]
            with self.store.read() as snapshot:
                records = [decode_text(key, snapshot.get("texts", key.digest)) for key in keys]
            for record in records:
                found = Concepts.read(record.texts[0]) if record and record.texts[0] else None
                yield found.topics if found else None

    def _limit(self) -> int:
        """All that the last edition needs."""
        return self.total_items
