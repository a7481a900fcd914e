"""Windows that training reported of, as they were read."""

from streamdocs.learning.attribution import Stretches, attribute
from streamdocs.ledger.ledgers import Ledgers
from streamdocs.reading.assembly import Assembler
from streamdocs.run import Run
from streamdocs.steering.reports import Losses, Reports
from streamdocs.store import Store


class Reported:
    """What training reported of a run, for others to look at: nothing is sealed or decided for that.

    Args:
        run: The run.
        store: Where its windows and reports are.
    """

    def __init__(self, run: Run, store: Store) -> None:
        self._run = run
        self._reports = Reports(store, run.id, run.mixture.window, run.mixture.max_seq_len)
        self._ledgers = Ledgers(run, store, wait_timeout=0)
        self._assembler = Assembler(run, self._ledgers)

    @property
    def bins(self) -> int:
        """Stretches of a sequence that have a loss each."""
        return self._reports.bins

    def windows(self, first: int = 0) -> list[int]:
        """Those from the ``first`` on of which something was reported, in order."""
        return self._reports.windows(first)

    def read(self, window: int) -> tuple[Losses, list[Stretches]] | None:
        """What was lost in a window, and the same stretch by stretch.

        None without a report, and where the window is not sealed (any more): then nobody knows what it was of.

        Raises:
            StoreError: The window is damaged.
        """
        if (losses := self._reports.losses(window)) is None or not self._is_sealed(window):
            return None
        return losses, list(attribute(self._assembler.window(window), losses))

    def _is_sealed(self, window: int) -> bool:
        decisions = self._run.decisions
        if decisions and decisions.sealed(window) is None:
            return False
        return all(ledger.sealed(window) for ledger in self._ledgers.values())
