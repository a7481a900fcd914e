"""Opening a run to look at it: nothing is waited for, written or sealed."""

import os

from streamdocs.config import RunFile
from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.errors import ConfigError
from streamdocs.ledger.ledgers import sealed_positions
from streamdocs.recipes.keys import Generator


def open_run(run_file: str | os.PathLike[str], generator: Generator | None = None) -> StreamingMegadocDataset:
    """The dataset of a run file, to look at what is there; ``generator`` where neither it nor the store names one.

    Raises:
        StreamdocsError: The run file, the corpus or the store cannot be read, or there is no store.
    """
    file = RunFile.load(run_file)
    store = file.open_store(must_exist=True) if file.synthetic and file.store else None
    arguments = file.dataset_arguments(batch_size=1, wait_timeout=0, store=store, generator=generator)
    return StreamingMegadocDataset(**arguments)


def check_sealed(dataset: StreamingMegadocDataset, position: int) -> None:
    """A look must not decide what a run reads: sealing is for who trains."""
    sealed = sealed_positions(dataset.ledgers, dataset.run.mixture.window)
    if position < 0 or (sealed is not None and position >= sealed):
        raise ConfigError(
            f"position {position}: there are those from 0 on"
            + ("" if sealed is None else f", and {sealed} of them are sealed; others are when training reads them")
        )
