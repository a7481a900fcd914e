"""Editions in a store: each is sealed once, for everybody, and kept in parts under its digest."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgpack
from pydantic import TypeAdapter

from streamdocs._base.arrays import Count
from streamdocs._base.hashing import canonical, digest128
from streamdocs._base.untrusted import unpack
from streamdocs.errors import StoreError
from streamdocs.graph.edition import Edition
from streamdocs.graph.packing import pack_edition, unpack_edition
from streamdocs.graph.walks import Walks
from streamdocs.recipes.rules import GraphRule
from streamdocs.store import Snapshot, Store

_HEADER = TypeAdapter(tuple[Count, Count, Count, Count])
#: Walks are a function of their edition alone.
_SEED = 0


@dataclass(frozen=True)
class Sealed:
    """An edition as it is sealed.

    Args:
        number: From 1 on.
        digest: Of its content, 16 bytes.
        parts: In how many values it is kept.
        documents: Of the stream, those whose concepts were looked at.
        topics: How many it has; without any there are no walks.
    """

    number: int
    digest: bytes
    parts: int
    documents: int
    topics: int


class Editions:
    """The editions of the graph over some documents.

    Args:
        store: Where they are.
        concepts: Id of the scope that its concepts are of.
        rule: How it is made of these.
    """

    def __init__(self, store: Store, concepts: bytes, rule: GraphRule) -> None:
        self._store = store
        self._prefix = b"edition/" + digest128(concepts + canonical(rule.identity))
        self._walks: dict[bytes, Walks] = {}  # of one edition

    def sealed(self) -> list[Sealed]:
        """Those that there are, the newest last.

        Raises:
            StoreError: What is said of one is damaged.
        """
        found: list[Sealed] = []
        with self._store.read() as snapshot:
            while (digest := snapshot.get("windows", self._key(len(found) + 1))) is not None:
                found.append(self._sealed(snapshot, bytes(digest)))
        return found

    def seal(self, number: int, edition: Edition, documents: int) -> Sealed:
        """Seal an edition made of so many documents, unless somebody else was faster; the one that is sealed.

        Raises:
            StoreError: It cannot be written.
        """
        parts = 0
        for parts, part in enumerate(pack_edition(edition), 1):
            self._store.add("windows", {_part_key(edition.digest, parts): part})
        header = [number, parts, documents, len(edition.topics)]
        # Last, so that what is named is whole.
        self._store.add("windows", {_header_key(edition.digest): msgpack.packb(header)})
        self._store.add("windows", {self._key(number): edition.digest})
        return self.sealed()[number - 1]

    def find(self, digest: bytes) -> Sealed:
        """The edition of a digest, also one that was made by other rules.

        Raises:
            StoreError: What is said of it is missing or damaged.
        """
        with self._store.read() as snapshot:
            return self._sealed(snapshot, digest)

    def walks(self, digest: bytes) -> Walks:
        """The walks of an edition; those of the last one are kept.

        Raises:
            StoreError: It is missing or damaged.
        """
        if (walks := self._walks.get(digest)) is None:
            self._walks = {digest: (walks := Walks(self.load(digest), _SEED))}
        return walks

    def load(self, digest: bytes) -> Edition:
        """The edition of a digest.

        Raises:
            StoreError: It is missing or damaged.
        """
        sealed = self.find(digest)
        try:
            edition = unpack_edition(self._parts(sealed))
            if edition.digest != digest:
                raise ValueError("it is another one")
        except ValueError as error:
            raise self._unreadable(digest, error) from error
        return edition

    def _parts(self, sealed: Sealed) -> Iterator[bytes]:
        for part in range(1, sealed.parts + 1):
            with self._store.read() as snapshot:
                if (found := snapshot.get("windows", _part_key(sealed.digest, part))) is None:
                    raise ValueError(f"part {part} of {sealed.parts} is missing")
                yield bytes(found)

    def _key(self, number: int) -> bytes:
        return self._prefix + number.to_bytes(2, "big")

    def _sealed(self, snapshot: Snapshot, digest: bytes) -> Sealed:
        try:
            number, *others = _HEADER.validate_python(unpack(snapshot.get("windows", _header_key(digest)) or b""))
        except ValueError as error:
            raise self._unreadable(digest, error) from error
        return Sealed(number, digest, *others)

    def _unreadable(self, digest: bytes, error: ValueError) -> StoreError:
        return StoreError(
            f"edition {digest.hex()} of the graph in store {self._store.location} cannot be read ({error}): restore "
            "the store"
        )


def _header_key(digest: bytes) -> bytes:
    return b"edition header/" + digest


def _part_key(digest: bytes, part: int) -> bytes:
    return b"edition part/" + digest + part.to_bytes(4, "big")
