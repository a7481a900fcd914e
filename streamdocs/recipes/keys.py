"""Content keys: everything that can change a generation's text is in its key, and nothing else is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import msgpack
import xxhash

from streamdocs._base.hashing import TEXT_DIGEST_BYTES, canonical, digest128, fingerprint, text_digest
from streamdocs._base.typed import check_types
from streamdocs.errors import ConfigError
from streamdocs.recipes.base import Recipe
from streamdocs.recipes.programs.program import Step
from streamdocs.recipes.programs.tasks import DEFAULT_WRITER

#: Raised when the meaning of a key or record changes.
FORMAT_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class Generator:
    """Who writes: a model and how it is sampled.

    Args:
        model: Name under which the engine serves it (``template`` for the built-in engine).
        revision: Which weights, where the name does not say it.
        temperature, top_p: Sampling parameters.
        system: System prompt.
        extra_body: Further fields of a request's body, plain values; None for none.

    Raises:
        ConfigError: A value of another type.
    """

    model: str
    revision: str = ""
    temperature: float = 1.0
    top_p: float = 1.0
    system: str | None = None
    extra_body: Mapping[str, Any] | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """All that it says, without the extra body of one that has none."""
        said = asdict(self)
        return said if self.extra_body is not None else {name: said[name] for name in said if name != "extra_body"}

    def __post_init__(self) -> None:
        check_types(self, "generator")

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits."""
        return fingerprint(self.fields)


class Key(NamedTuple):
    """Where a round of generations of one document is stored.

    ``check`` is a second, independent hash of the same material: it is kept in the record, to notice a collision.
    """

    digest: bytes
    check: bytes

    @property
    def seed(self) -> int:
        """For engines that can be deterministic."""
        return int.from_bytes(self.check[:4], "big")


#: The writer that is no model but rules, and that every run has.
RULES, TEMPLATE = "template", Generator(model="template", revision="1")


class Writers(Mapping[str, Generator]):
    """Who writes, by name; the default writer has the name "" too.

    Args:
        named: Their names, the default writer first.
    """

    def __init__(self, named: Mapping[str, Generator]) -> None:
        self._named = {DEFAULT_WRITER: next(iter(named.values())), RULES: TEMPLATE, **named}

    @classmethod
    def of(cls, generator: Generator) -> "Writers":
        """One that is named nowhere."""
        return cls({DEFAULT_WRITER: generator})

    def __getitem__(self, name: str) -> Generator:
        """The one of a name; ConfigError where there is none."""
        if name not in self._named:
            raise ConfigError(f"writer {name!r}: the writers of this run are {', '.join(filter(None, self._named))}")
        return self._named[name]

    def __iter__(self) -> Iterator[str]:
        """Their names."""
        return iter(self._named)

    def __len__(self) -> int:
        """How many names there are."""
        return len(self._named)

    @property
    def default(self) -> Generator:
        """Who writes what names nobody."""
        return self[DEFAULT_WRITER]


def step_key(step: Step, fields: Mapping[str, str], writer: Generator, ordinal: int, sent: int = 0) -> Key:
    """Under which the answer to a step of a program is.

    Args:
        step, writer: What is asked of whom.
        fields: What fills its prompt.
        ordinal: Tells those apart that ask the same.
        sent: How often it was sent back.
    """
    filled = text_digest(canonical({name: fields[name] for name in step.inputs}))
    material = canonical([FORMAT_VERSION, "step", filled, step.request_part, writer.fingerprint, ordinal, sent])
    return Key(digest128(material), xxhash.xxh64_digest(material, FORMAT_VERSION))


class Keyring:
    """Keys of one recipe, those who write it, and tokenizer.

    A key is xxh3-128 over the canonical msgpack of (format version, document digest, request part, generator, round);
    where slots or steps have writers of their own, the generator is a list of all of them in order.
    """

    def __init__(self, recipe: Recipe, writers: Writers, tokenizer_digest: str) -> None:
        self._recipe = recipe
        self._writers = writers
        self._tokenizer = tokenizer_digest
        self._tails: dict[int, bytes] = {}
        # An array of five, the version, and the header of so many bytes: what canonical() writes before the digest.
        self._head = msgpack.packb([FORMAT_VERSION, bytes(TEXT_DIGEST_BYTES), 0, 0, 0])[: -TEXT_DIGEST_BYTES - 3]

    def key(self, document_digest: bytes, round: int) -> Key:
        """Key of round ``round`` of the document with this digest."""
        of_one = [document_digest], [round]
        return Key(*self.digests(*of_one), *self.checks(*of_one))

    def digests(self, document_digests: Sequence[bytes], rounds: Sequence[int]) -> list[bytes]:
        """Those of the keys of many (document, round) pairs: thousands of keys would set off the garbage collector."""
        return list(map(digest128, self._materials(document_digests, rounds)))

    def checks(self, document_digests: Sequence[bytes], rounds: Sequence[int]) -> list[bytes]:
        """The same of the checks."""
        return [xxhash.xxh64_digest(each, FORMAT_VERSION) for each in self._materials(document_digests, rounds)]

    def written_by(self, round: int) -> str | list[str]:
        """The fingerprints of those who write a round, or of the one who does."""
        if self._recipe.is_plain:
            return self._writers.default.fingerprint
        return [self._writers[name].fingerprint for name in self._recipe.writers_of_round(round)]

    def _materials(self, document_digests: Sequence[bytes], rounds: Sequence[int]) -> list[bytes]:
        tails = {round: self._tail(round) for round in set(rounds)}
        return [self._head + digest + tails[round] for digest, round in zip(document_digests, rounds, strict=True)]

    def _tail(self, round: int) -> bytes:
        tail = self._tails.get(round)
        if tail is None:
            parts = [self._recipe.request_part(round, self._tokenizer), self.written_by(round), round]
            tail = self._tails[round] = b"".join(canonical(part) for part in parts)
        return tail
