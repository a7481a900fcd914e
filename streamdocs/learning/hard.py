"""Hard documents: from what training reported to the plans of a stream's rounds."""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from streamdocs._base.arrays import Ints
from streamdocs.errors import StoreError
from streamdocs.learning.attribution import NONE, Stretches, by_document
from streamdocs.learning.reported import Reported
from streamdocs.learning.sketch import Sketch
from streamdocs.plans.hard import HardPlan
from streamdocs.run import Run
from streamdocs.schedule.repeats import deal_repeats
from streamdocs.store import Store
from streamdocs.streams import Stream, SyntheticStream

log = logging.getLogger(__name__)

#: Most windows that are looked at in one go.
_AT_ONCE = 64


class HardDocuments:
    """Plans the rounds of a stream by the documents on which the student errs most.

    Judged by their own text, in the web streams over the same corpus; where there are none, by what was written about
    them. Each plan is made of what was reported since the one before, as far as it has come: nothing waits for it.

    Args:
        run, stream: Of which run, and which of its streams; its recipe says how.
        store: Where reports and plans are.
    """

    def __init__(self, run: Run, stream: SyntheticStream, store: Store) -> None:
        assert stream.scope.hard
        stream.scope.attach(store)
        self._plans, self._rule, self._stream = stream.scope.hard, stream.scope.hard.rule, stream
        shares = run.mixture.shares
        web = [each for each in run.web if each.corpus is stream.corpus and shares[each.number].fraction]
        self._judges: Sequence[Stream] = web or [stream]
        self._reported = Reported(run, store)
        self._bin = run.mixture.max_seq_len / self._reported.bins
        self._documents = len(stream.corpus.documents)
        self._planned = 0
        self._sketch = Sketch(self._documents, 0)
        self._before: Sketch | None = None
        self._lock = threading.Lock()

    def catch_up(self) -> None:
        """Look at what was reported since, up to some windows; not at the newest, which may still be read.

        Raises:
            StoreError: A window, or a plan, is damaged.
        """
        with self._lock:
            self._follow()
            for window in self._reported.windows(self._sketch.stop)[:-1][:_AT_ONCE]:
                self._look(self._sketch, window)

    def plan(self, round: int) -> HardPlan | None:
        """The plan of a round, which is sealed now where it is not yet; None of the first, which has none.

        Raises:
            StoreError: A window, or a plan, is damaged.
        """
        if not round:
            return None
        if found := self._plans.find(round):
            return found
        self.catch_up()
        with self._lock:
            return self._plans.seal(round, self._drawn(round))

    def _drawn(self, round: int) -> HardPlan:
        sources, sketch = self._stream.sources.numbers, self._sketch
        counts = deal_repeats(self._excess()[sources], self._rule.repeats(len(sources)), self._rule.cap - 1)
        hard = np.flatnonzero(counts)
        log.info(
            "round %d of stream %s: %s items about %s hard documents, from reports of windows %d to %d",
            *(round, self._stream.name, f"{counts.sum():,}", f"{len(hard):,}", sketch.first, sketch.stop - 1),
        )
        return HardPlan(
            first=sketch.first,
            stop=sketch.stop,
            reports=sketch.reports,
            hard=sources[hard].astype(np.int32),
            counts=counts[hard].astype(np.int32),
        )

    def _excess(self) -> npt.NDArray[np.float32]:
        excess = self._sketch.excess(self._bin)
        return excess if self._before is None else excess - self._before.excess(self._bin)

    def _follow(self) -> None:
        """Begin a sketch behind the newest plan, whoever sealed it."""
        newest = None
        while plan := self._plans.find(self._planned + 1):
            self._planned += 1
            newest = plan if plan.first < plan.stop else newest
        if newest is None:
            return
        if self._rule.reference == "earlier":
            same = (self._sketch.first, self._sketch.stop) == (newest.first, newest.stop)
            self._before = self._sketch if same else self._made(newest.first, newest.stop)
        self._sketch = Sketch(self._documents, newest.stop)

    def _made(self, first: int, stop: int) -> Sketch:
        sketch = Sketch(self._documents, first)
        for window in (each for each in self._reported.windows(first) if each < stop):
            self._look(sketch, window)
        return sketch

    def _look(self, sketch: Sketch, window: int) -> None:
        """Add what was reported of a window to a sketch."""
        try:
            found = self._reported.read(window)
        except StoreError as error:  # which those who train will tell, too
            log.warning("what was reported of window %d does not count: %s", window, error)
            found = None
        sketch.stop = window + 1
        if found:
            losses, stretches = found
            sketch.note(window, losses)
            for documents, tokens, sums in self._judged(stretches):
                if len(documents):
                    sketch.add(*by_document(documents, tokens, sums))

    def _judged(self, attributed: Iterable[Stretches]) -> Iterator[tuple[Ints, Ints, npt.NDArray[np.float64]]]:
        """Stretches by which documents are judged, stream by stream: whose they are, their tokens and losses."""
        for each in (each for each in attributed if each.stream in self._judges):
            here, documents = each.of_documents, each.document
            if each.stream is self._stream:
                here = each.round != NONE
                documents, _ = self._plans.about(documents, np.maximum(each.round, 0))
            yield documents[here], each.tokens[here], each.sums[here]
