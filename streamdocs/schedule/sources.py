"""Sources: what the items of a stream are about."""

from typing import Protocol

from streamdocs._base.arrays import Int32s, Ints


class Sources(Protocol):
    """What a stream has generations written about, each known by a number: documents are the first kind.

    The schedule counts them, the server asks for their texts, and units lay out the tokens of those that have some.
    """

    #: int64 (shards,): how many lie together, in the order of their numbers.
    shard_sizes: Ints

    def __len__(self) -> int:
        """How many there are."""

    @property
    def numbers(self) -> Ints:
        """int64 (sources,): the number of each, sorted."""

    def digests(self, sources: Ints) -> list[bytes]:
        """Of each, a digest of all that a prompt can say about it."""

    def text(self, source: int) -> str:
        """What prompts say of it."""

    def tokens(self, sources: Ints | Int32s) -> Ints:
        """int64 (sources,): how many tokens each has to lay out; 0 for none."""
