"""Counts of what a server asked for and got, since it started, and how much of it it may spend."""

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from prometheus_client import Histogram

from streamdocs.generations.encoding import TextRecord
from streamdocs.generations.progress import Tally
from streamdocs.sections import BudgetSection
from streamdocs_server.engines import Answer
from streamdocs_server.work.outcome import Outcome


def _latency() -> Histogram:
    seconds = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 600)
    text = "Seconds from asking for the generations of a document to having them, retries included"
    return Histogram("streamdocs_request_seconds", text, buckets=seconds, registry=None)


@dataclass
class Statistics:
    """Counts.

    Args:
        written: What was stored.
        found: (round, document) items that needed nothing to be asked.
        asked: Items that something was asked for.
        answers: Requests that the engine answered.
        prompt_tokens, cached_tokens: As the engine reports them; the second are those of the first in its cache.
        completion_tokens: Likewise, rejected generations included.
        latency: Of requests.
        outcome: What became of the documents that were asked for.
    """

    written: Tally = field(default_factory=Tally)
    found: int = 0
    asked: int = 0
    answers: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    latency: Histogram = field(default_factory=_latency)
    outcome: Outcome = field(default_factory=Outcome)

    def add_answer(self, answer: Answer) -> None:
        """Count an answer's tokens."""
        self.answers += 1
        self.prompt_tokens += answer.prompt_tokens
        self.cached_tokens += answer.cached_tokens
        self.completion_tokens += sum(each.completion_tokens for each in answer.completions)


def tally(record: TextRecord, lengths: list[int]) -> Tally:
    """What one item holds."""
    texts = [text for text in record.texts if text is not None]
    return Tally(
        items=1,
        generations=len(texts),
        tokens=int(np.sum(lengths)),
        text_bytes=sum(len(text.encode()) for text in texts),
        rejected=Counter(cause for cause in record.causes if cause),
        cut=int(record.cut > 0),
    )


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
