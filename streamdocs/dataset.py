"""StreamingMegadocDataset: web text and megadocs, mixed exactly, as a streaming dataset."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import repeat
from operator import index
from typing import Any, SupportsIndex

import numpy as np
from streaming import StreamingDataset
from streaming.base.world import World
from torch.utils.data import get_worker_info

from streamdocs._base.arrays import Ints
from streamdocs.config import RunFile
from streamdocs.errors import ConfigError
from streamdocs.generations.heartbeat import find_writers
from streamdocs.generations.progress import sample_tally
from streamdocs.ledger.ledger import Ledger
from streamdocs.ledger.ledgers import Ledgers
from streamdocs.ledger.meter import describe_run
from streamdocs.reading.assembly import Segment, with_steps
from streamdocs.reading.batch import Sample
from streamdocs.reading.cursor import Cursor, Dealt
from streamdocs.reading.dealing import Dealer
from streamdocs.reading.ranks import Ranks
from streamdocs.reading.reader import Reader
from streamdocs.reading.saved_state import SavedState
from streamdocs.reading.shared_arrays import share_orders
from streamdocs.reading.watchdog import end_with_parent
from streamdocs.recipes import Recipe
from streamdocs.recipes.keys import Generator
from streamdocs.reporting import Reporting
from streamdocs.run import Run, check_fingerprint, shortened
from streamdocs.schedule.mixture import WhenBehind
from streamdocs.sections import StreamSection
from streamdocs.steering.controllers import Controller
from streamdocs.store import Store

log = logging.getLogger(__name__)


class StreamingMegadocDataset(Reporting, StreamingDataset):
    """Web text and megadocs, mixed at an exact ratio while the megadocs are being written.

    A ``streaming.StreamingDataset`` by type and contract; its iteration, state and downloads are its own, without
    named shared memory or lock files. A sample is one sequence: ``input_ids`` int64 (max_seq_len,), ``labels`` (the
    same), ``synthetic`` bool, ``stream`` int64 (its number in ``streams``), ``position`` int64 (that of the run), and
    with ``block_cross_document_attention`` also ``sequence_id`` int64 (max_seq_len,).

    ``dataset[p]`` is the sequence at position p of the run, ``dataset.explain(p)`` says where its tokens come from.

    Args:
        local: Folder of the corpus (``streamdocs prepare``).
        remote: Where missing files of the corpus are downloaded from.
        split: ``"train"``, or ``"holdout"`` for evaluation.
        store, cache, cache_bytes: As in a run file; not needed where ``synthetic_fraction`` is 0.
        recipe: What a document becomes.
        generator: Who writes; default who registered in the store. Of a mapping of sampling fields, who has these.
        writers: In place of it those who write, by their names.
        synthetic_fraction: Share of synthetic sequences, 0 to 1.
        streams: In place of ``recipe`` and ``synthetic_fraction``, mappings of the fields of streams, by their names.
        max_seq_len: Tokens a sequence.
        when_behind: Where generations are missing: ``"wait"``, ``"reuse"`` what there is, or fill with ``"web"`` text.
        max_reuse: How often the tokens of the generations that exist may have been read, on average, while more are to
            come; beyond it a window waits for them, or with ``when_behind="web"`` is filled. None for any number.
        window: Sequences that are sealed together.
        batch_size: Sequences a batch and rank, as given to the DataLoader.
        block_cross_document_attention: Also give ``sequence_id``, which numbers the documents of a sequence from 0. The
            model has to make a mask of it: those of Hugging Face take it as any keyword, and ignore it.
        mask_labels: Kinds of tokens whose ``labels`` are -100: ``web``, ``rephrase``, ``thought``, ``mark`` (BOS, …).
        shuffle, shuffle_seed, shuffle_algo, shuffle_block_size, num_canonical_nodes: Order of documents, as in
            StreamingDataset; ``num_canonical_nodes`` is 1 by default, so that it does not follow the machine.
        evaluation: Every epoch reads the same sequences.
        epoch_size: Sequences an epoch; default one pass over the web tokens.
        replication: Consecutive ranks that read the same sequences, as in StreamingDataset.
        download_retry, download_timeout, cache_limit: As in StreamingDataset.
        wait_timeout: Seconds to wait for generations without any progress.
        keep_checkpoints: Newest states whose generations are kept while rounds retire.
        name: Keeps the sealed windows of runs apart that are the same in everything else.
        controller: What moves the shares of the synthetic streams, by what ``report`` is told: ``"fixed"`` (default),
            ``"schedule"``, ``"ucb"``, ``"exp3"`` or ``"ado"``, or a mapping of its name and its fields.
        reseal: When a state is loaded, seal anew from the first window on whose generations are gone, and go on also
            where a window that the state names was replaced in this way.
        rank, ranks: Which rank this is, of how many; default what torch.distributed or the environment (RANK,
            WORLD_SIZE) say. ``rank=0, ranks=1`` where somebody else deals a loader out, as accelerate does.

    Raises:
        ConfigError: Arguments that cannot mean what was asked.
        CorpusError, StoreError: The corpus or the store cannot be read.
        WaitTimeoutError: No generator registered in time, or generations did not come.
    """

    def __init__(
        self,
        *,
        local: str | os.PathLike[str],
        remote: str | None = None,
        split: str = "train",
        store: str | os.PathLike[str] | Store | None = None,
        cache: str | os.PathLike[str] = "cache",
        cache_bytes: int | str | None = None,
        recipe: Recipe | None = None,
        generator: Generator | Mapping[str, Any] | None = None,
        writers: Mapping[str, Any] | None = None,
        synthetic_fraction: float | str = 0.0,
        streams: Mapping[str, Mapping[str, Any] | StreamSection] | None = None,
        max_seq_len: int = 2048,
        when_behind: WhenBehind = "reuse",
        max_reuse: float | None = None,
        window: int = 2048,
        batch_size: int | None = None,
        block_cross_document_attention: bool = False,
        mask_labels: Sequence[str] = (),
        shuffle: bool = True,
        shuffle_seed: int = 9176,
        shuffle_algo: str = "py1e",
        shuffle_block_size: int | None = None,
        num_canonical_nodes: int | None = None,
        evaluation: bool = False,
        epoch_size: int | str | None = None,
        replication: int | None = None,
        download_retry: int = 2,
        download_timeout: float = 60,
        cache_limit: int | str | None = None,
        wait_timeout: float = 3600,
        keep_checkpoints: int = 2,
        name: str = "",
        controller: str | Mapping[str, Any] | Controller | None = None,
        reseal: bool = False,
        rank: int | None = None,
        ranks: int | None = None,
    ) -> None:
        # Not super().__init__(): all that it would set up is named shared memory, and threads that poll it.
        arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError(f"batch_size={batch_size!r}: the DataLoader's is needed, as batches are dealt out by it")
        file = RunFile.of_arguments(arguments)
        mix = file.mix
        self.batch_size = batch_size
        self.replication = replication
        self.evaluation = mix.evaluation
        self.block_cross_document_attention = mix.block_cross_document_attention
        self._masks = mix.mask_labels
        self._wait_timeout = mix.wait_timeout
        self._keep_checkpoints = file.server.keep_checkpoints
        self._reseal = reseal
        Ranks.detect(rank, ranks)  # first of all: what is wrong with these is known at once
        self.store: Store | None = file.open_store() if isinstance(store, str | os.PathLike) else store
        self.run = Run.of(file, lambda: find_writers(file, self.store), self.store)
        self.corpus = self.run.corpus
        share_orders(self.run)
        self.shuffle_seed = mix.shuffle_seed
        self.num_samples = len(self.corpus.documents)
        epoch_size = mix.epoch_size or self.run.epoch_sequences
        self._dealer = Dealer(batch_size, replication, (rank, ranks), epoch_size, evaluation=mix.evaluation)
        if self._dealer.is_leader and log.isEnabledFor(logging.INFO):
            log.info("%s", self.describe())

    @classmethod
    def from_run_file(cls, path: str | os.PathLike[str], **arguments: Any) -> "StreamingMegadocDataset":
        """The dataset of a run file; ``arguments`` (``batch_size`` at least) go over what it says.

        Raises:
            ConfigError: The file does not hold a run.
        """
        return cls(**RunFile.load(path).dataset_arguments(**arguments))

    def __getstate__(self) -> dict[str, Any]:
        self._dealer.look()  # whoever unpickles this may not be able to
        return {name: value for name, value in vars(self).items() if name not in ("ledgers", "_reader", "_reporter")}

    def __len__(self) -> int:
        """Sequences an epoch and rank."""
        self._dealer.look()
        return self.epoch_size // self._dealer.world.num_ranks

    @property
    def epoch_size(self) -> int:
        """Sequences an epoch, over all ranks that read different ones."""
        return self._dealer.epoch_size

    @property
    def streams(self) -> list[str]:
        """Names of the streams, by the numbers that samples give in ``stream``."""
        return [share.name for share in self.run.mixture.shares]

    @property
    def cursor(self) -> Cursor:
        """Where iteration stands."""
        return self._dealer.cursor

    def __getitem__(self, position: Any) -> Sample:
        """The sequence at a position of the run."""
        return next(self._samples(np.array([int(position)])))

    def __iter__(self) -> Iterator[Sample]:
        """This worker's sequences of the next epoch, from where a loaded state says."""
        if get_worker_info():
            end_with_parent()  # before anything is asked of it: a trainer that is killed now never will
        return self._epoch(self._dealer.epoch(self.run.mixture.window))

    def _epoch(self, dealt: Iterator[Ints]) -> Iterator[Sample]:
        for positions in dealt:
            for sample in self._samples(positions, self._dealer.dealt):
                self._dealer.count()
                yield sample
                del sample  # the next ones lie in the same memory

    @cached_property
    def ledgers(self) -> Ledgers:
        """The sealed windows of each synthetic stream that is read, by its name."""
        return Ledgers(self.run, self.store, self._wait_timeout)

    @property
    def ledger(self) -> Ledger | None:
        """That of the only synthetic stream; None without any, ConfigError where there are several."""
        return self.ledgers[self.run.stream().name] if self.ledgers else None

    def explain(self, position: SupportsIndex) -> list[Segment]:
        """Where each token of the sequence at a sample's ``position`` comes from; it is sealed, as when it is read."""
        return with_steps(self.store, self.run, self._reader.assembler.explain(index(position)))

    def describe(self) -> str:
        """In numbers, what an epoch of this run reads."""
        store, streams = self.store, self.run.synthetic
        stored = {stream.name: sample_tally(store, stream.scope) for stream in streams if store}
        return describe_run(self.run, self.epoch_size, stored)

    def mixed_until(self, position: int) -> dict[str, float]:
        """What the run has mixed until the end of the window that the last position before ``position`` is in.

        Returns:
            synthetic_fraction: Share of synthetic sequences, less those that were filled with web text.
            generations_per_document: Mean number that units could draw on in the newest window.
            reuse: How often each token of the generations that existed was read.
            lead: (document, round) items by which generation was ahead of training.
            waited_seconds: That this rank waited for generations.

            Where there are several synthetic streams, all but the first and the last are said of each, as in
            ``faq/reuse``, and so is its share.
        """
        if not position or not self.ledgers:
            return {"synthetic_fraction": 0.0}
        return {**self.ledgers.mixed_until(position), "waited_seconds": self.waited_seconds}

    def state_dict(self, num_samples: int | None = None, from_beginning: bool = False) -> dict[str, Any]:
        """Where the run stands: JSON of less than 4,096 bytes.

        Args:
            num_samples: Sequences read in this epoch, over all ranks; those that ``replication`` gives to several
                ranks count once. Default what this process was handed; in a DataLoader worker, what that one has read.
            from_beginning: Whether they are counted from the start of the epoch, or from where it was resumed.

        Raises:
            ConfigError: It cannot be known from that.
        """
        self._dealer.look()
        place = self._dealer.place(num_samples, from_beginning)
        state = {name: value for name, value in place._asdict().items() if value is not None}
        state["fingerprint"] = shortened(self.run.fingerprint)
        if self._dealer.is_leader and not place.worker:
            self.ledgers.mark(0 if self.evaluation else place.position, self._keep_checkpoints)
        return {**state, **self.ledgers.seals(place.position)}

    def load_state_dict(self, obj: dict[str, Any]) -> None:
        """Go on where a state says.

        Raises:
            FingerprintError: It is damaged, or another run's; the message names each field that differs.
            StoreError: This store did not seal what the run has read, or sealed it anew and ``reseal`` is not given.
        """
        state = SavedState.read(obj)
        check_fingerprint(state.fingerprint, self.run.fingerprint, "state")
        state.check(self.epoch_size, self.run.mixture)
        self.ledgers.resume(state.position, state.seal, again=self.evaluation, reseal=self._reseal)
        self.__dict__.pop("_reader", None)  # it may have windows open that were sealed anew, by whomever
        self._dealer.resume(state)

    @property
    def waited_seconds(self) -> float:
        """Seconds that this rank waited for generations so far."""
        return self.cursor.waited_seconds

    @cached_property
    def _reader(self) -> Reader:
        documents = self.block_cross_document_attention
        batches = self.batch_size, self._dealer.global_batch
        return Reader(self.run, self.ledgers, *batches, documents=documents, masks=self._masks)

    def _samples(self, positions: Ints, dealt: Dealt | None = None) -> Iterator[Sample]:
        before = self.ledgers.waited_seconds
        for sequences in self._reader.read(positions):
            if (waited := self.ledgers.waited_seconds) > before:
                self.cursor.add_waited(World.detect().worker_of_rank, waited - before)
                before = waited
            yield from map(Sample, repeat(sequences._replace(dealt=dealt)), sequences.rows.tolist())
            del sequences  # the next ones lie in the same memory
