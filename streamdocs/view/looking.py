"""Looking at a run: opened once, and again where what it is made of was replaced; read and never written."""

import gc
import logging
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Generic, TypeVar

from streamdocs.errors import StreamdocsError
from streamdocs.view.opening import Mark, Opened, made_of, mark_of, open_run

log = logging.getLogger(__name__)

#: Seconds that a page waits for what it shows; then it says so, and asks again.
PATIENCE = 0.6
#: Pages that somebody may come back for.
_MOST_LATE = 16
#: What takes long to find is looked for again after so many times as long.
_REST = 10

_T = TypeVar("_T")


@dataclass(frozen=True)
class Fact(Generic[_T]):
    """What is the same for everybody who looks. find: Finds it. seconds: For which it is new enough, at least."""

    name: str
    find: Callable[[Opened], _T]
    seconds: float


class StillLookingError(StreamdocsError):
    """What was asked for takes longer than a page waits. It goes on, and is there when it is asked for again."""


class NotOpenError(StreamdocsError):
    """The run cannot be opened now, and perhaps later."""


@dataclass
class _Look:
    """A run from its opening until what it is made of is replaced.

    Args:
        opened: The run; None until it is opened.
        marks: Of the files that it is made of, as they were then.
        late: What pages may come back for.
        kept: Of each fact when it was begun, and what finds it.
        last: What each fact was before.
        took: Seconds.
    """

    opened: Opened | None = None
    marks: Mapping[Path, Mark] = field(default_factory=dict)
    late: dict[str, Future[Any]] = field(default_factory=dict)
    kept: dict[str, tuple[float, Future[Any]]] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether a file that it is made of is another by now, or gone."""
        return any(mark_of(path) != mark for path, mark in self.marks.items())


class Looker:
    """Looks at a run for pages, in threads of its own; a page waits for it, but not for long.

    Args:
        run_file, exported: As of ``open_run``. It is opened when somebody asks, and again until that can be done: a run
            may not have begun. Where its files are others by now, it is opened anew: nobody sees what is gone.
    """

    def __init__(self, run_file: Path, exported: Sequence[Path] = ()) -> None:
        self._places = run_file, exported
        self._folder = tempfile.TemporaryDirectory(prefix="streamdocs-view-") if exported else None
        self._opening, self._changing = threading.Lock(), threading.Lock()
        self._look = _Look()
        self._before: weakref.ref[object] | None = None
        self._tried = False
        # What a page is about is found by one thread, which may keep what it found for the next. What takes long and
        # is the same for all is found by others: each fact by one at a time.
        self._pages, self._facts = ThreadPoolExecutor(1, "pages"), ThreadPoolExecutor(4, "facts")

    def open(self) -> None:
        """Open the run, where that does not have to wait for a page.

        Raises:
            NotOpenError: There is none, or it cannot be read.
        """
        self._open(self._now())

    def find(self, page: str, what: Callable[[Opened], _T]) -> _T:
        """What is asked of a run for one page; what took too long before is taken up where it is asked for again.

        Raises:
            StillLookingError: It takes longer than a page waits.
            NotOpenError: There is no run to look at.
        """
        look = self._now()
        future = look.late.pop(page, None) or self._pages.submit(lambda: what(self._open(look)))
        try:
            found: _T = future.result(PATIENCE)
        except Late:
            look.late[page] = future
            for forgotten in list(look.late)[:-_MOST_LATE]:
                if old := look.late.pop(forgotten, None):
                    old.cancel()
            raise StillLookingError("this takes a moment; the page looks again by itself") from None
        return found

    def begin(self, fact: "Fact[Any]") -> None:
        """Have a fact found, unless it is known and new enough, or being found."""
        look = self._now()
        begun, future = look.kept.get(fact.name, (0.0, None))
        enough = max(fact.seconds, _REST * look.took.get(fact.name, 0.0))
        if future is None or (future.done() and (future.exception() or monotonic() - begun > enough)):
            look.kept[fact.name] = monotonic(), self._facts.submit(self._found, look, fact)

    def known(self, fact: "Fact[_T]", until: float) -> _T | None:
        """A fact that was begun, as it is at ``until`` (``time.monotonic``), or was before; None where nobody knows."""
        look = self._look
        _, future = look.kept.get(fact.name, (0.0, None))
        try:
            if future:
                look.last[fact.name] = future.result(max(until - monotonic(), 0))
        except Late:
            log.debug("%s takes long", fact.name)
        found: _T | None = look.last.get(fact.name)
        return found

    def close(self) -> None:
        """Stop looking."""
        for pool in (self._pages, self._facts):
            pool.shutdown(wait=True, cancel_futures=True)
        self._look = _Look()
        if self._folder:
            self._folder.cleanup()

    def _found(self, look: _Look, fact: "Fact[_T]") -> _T:
        opened, began = self._open(look), monotonic()
        found = fact.find(opened)
        look.took[fact.name] = monotonic() - began
        return found

    def _now(self) -> _Look:
        """What is looked at, or, where its files are others by now, what is to be opened in its place."""
        with self._changing:
            if self._look.is_over:
                log.warning("what %s is about was replaced or taken away: it is opened anew", self._places[0])
                self._before = weakref.ref(self._look.opened.store.inside) if self._look.opened else None
                self._look = _Look()
            return self._look

    def _open(self, look: _Look) -> Opened:
        with self._opening:
            if look is not self._look:
                raise StillLookingError("what this is about was just replaced; the page looks again by itself")
            if look.opened is None:
                self._let_go()
                look.opened, look.marks = self._open_anew()
            return look.opened

    def _open_anew(self) -> tuple[Opened, dict[Path, Mark]]:
        try:
            marks = {path: mark_of(path) for path in made_of(*self._places)}
            opened = open_run(*self._places, Path(self._folder.name) if self._folder else None)
            # A file that was only fetched meanwhile is none that was replaced.
            return opened, {path: mark or mark_of(path) for path, mark in marks.items()}
        except StreamdocsError as error:
            gone = "what was shown here was replaced or taken away: " if self._before else ""
            said = f"{gone}{error}"
        raise NotOpenError(said)  # out here, so that it keeps nothing of what was opened

    def _let_go(self) -> None:
        """Wait until nobody has what was opened before: a process opens each folder once, whatever is in there."""
        if self._tried:
            gc.collect()
        self._tried = True
        if self._before and self._before():
            raise StillLookingError(
                "what was shown here was replaced, and somebody still looks at what was there before; the page looks "
                "again by itself. If that stays so, start `streamdocs view` again"
            )
