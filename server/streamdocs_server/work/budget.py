"""Budgets: how much a server may write before it stops."""

import time

from streamdocs.sections import BudgetSection
from streamdocs_server.work.statistics import Statistics


class Budget:
    """What may be spent, from when this is made.

    Args:
        limits: How much; default any amount.
        tokens, documents: What the store held before: tokens of generations, and (document, round) items.
    """

    def __init__(self, limits: BudgetSection | None = None, tokens: int = 0, documents: int = 0) -> None:
        self._limits = limits or BudgetSection()
        self._tokens = tokens
        self._documents = documents
        self._started = time.monotonic()

    def spent(self, statistics: Statistics) -> str:
        """What is used up, in words; "" for nothing."""
        limits, written = self._limits, statistics.written
        tokens, documents = self._tokens + written.tokens, self._documents + written.items
        hours = (time.monotonic() - self._started) / 3600
        for name, used, most in (
            ("tokens", tokens, limits.tokens),
            ("documents", documents, limits.documents),
            ("hours", hours, limits.hours),
        ):
            if most is not None and used >= most:
                return f"the budget of {most:,} {name} is spent (server.budget)"
        return ""
