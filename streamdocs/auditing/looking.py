"""Opening a run to look at it: nothing is waited for, written or sealed."""

import os
from collections.abc import Mapping

from streamdocs.config import RunFile
from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.errors import ConfigError
from streamdocs.generations.heartbeat import registered_generators, wait_for_generator
from streamdocs.ledger.ledger import Ledger
from streamdocs.ledger.ledgers import sealed_positions
from streamdocs.recipes.keys import Generator
from streamdocs.run import Run
from streamdocs.store import Store


def open_run(run_file: str | os.PathLike[str], generator: Generator | None = None) -> StreamingMegadocDataset:
    """The dataset of a run file, to look at what is there; ``generator`` where neither it nor the store names one.

    Raises:
        StreamdocsError: The run file, the corpus or the store cannot be read, or there is no store.
    """
    file = RunFile.load(run_file)
    store = file.open_store(must_exist=True) if file.synthetic and file.store else None
    arguments = file.dataset_arguments(batch_size=1, wait_timeout=0, store=store, generator=generator)
    return StreamingMegadocDataset(**arguments)


def open_stored(run_file: str | os.PathLike[str], generator: Generator | None = None) -> tuple[Run, Store]:
    """The run of a run file and its store, which has to be there.

    Args:
        run_file: Says which run.
        generator: Whose it is where neither the file nor the store names one; with it, the store may be made.

    Raises:
        ConfigError: Nothing is ever written or sealed, because nothing synthetic is read.
        StoreError: There is no store.
    """
    file = RunFile.load(run_file)
    check_synthetic(file, run_file)
    store = file.open_store(must_exist=generator is None)
    return run_over(file, store, generator), store


def check_synthetic(file: RunFile, path: str | os.PathLike[str]) -> None:
    """Raise ConfigError where nothing is ever written or sealed, because nothing synthetic is read."""
    if not (file.synthetic and file.store):
        raise ConfigError(f"{os.fspath(path)}: nothing is written or sealed where synthetic_fraction is 0")


def run_over(file: RunFile, store: Store, generator: Generator | None = None, patience: float = 5) -> Run:
    """The run of a file over a store.

    Args:
        file, store: Which, and where.
        generator: Whose it is where neither the file nor the store names one.
        patience: Seconds to wait for a server to say who writes.

    Raises:
        ConfigError: The store has several who write, and the file names none.
        WaitTimeoutError: Nobody wrote yet.
    """
    known = None if registered_generators(store) else generator
    who = file.who_writes() or known or wait_for_generator(store, patience, file.generator.sampling)
    return Run.of(file, who, store)


def check_sealed(run: Run, ledgers: Mapping[str, Ledger], position: int) -> None:
    """Raise ConfigError where a position is not sealed: looking must not decide what a run reads."""
    sealed = sealed_positions(ledgers, run.mixture.window)
    if position < 0 or (sealed is not None and position >= sealed):
        raise ConfigError(
            f"position {position}: there are those from 0 on"
            + ("" if sealed is None else f", and {sealed} of them are sealed; others are when training reads them")
        )
