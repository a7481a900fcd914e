"""Counts of what a server asked for and got, since it started."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from prometheus_client import Histogram

from streamdocs.generations.encoding import TextRecord
from streamdocs.generations.progress import Tally
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
