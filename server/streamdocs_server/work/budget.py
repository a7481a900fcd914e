"""Budgets: how much a server may write before it stops."""

import time

from streamdocs.sections import BudgetSection
from streamdocs_server.work.statistics import Statistics


class Budget:
    """What may be spent, from when this is made.

    Args:
        limits: How much; default any amount.
        tokens, documents: What the store held before: tokens of generations, and (document, round) items.
        most: Tokens that an item may have, as long as none was written that says more.
    """

    def __init__(
        self, limits: BudgetSection | None = None, tokens: int = 0, documents: int = 0, most: int = 1024
    ) -> None:
        self._limits = limits or BudgetSection()
        self._tokens = tokens
        self._documents = documents
        self._most = most
        self._started = time.monotonic()

    def spent(self, statistics: Statistics, begun: int = 0) -> str:
        """What is used up, in words; "" for nothing. ``begun``: items that will be written in any case."""
        limits, written = self._limits, statistics.written
        each = written.tokens / written.items if written.items else self._most
        tokens, documents = self._tokens + written.tokens + begun * each, self._documents + written.items + begun
        hours = (time.monotonic() - self._started) / 3600
        for name, used, most in (
            ("tokens", tokens, limits.tokens),
            ("documents", documents, limits.documents),
            ("hours", hours, limits.hours),
        ):
            if most is not None and used >= most:
                return f"the budget of {most:,} {name} is spent (server.budget)"
        return ""
