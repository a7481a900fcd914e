"""For llm-foundry: what ``name: megadocs`` means in its YAML, once ``streamdocs`` is installed beside it."""

import os
from pathlib import Path
from typing import Any

import torch
from composer import DataSpec
from streaming import StreamingDataLoader
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from streamdocs.corpus.reader import Corpus
from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.errors import ConfigError


def build_megadoc_dataloader(
    *,
    run_file: str,
    device_batch_size: int | float,
    tokenizer: Any = None,
    dataset: dict[str, Any] | None = None,
    num_workers: int = 1,
    pin_memory: bool = True,
    **loader: Any,
) -> DataSpec:
    """The loader of a run, as ``train_loader: {name: megadocs, run_file: run.yaml}``.

    Args:
        run_file: The run file.
        device_batch_size: Sequences a batch and rank, which llm-foundry works out.
        tokenizer: That of the YAML, which only has to know all tokens of the corpus.
        dataset: Arguments of ``StreamingMegadocDataset`` that go over the run file.
        num_workers, pin_memory, loader: Of the DataLoader.

    Raises:
        ConfigError: The tokenizer is too small for the corpus, or a batch is a part of a sequence.
    """
    if device_batch_size != int(device_batch_size):
        raise ConfigError(f"device_batch_size={device_batch_size}: a batch of a rank is a whole number of sequences")
    size = int(device_batch_size)
    read = StreamingMegadocDataset.from_run_file(run_file, batch_size=size, **(dataset or {}))
    known, needed = len(tokenizer) if tokenizer is not None else None, read.corpus.vocab_size
    if known is not None and known < needed:
        raise ConfigError(f"the tokenizer knows {known:,} tokens, and the corpus of {run_file} has {needed:,}")
    pinned = pin_memory and torch.cuda.is_available()
    return DataSpec(StreamingDataLoader(read, batch_size=size, num_workers=num_workers, pin_memory=pinned, **loader))


class MegadocTokenizer(PreTrainedTokenizerFast):
    """The tokenizer of a corpus, as ``tokenizer: {name: megadocs, kwargs: {corpus: corpus}}``.

    Args:
        corpus: Folder of the corpus.
        arguments: Of a tokenizer of ``transformers``.
    """

    def __init__(self, corpus: str | os.PathLike[str], **arguments: Any) -> None:
        tokenizer = Tokenizer.from_file(str(Path(corpus) / "tokenizer.json"))
        bos, eos = (None if end is None else tokenizer.id_to_token(end) for end in Corpus(corpus).ends)
        super().__init__(tokenizer_object=tokenizer, **{"bos_token": bos, "eos_token": eos, **arguments})
