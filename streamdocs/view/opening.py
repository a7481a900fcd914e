"""A run that is opened to be looked at, over a store or exported ledgers: read and never written."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from streamdocs._base.paths import expand_path
from streamdocs.auditing.looking import check_synthetic, run_over
from streamdocs.config import RunFile
from streamdocs.corpus.files import INDEX_FILE
from streamdocs.errors import LedgerFileError, StoreError, StreamdocsError
from streamdocs.graph.edition import Edition
from streamdocs.graph.summary import Summary, summarise
from streamdocs.ledger.file import LedgerFile, import_ledger
from streamdocs.ledger.ledger import Ledger
from streamdocs.ledger.ledgers import Ledgers
from streamdocs.reading.assembly import Assembler
from streamdocs.run import Run
from streamdocs.store import LmdbStore, Snapshot, Store
from streamdocs.store.environment import DATA_FILE
from streamdocs.store.objects.open import is_url
from streamdocs.streams import GenerationScope

#: Which file stands at a path, and of which state.
Mark = tuple[int, ...] | None


class ReadOnly:
    """A store of which nothing can be written, whatever is called: a page decides nothing.

    Args:
        store: The store itself.
    """

    pace = 0.0

    def __init__(self, store: Store) -> None:
        #: What others keep of it for as long as they read it.
        self.inside = store
        self.location, self.silence, self.requests = store.location, store.silence, store.requests

    def read(self) -> AbstractContextManager[Snapshot]:
        """The store at this moment."""
        return self.inside.read()

    def clock(self) -> float:
        """That of the store."""
        return self.inside.clock()

    def size(self) -> int:
        """Bytes in use."""
        return self.inside.size()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise StoreError(
            f"store {self.location} is only looked at here, and something is to be written first: it is when training "
            "or generation comes to it"
        )

    add = add_all = keep = replace = update = update_soon = update_all = delete = make_room = _refuse


@dataclass
class Opened:
    """A run that is looked at.

    Args:
        run: The run.
        store: What it has sealed, and generations where these are kept.
        ledgers: Of its synthetic streams.
        whole: Whether the store is the run's own, and not made of exported ledgers.
        kept: What pages keep of it, for as long as it is looked at.
    """

    run: Run
    store: ReadOnly
    ledgers: Ledgers
    whole: bool
    kept: dict[str, Any] = field(default_factory=dict)
    _summaries: dict[bytes, Summary] = field(default_factory=dict)
    _assemblers: dict[object, Assembler] = field(default_factory=dict)

    @property
    def assembler(self) -> Assembler:
        """What reads sequences; for one thread. Where the run was sealed anew, another one."""
        reseals = tuple(ledger.reseals for ledger in self.ledgers.values())
        if reseals not in self._assemblers:
            self._assemblers = {reseals: Assembler(self.run, self.ledgers)}
        return self._assemblers[reseals]

    def summary(self, edition: Edition) -> Summary:
        """The figures of an edition of a graph; those of the last one are kept."""
        if edition.digest not in self._summaries:
            self._summaries = {edition.digest: summarise(edition)}
        return self._summaries[edition.digest]

    @property
    def graphs(self) -> dict[str, GenerationScope]:
        """The scopes that have a graph, by their streams."""
        return {stream.name: stream.scope for stream in self.run.synthetic if stream.recipe.graph}


def open_run(run_file: Path, exported: Sequence[Path], folder: Path | None) -> Opened:
    """Open a run.

    Args:
        run_file: Says which.
        exported: Ledgers of it, to look at in place of its store.
        folder: Where what is made of these may lie; for none of them, nowhere.

    Raises:
        StreamdocsError: It cannot be read, or nobody wrote yet.
    """
    file = RunFile.load(run_file)
    check_synthetic(file, run_file)
    if not exported:
        store = ReadOnly(file.open_store(must_exist=True))
        run = run_over(file, store, patience=0)
        return Opened(run, store, Ledgers(run, store, 0), whole=True)
    ledgers = [LedgerFile.load(path) for path in exported]
    made, missing = LmdbStore(tempfile.mkdtemp(dir=folder)), dict[str, None]()
    for number, ledger in enumerate(ledgers):
        run = run_over(file, made, ledger.generator, patience=0)
        missing = missing if number else dict.fromkeys(each.name for each in run.synthetic)
        stream = next((each for each in run.synthetic if run.ledger_name(each) == ledger.stream), run.synthetic[0])
        try:
            import_ledger(Ledger(run, stream, made, 0), ledger)
        except StreamdocsError as error:
            raise LedgerFileError(
                f"{exported[number]}: {error}; without --ledger, the run's own store is looked at"
            ) from error
        missing.pop(stream.name, None)
    if missing:
        raise LedgerFileError(
            f"{run_file} has windows of every synthetic stream, and none of {', '.join(missing)} is here: name an "
            "exported ledger of each (--ledger)"
        )
    store = ReadOnly(made)
    run.attach(store)
    return Opened(run, store, Ledgers(run, store, 0), whole=False)


def made_of(run_file: Path, exported: Sequence[Path]) -> list[Path]:
    """The files that say what a run is: who replaces one makes it another."""
    file = RunFile.load(run_file)
    corpora = [file.corpus, *(each.corpus for each in (file.streams or {}).values())]
    found = [run_file, *exported, *(Path(expand_path(each)) / INDEX_FILE for each in corpora if each)]
    if not exported and file.store and not is_url(file.store):
        found.append(Path(expand_path(file.store)) / DATA_FILE)
    return found


def mark_of(path: Path) -> Mark:
    """Which file stands at a path; of one that is not written all the time also its state. None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    state = () if path.name == DATA_FILE else (found.st_size, found.st_mtime_ns)
    return found.st_dev, found.st_ino, *state
