"""Looking at a run: opened once, over a store or exported ledgers, read and never written."""

import logging
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Generic, NoReturn, TypeVar

from streamdocs.auditing.looking import check_synthetic, run_over
from streamdocs.config import RunFile
from streamdocs.errors import StoreError, StreamdocsError
from streamdocs.graph.edition import Edition
from streamdocs.graph.summary import Summary, summarise
from streamdocs.ledger.file import LedgerFile, import_ledger
from streamdocs.ledger.ledger import Ledger
from streamdocs.ledger.ledgers import Ledgers
from streamdocs.reading.assembly import Assembler
from streamdocs.run import Run
from streamdocs.store import LmdbStore, Snapshot, Store
from streamdocs.streams import GenerationScope

log = logging.getLogger(__name__)

#: Seconds that a page waits for what it shows; then it says so, and asks again.
PATIENCE = 0.6
#: Pages that somebody may come back for.
_MOST_LATE = 16

_T = TypeVar("_T")


@dataclass(frozen=True)
class Fact(Generic[_T]):
    """What is the same for everybody who looks. find: Finds it. seconds: For which it is new enough."""

    name: str
    find: "Callable[[Opened], _T]"
    seconds: float


class StillLookingError(StreamdocsError):
    """What was asked for takes longer than a page waits. It goes on, and is there when it is asked for again."""


class ReadOnly:
    """A store of which nothing can be written, whatever is called: a page decides nothing.

    Args:
        store: The store itself.
    """

    pace = 0.0

    def __init__(self, store: Store) -> None:
        self._store = store
        self.location, self.silence, self.requests = store.location, store.silence, store.requests

    def read(self) -> AbstractContextManager[Snapshot]:
        """The store at this moment."""
        return self._store.read()

    def clock(self) -> float:
        """That of the store."""
        return self._store.clock()

    def size(self) -> int:
        """Bytes in use."""
        return self._store.size()

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
    """

    run: Run
    store: Store
    ledgers: Ledgers
    whole: bool
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


def open_run(run_file: Path, exported: Sequence[Path], folder: Path) -> Opened:
    """Open a run.

    Args:
        run_file: Says which.
        exported: Ledgers of it, to look at in place of its store.
        folder: An empty one, for what is made of these.

    Raises:
        StreamdocsError: It cannot be read, or nobody wrote yet.
    """
    file = RunFile.load(run_file)
    check_synthetic(file, run_file)
    if not exported:
        store: Store = ReadOnly(file.open_store(must_exist=True))
        run = run_over(file, store, patience=0)
        return Opened(run, store, Ledgers(run, store, 0), whole=True)
    made = LmdbStore(folder / "store")
    for path in exported:
        ledger = LedgerFile.load(path)
        run = run_over(file, made, ledger.generator, patience=0)
        stream = next((each for each in run.synthetic if run.ledger_name(each) == ledger.stream), run.synthetic[0])
        import_ledger(Ledger(run, stream, made, 0), ledger)
    store = ReadOnly(made)
    run.attach(store)
    return Opened(run, store, Ledgers(run, store, 0), whole=False)


class Looker:
    """Looks at a run for pages, in threads of its own; a page waits for it, but not for long.

    Args:
        run_file, exported: As of ``open_run``. It is opened when somebody asks, and again until that can be done: a run
            may not have begun.
    """

    def __init__(self, run_file: Path, exported: Sequence[Path] = ()) -> None:
        self._places = run_file, exported
        self._folder = tempfile.TemporaryDirectory(prefix="streamdocs-view-")
        self._opening = threading.Lock()
        self._opened: Opened | None = None
        # What a page is about is found by one thread, which may keep what it found for the next. What takes long and
        # is the same for all is found by others: each fact by one at a time.
        self._pages, self._facts = ThreadPoolExecutor(1, "pages"), ThreadPoolExecutor(4, "facts")
        self._late: dict[str, Future[Any]] = {}
        self._kept: dict[str, tuple[float, Future[Any]]] = {}
        self._last: dict[str, Any] = {}

    def opened(self) -> Opened:
        """The run.

        Raises:
            StreamdocsError: It cannot be opened yet.
        """
        with self._opening:
            if self._opened is None:
                self._opened = open_run(*self._places, Path(self._folder.name))
            return self._opened

    def find(self, page: str, what: Callable[[Opened], _T]) -> _T:
        """What is asked of a run for one page; what took too long before is taken up where it is asked for again.

        Raises:
            StillLookingError: It takes longer than a page waits.
        """
        future = self._late.pop(page, None) or self._pages.submit(lambda: what(self.opened()))
        try:
            found: _T = future.result(PATIENCE)
        except Late:
            self._late[page] = future
            for forgotten in list(self._late)[:-_MOST_LATE]:
                if old := self._late.pop(forgotten, None):
                    old.cancel()
            raise StillLookingError("this takes a moment; the page looks again by itself") from None
        return found

    def begin(self, fact: "Fact[Any]") -> None:
        """Have a fact found, unless it is known and new enough, or being found."""
        begun, future = self._kept.get(fact.name, (0.0, None))
        if future is None or (future.done() and (future.exception() or monotonic() - begun > fact.seconds)):
            self._kept[fact.name] = monotonic(), self._facts.submit(lambda: fact.find(self.opened()))

    def known(self, fact: "Fact[_T]", until: float) -> _T | None:
        """A fact that was begun, as it is at ``until`` (``time.monotonic``), or was before; None where nobody knows."""
        _, future = self._kept[fact.name]
        try:
            self._last[fact.name] = future.result(max(until - monotonic(), 0))
        except Late:
            log.debug("%s takes long", fact.name)
        found: _T | None = self._last.get(fact.name)
        return found

    def close(self) -> None:
        """Stop looking."""
        for pool in (self._pages, self._facts):
            pool.shutdown(wait=True, cancel_futures=True)
        self._opened = None
        self._folder.cleanup()
