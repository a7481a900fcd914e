"""Documents that loss is measured on: what a corpus holds out, short and long apart, and what is of another domain."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from streamdocs._base.arrays import Ints
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import ConfigError

#: Of a token that is not to be predicted, as PyTorch has it.
NO_LABEL = -100


class DocumentSet(Dataset[Tensor]):
    """Some documents of a corpus, each by itself: no other one is in its context.

    Args:
        corpus: That they are of.
        documents: Which, int64 (documents,). They are sorted by length, so that a batch has little padding.
        max_seq_len: Tokens that are read of each.
    """

    def __init__(self, corpus: Corpus, documents: Ints, max_seq_len: int) -> None:
        if max_seq_len < 2:
            raise ConfigError(
                f"max_seq_len {max_seq_len}: the first token predicts the second, so there have to be two"
            )
        self.corpus, self.max_seq_len = corpus, max_seq_len
        lengths = corpus.tokens_per_document[documents]
        predictable = lengths > 1
        self.documents = documents[predictable][np.argsort(lengths[predictable], kind="stable")]
        #: Tokens past ``max_seq_len``, which nothing is said of.
        self.left_out = int(np.maximum(lengths - max_seq_len, 0).sum())

    def __len__(self) -> int:
        return len(self.documents)

    def __getitem__(self, number: int) -> Tensor:
        """The tokens of one of them: int64 (tokens,), at most ``max_seq_len``."""
        tokens = self.corpus.tokens(int(self.documents[number]))[: self.max_seq_len]
        return torch.from_numpy(tokens.astype(np.int64))

    def loader(self, batch_size: int) -> "DataLoader[Tensor]":
        """Batches of ``input_ids`` and ``labels``, int64 (batch, longest of it), padded (label -100).

        Where there are several ranks they share the documents, and some get one twice, as DistributedSampler does:
        Composer takes that out again.
        """
        ranks = distributed.is_initialized() and distributed.get_world_size() > 1
        sampler: DistributedSampler[Tensor] | None = DistributedSampler(self, shuffle=False) if ranks else None
        return DataLoader(self, batch_size, sampler=sampler, collate_fn=padded)


def padded(rows: Sequence[Tensor]) -> dict[str, Tensor]:
    """Documents as a batch, each a row that is padded on the right, where no token before it attends to."""
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "input_ids": pad([*rows], batch_first=True),
        "labels": pad([*rows], batch_first=True, padding_value=NO_LABEL),
    }


def held_out(
    corpus: Corpus,
    max_seq_len: int,
    *,
    split_at: int | None = None,
    domains: Mapping[str, str | os.PathLike[str]] | None = None,
) -> dict[str, DocumentSet]:
    """The documents that a corpus holds out, as ``short`` and ``long``, and those of other corpora by their names.

    Args:
        corpus: The training corpus.
        max_seq_len: Tokens that are read of each document.
        split_at: Tokens from which on a document is long; default such that half of the documents are, as in the paper.
        domains: Folders of corpora of other text, by names for them; where one holds documents out, those are read.

    Returns:
        No set is empty. Without held-out documents there is neither ``short`` nor ``long``.

    Raises:
        ConfigError: A domain has another tokenizer, or the name of another set.
        CorpusError: A corpus cannot be read.
    """
    found: dict[str, DocumentSet] = {}
    if "holdout" in corpus.index["splits"]:
        held = Corpus(corpus.local, corpus.remote, split="holdout")
        lengths = held.tokens_per_document
        by_length = np.argsort(lengths, kind="stable")
        first_long = len(by_length) // 2 if split_at is None else int(np.count_nonzero(lengths < split_at))
        found["short"] = DocumentSet(held, by_length[:first_long], max_seq_len)
        found["long"] = DocumentSet(held, by_length[first_long:], max_seq_len)
    for name, folder in (domains or {}).items():
        if name in ("short", "long", "iid"):
            raise ConfigError(f"domain {name!r}: the held-out documents of the run are called so: take another name")
        found[name] = _domain(corpus, name, folder, max_seq_len)
    return {name: each for name, each in found.items() if len(each)}


def _domain(corpus: Corpus, name: str, folder: str | os.PathLike[str], max_seq_len: int) -> DocumentSet:
    """All of another corpus, or what it holds out."""
    other = Corpus(folder)
    if other.tokenizer_digest != corpus.tokenizer_digest:
        raise ConfigError(
            f"domain {name}: {folder} has another tokenizer than {corpus.local}, and a loss in nats a token is of one: "
            f"prepare it with --tokenizer {corpus.local}"
        )
    if "holdout" in other.index["splits"]:
        other = Corpus(folder, split="holdout")
    return DocumentSet(other, np.arange(len(other.documents)), max_seq_len)
