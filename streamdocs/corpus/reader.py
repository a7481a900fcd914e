"""Reading a corpus: an index of all documents in memory, tokens and text mapped from the shards."""

import os
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from streamdocs._base.arrays import Int32s, Ints, Tokens
from streamdocs._base.hashing import text_digest
from streamdocs._base.unfinished import remove_stale
from streamdocs._base.untrusted import load_json
from streamdocs.corpus.columns.conditions import Where
from streamdocs.corpus.columns.selection import select
from streamdocs.corpus.files import (
    COLUMNS_FOLDER,
    DOCUMENTS_FILE,
    INDEX_FILE,
    PREPARE_AGAIN,
    SHARDS_FILE,
    TOKENIZER_FILE,
    check_split,
    load_documents,
    load_index,
    tokens_checksum,
)
from streamdocs.corpus.schema import check_shards
from streamdocs.corpus.shards import CorpusFiles, MappedShard, Shards
from streamdocs.corpus.tokenizing.tokenizer import CorpusTokenizer, load_boundaries
from streamdocs.errors import CorpusError, some
from streamdocs.recipes.boundaries import TokenBoundaries


class Corpus:
    """One split of a corpus.

    streaming opens a file for every sample that it reads; this maps each shard once and shares the page cache.

    Args:
        local: Folder of the corpus.
        remote: Where files that are missing in it are downloaded from, any location that streaming knows.
        split: ``"train"`` or ``"holdout"``.
        download_timeout: Seconds for one file.
        download_retry: Further tries for one file.
        cache_limit: Most bytes of shards kept in ``local``, see ``Shards``; not without ``remote``: the only copy is
            never deleted.

    Raises:
        CorpusError: The split is missing, damaged or has no documents.
    """

    def __init__(
        self,
        local: str | os.PathLike[str],
        remote: str | None = None,
        split: str = "train",
        *,
        download_timeout: float = 60,
        download_retry: int = 2,
        cache_limit: int | None = None,
    ) -> None:
        self.local = Path(local)
        self.remote = remote
        self.split = split
        self._files = CorpusFiles(self.local, remote, download_timeout, download_retry)
        for folder in (self.local, self.local / split, self.local / split / COLUMNS_FOLDER):
            if remote and folder.is_dir():
                remove_stale(folder)
        for file in (INDEX_FILE, TOKENIZER_FILE):
            self._fetch(file)
        self.index = load_index(self.local)
        if split not in self.index["splits"]:
            raise CorpusError(f"{self.local} has no split {split!r}; it has {', '.join(self.index['splits'])}")
        self.digest: str = self.index["splits"][split]["digest"]
        for file in (DOCUMENTS_FILE, SHARDS_FILE):
            self._fetch(f"{split}/{file}")
        check_split(self.local, split, self.index)
        self._open()
        shards = load_shards(self.local / split / SHARDS_FILE)
        self._shards = Shards(self._files, split, shards, cache_limit)
        self._shard_files = [shard["raw_data"]["basename"] for shard in shards]
        self.shard_sizes = np.array([shard["samples"] for shard in shards], np.int64)
        # A list, because a single number is found far faster in it than in an array.
        self._first_document: list[int] = (np.cumsum(self.shard_sizes) - self.shard_sizes).tolist()
        if not len(self.documents) or self.shard_sizes.sum() != len(self.documents):
            raise CorpusError(
                f"{self.local / split}: {DOCUMENTS_FILE} and the shards disagree; prepare the corpus again"
            )
        self.dtype = np.dtype(self.index["tokenizer"]["dtype"])

    def _open(self) -> None:
        # A plain view of the mapped file: items of np.memmap are slow.
        self.documents = load_documents(self.local, self.split).view(np.ndarray)
        self._digests = self.documents["digest"]
        self.tokens_per_document = self.documents["tokens"].astype(np.int64)
        #: Documents whose tokens this process has looked at since it mapped their shard.
        self._intact = np.zeros(len(self.documents), np.bool_)

    def __getstate__(self) -> dict[str, Any]:
        # The index is mapped again: it may be too large to hand to every worker that is not forked.
        opened = ("documents", "_digests", "tokens_per_document", "_intact")
        return {name: value for name, value in vars(self).items() if name not in opened}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    @cached_property
    def tokenizer(self) -> CorpusTokenizer:
        """The student's tokenizer."""
        return CorpusTokenizer.load(self.local)

    @cached_property
    def boundaries(self) -> TokenBoundaries:
        """Where documents may be cut; without the tokenizer, which is large."""
        return load_boundaries(self.local)

    def encode_marks(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of strings of the configuration; without the tokenizer, which is large, where all are known."""
        known: dict[str, list[int]] = {"": [], **self.index["tokenizer"].get("marks", {})}
        if all(text in known for text in texts):
            return [np.array(known[text], self.dtype) for text in texts]
        return list(map(CorpusTokenizer.load(self.local).encode_marks, texts))

    @property
    def vocab_size(self) -> int:
        """Tokens that a model of this corpus has to know; without the tokenizer, which is large."""
        return self.index["tokenizer"]["vocab_size"]

    @property
    def ends(self) -> tuple[int | None, int]:
        """The tokens before a document, None for none, and after it."""
        section = self.index["tokenizer"]
        return section["bos"], section["eos"]

    @property
    def tokenizer_digest(self) -> str:
        """32 hexadecimal digits."""
        return self.index["tokenizer"]["digest"]

    def select(self, where: Where) -> Int32s:
        """The documents that meet all conditions, in order: int32 (chosen,), at least one. Downloads their columns.

        Raises:
            ConfigError: A column is not there or of another kind than its condition, or no document meets them all.
            CorpusError: A column is damaged, or cannot be downloaded.
        """
        section = self.index["splits"][self.split]
        return select(self.local / self.split, section, where, lambda name: self._fetch(f"{self.split}/{name}"))

    def document_digest(self, document: int) -> bytes:
        """The 24-byte digest of a document's text."""
        return bytes(self._digests[document])

    def document_digests(self, documents: Ints) -> list[bytes]:
        """The digests of several documents."""
        return self._digests[documents].tolist()

    def tokens(self, document: int) -> Tokens:
        """Tokens of a document, as a view into its shard: ``dtype`` (tokens,); ``CorpusError`` as ``locate``."""
        (shard,), (begin,) = self.locate(np.array([document]))
        stop = begin + int(self.tokens_per_document[document]) * self.dtype.itemsize
        return np.frombuffer(shard[begin:stop], self.dtype)

    def tokens_of(self, documents: Ints) -> Tokens:
        """Tokens of documents, end to end, copied: ``dtype`` (tokens,); ``CorpusError`` as ``locate``."""
        shards, begins = self.locate(documents)
        stops = begins + self.tokens_per_document[documents] * self.dtype.itemsize
        parts = zip(shards, begins.tolist(), stops.tolist(), strict=True)
        return np.frombuffer(b"".join([shard[begin:stop] for shard, begin, stop in parts]), self.dtype)

    def locate(self, documents: Ints) -> tuple[list[memoryview], Ints]:
        """Of each document, the bytes of its shard and at which of them its tokens begin: int64 (documents,).

        Raises:
            CorpusError: The tokens of some document are damaged, or its shard is missing.
        """
        bodies, begins = self._places(documents)
        if not (known := self._intact[documents]).all():
            unknown, first = np.unique(documents[~known], return_index=True)
            at = np.flatnonzero(~known)[first]
            self._check_tokens(unknown, [bodies[each] for each in at.tolist()], begins[at])
        return bodies, begins

    def _places(self, documents: Ints) -> tuple[list[memoryview], Ints]:
        shards = self._shards_of(documents)
        order = np.argsort(shards, kind="stable")
        begins = np.empty(len(documents), np.int64)
        views: dict[int, memoryview] = {}
        for here in np.split(order, np.flatnonzero(np.diff(shards[order])) + 1) if len(order) else ():
            mapped = self._shard(shard := int(shards[here[0]]))
            views[shard] = mapped.data.data
            # Columns lie in alphabetical order, so the tokens are the last bytes of a sample.
            begins[here] = mapped.offsets[documents[here] - self._first_document[shard] + 1]
        begins -= self.tokens_per_document[documents] * self.dtype.itemsize
        return [views[shard] for shard in shards.tolist()], begins

    def _check_tokens(self, documents: Ints, bodies: list[memoryview], begins: Ints) -> None:
        """Look at every token of documents that this process has not read before."""
        stops = begins + self.tokens_per_document[documents] * self.dtype.itemsize
        parts = zip(bodies, begins.tolist(), stops.tolist(), strict=True)
        found = np.array([tokens_checksum(body[begin:stop]) for body, begin, stop in parts], np.uint64)
        damaged = documents[found != self.documents["checksum"][documents]]
        if len(damaged):
            raise self._damage(damaged, "tokens")
        self._intact[documents] = True

    def check_shards(self) -> None:
        """Look at all shards that are here; their tokens are looked at when they are read.

        Raises:
            CorpusError: One is missing or of another size.
        """
        self._shards.check()

    def is_local(self, document: int) -> bool:
        """Whether a document can be read at once; otherwise its shard may have to be downloaded first."""
        return self.remote is None or self._shard_of(document) in self._shards.mapped

    def text(self, document: int) -> str:
        """Text of a document; threads may ask for several at a time.

        Raises:
            CorpusError: It is damaged, or its shard is missing.
        """
        shard = self._shard_of(document)
        mapped = self._shard(shard)
        # Two columns of variable size: their sizes come first, four bytes each.
        begin = int(mapped.offsets[document - self._first_document[shard]]) + 8
        text = bytes(mapped.data[begin : begin + int(self.documents["text_bytes"][document])])
        try:
            if text_digest(text) == self.document_digest(document):
                return text.decode()
        except UnicodeDecodeError:
            pass
        raise self._damage(np.array([document]), "text")

    def _damage(self, documents: Ints, what: str) -> CorpusError:
        files = [self._shard_files[shard] for shard in np.unique(self._shards_of(documents)).tolist()]
        return CorpusError(
            f"{self.local / self.split}: the {what} of documents {some(documents.tolist())} is damaged "
            f"({some(files)}). Delete these shards and {PREPARE_AGAIN}"
        )

    def _shards_of(self, documents: Ints) -> Ints:
        return np.searchsorted(self._first_document, documents, side="right") - 1

    def _shard_of(self, document: int) -> int:
        return bisect_right(self._first_document, document) - 1

    def _shard(self, shard: int) -> MappedShard:
        mapped = self._shards.mapped.get(shard)
        if mapped is None:
            first, samples = self._first_document[shard], int(self.shard_sizes[shard])
            self._intact[first : first + samples] = False
            mapped = self._shards.map(shard)
        return mapped

    def _fetch(self, name: str) -> Path:
        return self._files.fetch(name)


def load_shards(path: Path) -> list[dict[str, Any]]:
    """The shards of an MDS ``index.json``.

    Raises:
        CorpusError: It cannot be read, or its shards are not what ``streamdocs prepare`` writes.
    """
    try:
        shards: list[dict[str, Any]] = load_json(path.read_bytes())["shards"]
        check_shards(shards)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{path} is not what `streamdocs prepare` writes ({error}): {PREPARE_AGAIN}") from error
    return shards
