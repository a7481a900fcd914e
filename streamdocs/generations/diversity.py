"""How different the newest generations of each style and writer are, and where that has collapsed."""

import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from streamdocs._base.console import printable
from streamdocs.recipes.keys import RULES
from streamdocs.streams import GenerationScope

#: Texts that are looked at, the newest ones of a style and writer, and how few say nothing yet.
NEWEST, FEWEST = 1000, 100
#: Words of an opening (characters where a script has no spaces), of a copied sequence, and of a distinct one.
OPENING, OPENING_UNSPACED, COPIED, DISTINCT = 6, 12, 8, 3
#: Sequences that are counted for ``distinct``, always as many.
SEQUENCES = 10_000
#: Share of a text's sequences that are its document's, from which on it is a near-copy.
NEAR = 0.7
#: Words longer than this on average are those of a script without spaces: there, each character is one.
_LONGEST_MEAN = 16
#: Characters of an opening that are told apart.
_MOST_SHOWN = 120
#: Odd, for the words of a sequence.
_FACTORS = np.array([pow(0x9E3779B97F4A7C15, power, 1 << 64) for power in range(DISTINCT)], np.uint64)

Collapse = Literal["repeated", "copied", "openings", "phrases"]
#: From which on a style has collapsed; for ``phrases`` below which. See docs/diversity.md.
LIMITS: Mapping[Collapse, float] = {"repeated": 0.05, "copied": 0.1, "openings": 0.115, "phrases": 0.5}


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """How different the newest texts of one style by one writer are. Shares are of these texts, lengths in characters.

    Args:
        texts: How many they are, up to a thousand.
        repeated: Share of which an earlier one is the same, to the character.
        copied: Share that are near-copies: 70 % of their sequences of 8 words are their document's.
        alike: Share that begin with the same 6 words, those most begin with.
        opening: These words, in lower case.
        length_mean: Mean length.
        length_spread: Standard deviation of the lengths.
        length_p10: Length below which a tenth of them are.
        length_p50: The same of a half.
        length_p90: The same of nine tenths.
        distinct: Share of the newest 10,000 sequences of 3 words that differ; None before there are so many.
    """

    texts: int
    repeated: float
    copied: float
    alike: float
    opening: str
    length_mean: float
    length_spread: float
    length_p10: float
    length_p50: float
    length_p90: float
    distinct: float | None

    def collapses(self) -> dict[Collapse, str]:
        """What has collapsed, with the figure in words; of few texts nothing."""
        if self.texts < FEWEST:
            return {}
        distinct = 1.0 if self.distinct is None else self.distinct
        found: dict[Collapse, tuple[bool, str]] = {
            "repeated": (self.repeated >= LIMITS["repeated"], f"{self.repeated:.1%} were there before"),
            "copied": (self.copied >= LIMITS["copied"], f"{self.copied:.1%} are near-copies of their documents"),
            "openings": (self.alike >= LIMITS["openings"], f'{self.alike:.1%} begin with "{printable(self.opening)}"'),
            "phrases": (distinct < LIMITS["phrases"], f"{distinct:.1%} of the sequences of three words are distinct"),
        }
        return {cause: said for cause, (is_so, said) in found.items() if is_so}


