"""Texts that training must not read, held out or of a benchmark, and what others have in common with them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain

import numpy as np
import numpy.typing as npt

from streamdocs.config import RunFile
from streamdocs.corpus import BadRow, UnreadableRest, read_documents
from streamdocs.corpus.inputs import EVERY_STRING
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import ConfigError, CorpusError
from streamdocs.sections import DecontaminateSection
from streamdocs_server.gates.words import Numbers, Words

#: Shorter texts are phrases that anybody may use.
LEAST_WORDS = 8


class Protected:
    """Texts with which no other may have so many words in a row in common.

    Words are told apart without case and punctuation. In scripts without spaces twice as many characters are compared,
    which is about as much. A text that is shorter counts as a whole, from 8 words on.

    Args:
        texts: The texts; of each run of words, eight bytes are kept.
        words: How many words.
    """

    def __init__(self, texts: Iterable[str], words: int = 13) -> None:
        runs: dict[int, bytearray] = defaultdict(bytearray)
        for text in texts:
            found = Words(text)
            scale = 2 if found.is_unspaced else 1
            if (length := min(len(found.listed), scale * words)) >= scale * LEAST_WORDS:
                runs[length] += found.runs(length).data
        self._known = {length: _Numbers(_each_once(runs.pop(length))) for length in sorted(runs, reverse=True)}

    def __len__(self) -> int:
        """How many runs of words are known."""
        return sum(map(len, self._known.values()))

    def overlap(self, words: Words) -> str | None:
        """Words that a text has in common with one of these, its first and longest run; None where it has none."""
        for length, known in self._known.items():
            if len(at := np.flatnonzero(known.has(words.runs(length)))):
                return " ".join(words.listed[at[0] : at[0] + length])
        return None


class _Numbers:
    """A set of numbers that are spread evenly: where one would be is known from its first bits, within a few places.

    A search by halves over all of them would go to memory a dozen times for each.

    Args:
        numbers: Rising, at least one.
    """

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        bits = max(len(numbers).bit_length() - 2, 1)
        self._shift = np.uint64(64 - bits)
        begins = numbers.searchsorted(np.arange(1 << bits, dtype=np.uint64) << self._shift)
        longest = int(np.diff(begins, append=len(numbers)).max())
        self._begins = begins.astype(np.uint32)
        self._steps = [1 << power for power in reversed(range(longest.bit_length()))]

    def __len__(self) -> int:
        return len(self._numbers)

    def has(self, sought: Numbers) -> npt.NDArray[np.bool_]:
        """bool (sought,): which are in the set."""
        at = self._begins[sought >> self._shift].astype(np.int64)
        for step in self._steps:
            at += step * (self._numbers.take(at + (step - 1), mode="clip") < sought)
        return self._numbers.take(at, mode="clip") == sought


def _each_once(numbers: bytearray) -> Numbers:
    """uint64 numbers, sorted in their place, without those that come again."""
    found = np.frombuffer(numbers, np.uint64)
    found.sort()
    return found[np.append(True, found[1:] != found[:-1])]


def load_protected(file: RunFile) -> Protected:
    """What a run file says that training must not read; where it says nothing, what its corpora hold out.

    Raises:
        ConfigError: A file is missing or cannot be read, has no text that counts, or there is nothing at all.
        CorpusError: A document that is held out is damaged, or cannot be downloaded.
    """
    told = file.server.decontaminate
    section = told or DecontaminateSection()
    held_out = _held_out(file) if section.held_out else []
    if told and not section.files and not held_out:
        raise ConfigError(
            "server.decontaminate: there is nothing to compare with: name files, or hold documents out of the corpus "
            "(`streamdocs prepare --holdout`)"
        )
    texts = chain(*map(_strings, section.files), *map(_documents, held_out))
    return Protected(texts, section.words)


def _held_out(file: RunFile) -> list[Corpus]:
    """What the corpora of a run hold out, where they do."""
    corpus = partial(Corpus, download_timeout=file.download_timeout, download_retry=file.download_retry)
    read = [corpus(local, remote) for local, remote in file.corpora.items()]
    return [corpus(each.local, each.remote, "holdout") for each in read if "holdout" in each.index["splits"]]


def _documents(corpus: Corpus) -> Iterator[str]:
    return map(corpus.text, range(len(corpus.documents)))


def _strings(file: str) -> Iterator[str]:
    """Every string of a benchmark's rows."""
    counts = False
    try:
        for row in read_documents([file], text_field=EVERY_STRING):
            if isinstance(row, BadRow):
                why = row.error if isinstance(row, UnreadableRest) else row.cause
                hint = f" ({row.hint})" if row.hint else ""
                raise ConfigError(f"server.decontaminate: {row.file}, row {row.row}: {why}{hint}")
            counts = counts or len(Words(row.text).listed) >= LEAST_WORDS
            yield row.text
    except CorpusError as error:
        raise ConfigError(f"server.decontaminate: {error}") from error
    if not counts:
        raise ConfigError(f"server.decontaminate: {file} has no text of {LEAST_WORDS} words or more")
