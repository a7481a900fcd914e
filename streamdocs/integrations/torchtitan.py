"""For torchtitan: a dataloader of its protocol, for ``Trainer.Config(dataloader=MegadocDataLoader.Config(…))``."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from streaming import StreamingDataLoader
from torch import Tensor
from torchtitan.components.dataloader import BaseDataLoader

from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.errors import ConfigError
from streamdocs.integrations.packed import position_ids
from streamdocs.reading.batch import IGNORED


class MegadocDataLoader(BaseDataLoader):
    """Web text and megadocs, one epoch after another without end.

    It yields ``({"input", "positions"}, labels)``, each int64 (local_batch_size, seq_len). Labels are shifted, the last
    of each is not to be learned. Positions begin anew with each document where the run has
    ``block_cross_document_attention``, and torchtitan keeps apart what they say; otherwise with each sequence.
    Its state is that of the run: the same on all ranks, and good for another number of them at one global batch.

    Args:
        config: The run file, and how it is read.
        dp_world_size, dp_rank: Processes that read different sequences, and which of them this is.
        seq_len, local_batch_size: Of ``config.training``: ``mix.max_seq_len``, and sequences a batch and rank.
        others: What torchtitan also tells, as the tokenizer: the corpus has its own.

    Raises:
        ConfigError: The run has sequences of another length.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        """What is read, and by how many DataLoader workers."""

        run_file: str = "run.yaml"
        """The run file."""

        num_workers: int = 1
        """Worker processes."""

        pin_memory: bool = False
        """Whether batches are copied to CUDA's pinned memory."""

    def __init__(
        self, config: Config, *, dp_world_size: int, dp_rank: int, seq_len: int, local_batch_size: int, **others: Any
    ) -> None:
        self.dataset = StreamingMegadocDataset.from_run_file(
            config.run_file, batch_size=local_batch_size, rank=dp_rank, ranks=dp_world_size
        )
        length = self.dataset.run.mixture.max_seq_len
        if length != seq_len:
            raise ConfigError(f"{config.run_file}: mix.max_seq_len is {length}, and training.seq_len {seq_len}")
        self._loader = StreamingDataLoader(
            self.dataset,
            batch_size=local_batch_size,
            num_workers=config.num_workers,
            pin_memory=config.pin_memory,
        )
        self._begun, self._loaded = False, ""

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """Batches, from where a loaded state says."""
        self._begun = True
        while True:
            for batch in self._loader:
                tokens, labels = batch["input_ids"], batch["labels"].roll(-1, dims=1)
                labels[:, -1] = IGNORED
                documents = batch.get("sequence_id")
                places = position_ids(torch.zeros_like(tokens) if documents is None else documents)
                yield {"input": tokens, "positions": places}, labels

    def state_dict(self) -> dict[str, str]:
        """Where the run stands, as one text: a checkpoint asks a new loader first which entries it has."""
        return {"run": json.dumps(self._loader.state_dict()) if self._begun else self._loaded}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on there. An empty state is that of a run that has not begun."""
        if loaded := state_dict.get("run", ""):
            self._loader.load_state_dict(json.loads(loaded))
            self._loaded = loaded