class Source:
    """A document, as texts are compared with it.

    Args:
        text: Its text.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _words(self) -> list[str]:
        return _words(self._text)[0]

    @cached_property
    def _distinct(self) -> frozenset[str]:
        return frozenset(self._words)

    @cached_property
    def _sequences(self) -> set[tuple[str, ...]]:
        return set(_sequences(self._words))

    def is_copied(self, words: list[str]) -> bool:
        """Whether a text of these words is a near-copy."""
        least = NEAR * (len(words) - COPIED + 1)
        if least <= 0:
            return False
        # Most are known not to be without a look at any sequence: too few words in a row are the document's.
        known = bytes(map(self._distinct.__contains__, words))
        if sum(len(run) - COPIED + 1 for run in known.split(b"\0") if len(run) >= COPIED) < least:
            return False
        return sum(map(self._sequences.__contains__, _sequences(words))) >= least


class _Text(NamedTuple):
    digest: int
    opening: str
    length: int
    copied: bool


class Newest:
    """The newest thousand texts of one style by one writer; threads may add and measure at the same time.

    Takes time linear in a text to add, and some milliseconds to measure.
    """

    def __init__(self) -> None:
        #: Texts that were added in all.
        self.added = 0
        self._texts: deque[_Text] = deque()
        self._digests: Counter[int] = Counter()
        self._openings: Counter[str] = Counter()
        # The newest of them, which together have enough sequences of three words, and how many each has.
        self._sequences: deque[tuple[str, int]] = deque()
        self._counted = 0
        self._lock = threading.Lock()

    def add(self, text: str, source: Source) -> None:
        """Add a text, and the document that it was written about."""
        words, opening = _words(text)
        begins = " ".join(words[:opening])[:_MOST_SHOWN]
        new = _Text(hash(text), begins, len(text), source.is_copied(words))
        sequences = max(len(words) - DISTINCT + 1, 0)
        with self._lock:
            self.added += 1
            self._texts.append(new)
            self._digests[new.digest] += 1
            self._openings[new.opening] += 1
            if len(self._texts) > NEWEST:
                old = self._texts.popleft()
                _take(self._digests, old.digest)
                _take(self._openings, old.opening)
            self._sequences.append((text, sequences))
            self._counted += sequences
            while self._counted - self._sequences[0][1] >= SEQUENCES:
                self._counted -= self._sequences.popleft()[1]

    def measure(self) -> Diversity | None:
        """How different they are; None before there are any."""
        with self._lock:
            texts, sequences = list(self._texts), [text for text, _ in self._sequences]
            repeated = len(texts) - len(self._digests)
            opening, alike = max(self._openings.items(), key=lambda each: each[1], default=("", 0))
        if not texts:
            return None
        lengths = np.array([each.length for each in texts])
        counted = np.concatenate([_numbers(text) for text in sequences])[-SEQUENCES:]
        low, middle, high = np.percentile(lengths, [10, 50, 90]).tolist()
        return Diversity(
            texts=len(texts),
            repeated=repeated / len(texts),
            copied=sum(each.copied for each in texts) / len(texts),
            alike=alike / len(texts),
            opening=opening,
            length_mean=float(lengths.mean()),
            length_spread=float(lengths.std()),
            length_p10=low,
            length_p50=middle,
            length_p90=high,
            distinct=len(np.unique(counted)) / SEQUENCES if len(counted) == SEQUENCES else None,
        )


class Group(NamedTuple):
    """Texts that are measured together; ``style`` and ``writer`` as of an ``Author``."""

    stream: str
    style: str
    writer: str

    def __str__(self) -> str:
        """In words."""
        return f"style {self.style} by {self.writer} ({self.stream})"

    def collapses(self, found: Diversity) -> dict[Collapse, str]:
        """What of them has collapsed; nothing where they were written by rule, without a model: alike by design."""
        return {} if self.writer == RULES else found.collapses()


class Diversities:
    """The newest texts of each stream, style and writer."""

    def __init__(self) -> None:
        self._groups: dict[Group, Newest] = {}

    def add(
        self, scope: GenerationScope, round: int, texts: Iterable[str | None], document: str
    ) -> dict[Group, Newest]:
        """Add the texts of an item, None for a rejected one, about a document; returns the groups that they are of."""
        source, added = Source(document), dict[Group, Newest]()
        for number, text in enumerate(texts):
            if text is not None:
                group = group_of(scope, round, number)
                added[group] = newest = self._groups.setdefault(group, Newest())
                newest.add(text, source)
        return added

    def measure(self) -> dict[Group, Diversity]:
        """How different the texts of each group are, in the order of their names."""
        measured = ((group, newest.measure()) for group, newest in sorted(self._groups.copy().items()))
        return {group: found for group, found in measured if found}


def diversity_rows(measured: Mapping[Group, Diversity]) -> list[dict[str, Any]]:
    """How different the texts of each group are, as values for JSON."""
    return [
        {**group._asdict(), **asdict(found), "collapsed": [*group.collapses(found)]}
        for group, found in measured.items()
    ]


def group_of(scope: GenerationScope, round: int, number: int) -> Group:
    """What a generation is measured with."""
    return Group(scope.stream, *scope.author(round, number))


def _words(text: str) -> tuple[list[str], int]:
    """The words of a text, in lower case, and how many of them make an opening."""
    words = text.lower().split()
    if len(text) <= _LONGEST_MEAN * len(words):
        return words, OPENING
    return list("".join(words)), OPENING_UNSPACED


def _sequences(words: list[str]) -> Iterator[tuple[str, ...]]:
    """Every eight words in a row."""
    return zip(*(words[first:] for first in range(COPIED)), strict=False)


def _numbers(text: str) -> npt.NDArray[np.uint64]:
    """uint64 (words - 2,): a number for every three words in a row, the same for the same words."""
    words, _ = _words(text)
    numbers = np.fromiter(map(hash, words), np.int64, len(words)).view(np.uint64)
    return np.convolve(numbers, _FACTORS, "valid") if len(words) >= DISTINCT else numbers[:0]


def _take(counts: Counter[Any], what: str | int) -> None:
    """Count one less."""
    counts[what] -= 1
    if not counts[what]:
        del counts[what]
