"""What a document is about, as a model was asked for it: its level, its subject, and topics with key concepts."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from streamdocs._base.hashing import permutation

#: Tags of an answer, whatever its step is called.
LEVEL, SUBJECT, TOPIC = "level", "subject", "topic"
#: Most topics, key concepts of each, and characters of a name.
MOST_TOPICS, MOST_CONCEPTS, MOST_CHARS = 5, 20, 80

#: Categories of characters that are no part of a name: control, halves of a character, ends of lines and paragraphs.
_CONTROL = {"Cc", "Cs", "Zl", "Zp"}
# Bullets and numbers of a list, quotes and emphasis; "-ing", "2.5 GHz" and "3D" begin with none.
_BEFORE = re.compile(r"(?:[\s\"“”„*`•·‣◦▪●]|[-+#>–—](?!\S)|\(?[0-9]{1,3}[.):](?!\S))*+")
_AFTER = ' "“”„*`.,;:'
#: Pairs and triples in turn are five at a time. Of the one that begins last among the first n of these: how many it has
#: so far, and how many it lacks, by n modulo five.
_BEGUN, _MISSING = (0, 1, 0, 1, 2), (0, 1, 0, 2, 1)


@dataclass(frozen=True)
class Concepts:
    """What a document is about.

    Args:
        level: For whom it is, as in "high school"; "" where that is not said.
        subject: Its field, likewise.
        topics: The name of each topic, and the names of its key concepts.
    """

    level: str
    subject: str
    topics: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, level: str, subject: str, topics: Iterable[tuple[str, Iterable[str]]]) -> "Concepts":
        """What is a name in what a model wrote, without bullets, numbers and punctuation around it.

        Left out are names that are longer than ``MOST_CHARS`` or come again in their topic, what is more than
        ``MOST_TOPICS`` and ``MOST_CONCEPTS``, and topics without a name or a key concept.
        """
        named = ((_name(topic), tuple(_once(map(_name, concepts))[:MOST_CONCEPTS])) for topic, concepts in topics)
        whole = [(topic, concepts) for topic, concepts in named if topic and concepts]
        return cls(_name(level), _name(subject), tuple(whole[:MOST_TOPICS]))

    @classmethod
    def read(cls, text: str) -> "Concepts | None":
        """Those whose ``str()`` a text is; None where it is nobody's."""
        head, *topics = (part.split("\n") for part in text.split("\n\n"))
        level, subject = (line.partition(": ")[2] for line in (*head, "", "")[:2])
        named = ((name.partition(": ")[2], tuple(line[2:] for line in concepts)) for name, *concepts in topics)
        found = cls(level, subject, tuple(named))
        return found if str(found) == text else None

    def __str__(self) -> str:
        """One plain form: a line each for level and subject; then for each topic an empty line, and one a name."""
        topics = ("\n- ".join([f"{TOPIC}: {topic}", *concepts]) for topic, concepts in self.topics)
        return "\n\n".join([f"{LEVEL}: {self.level}\n{SUBJECT}: {self.subject}", *topics])

    @property
    def names(self) -> list[str]:
        """The key concepts of all topics, each once."""
        return _once(name for _, concepts in self.topics for name in concepts)

    def choice(self, number: int, seed: bytes) -> list[str]:
        """Key concepts for one question: two and three in turn, or all where there are fewer.

        They are read off an order of all key concepts, then off another, and so on. So after any number of choices each
        has been chosen as often as every other, within one. In a choice that ends in the next order none is twice:
        there those come first that it does not have.

        Args:
            number: Of the choice, 0, 1, 2, …
            seed: Of the orders.
        """
        names = self.names
        if len(names) < 3:
            return names
        # After five orders a choice ends with an order, and all begins anew.
        turn, number = divmod(number, 2 * len(names))
        places: list[int] = []
        for each in range(5 * turn, 5 * turn + 5):
            drawn = permutation(len(names), "concepts", seed.hex(), each).tolist()
            has, lacks = (of[len(places) % 5] for of in (_BEGUN, _MISSING))
            begun = places[len(places) - has :]
            first = [place for place in drawn if place not in begun][:lacks]
            places += first + [place for place in drawn if place not in first]
        begin = 5 * (number // 2) + 2 * (number % 2)
        return [names[place] for place in places[begin : begin + 2 + number % 2]]


def _name(line: str) -> str:
    """What is a name in a line; "" where nothing is, or too much."""
    if not line.isprintable():
        line = "".join(" " if unicodedata.category(each) in _CONTROL else each for each in line)
    name = " ".join(line.split()).rstrip(_AFTER)
    name = _BEFORE.sub("", name, count=1)
    return name if len(name) <= MOST_CHARS and any(map(str.isalnum, name)) else ""


def _once(names: Iterable[str]) -> list[str]:
    """Names without empty ones, and without those that are another in the other case."""
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(name.casefold(), name)
    return [name for name in found.values() if name]
