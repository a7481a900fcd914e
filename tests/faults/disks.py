"""Disks that are full or read-only: a small tmpfs of our own or, where we may not mount one, limits of a process."""

import json
import os
import random
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from conftest import generate, make_run, make_texts
from exactness import Child
from faults.corruption import RECIPE
from faults.table import Outcome, fault, is_clear
from faults.world import committed, corpus_of, dataset_of, lost, read
from streamdocs.corpus import prepare_corpus
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import StoreError, StreamdocsError
from streamdocs.ledger.file import LedgerFile, export_ledger
from streamdocs.store import LmdbStore


class Disk:
    """A folder that is full at some size.

    Args:
        folder: Where.
        size: Bytes that fit.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        folder.mkdir()
        self.mounted = _mount(folder, f"size={size}")
        self._size = size

    @property
    def kind(self) -> str:
        return "tmpfs" if self.mounted else "RLIMIT_FSIZE"

    def set_size(self, size: int) -> None:
        self._size = size
        if self.mounted:
            assert _mount(self.folder, f"remount,size={size}")

    def set_writable(self, writable: bool) -> None:
        assert _mount(self.folder, f"remount,{'rw' if writable else 'ro'}")

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Where nothing is mounted, this process may not write larger files meanwhile."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        if not self.mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def __enter__(self) -> "Disk":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", self.folder], check=True)


def _mount(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    with suppress(OSError):
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    return False


def fill(corpus: Path, store: LmdbStore, number: int) -> str:
    """Generate and train until the store takes no more; the error."""
    run = make_run(corpus, RECIPE, length=32, window=12, name=str(number))
    try:
        generate(run, store)
        dataset = dataset_of(corpus, store, RECIPE, name=str(number))
        read(dataset, range(1000))
    except Exception as error:
        assert is_clear(error), repr(error)
        return f"{type(error).__name__}: {error}"
    return ""


@fault("disk full while a store is written", 4, 1)
def disk_full(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """An error; what was committed is there; with room again, the same goes on."""
    outcome = Outcome(tried=tries)
    corpus = corpus_of(folder)
    for number in range(tries):
        with Disk(folder / str(number), rng.randint(300_000, 600_000)) as disk:
            outcome.note = disk.kind
            store = LmdbStore(disk.folder / "store")
            with disk.limited():
                error = Child(fill_in_steps, corpus, disk.folder / "store").result()
            assert error.startswith("StoreFullError"), error
            before = committed(store)
            assert before
            disk.set_size(1 << 26)
            began = time.monotonic()
            assert fill(corpus, store, 0) == ""
            outcome.took(time.monotonic() - began)
            outcome.lost += lost(before, committed(store))
            outcome.wrong += differs(corpus, store, folder / f"whole-{number}")
            del store
    return outcome


def fill_in_steps(corpus: Path, store: Path, max_bytes: int | None = None) -> str:
    """In a process of its own, whose limits are its own."""
    return fill(corpus, LmdbStore(store, max_bytes=max_bytes), 0)


def differs(corpus: Path, store: LmdbStore, other: Path) -> int:
    """Sequences that read otherwise from windows sealed anew over a store that was never full."""
    whole = LmdbStore(other)
    assert fill(corpus, whole, 0) == ""
    positions = range(1000)
    found, expected = (read(dataset_of(corpus, each, RECIPE, name="again"), positions) for each in (store, whole))
    return sum(a != b for a, b in zip(found, expected, strict=True))


@fault("store at its size limit", 3, 1)
def store_full(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """The same for the limit of the store itself; it goes on once that is raised."""
    outcome = Outcome(tried=tries)
    corpus = corpus_of(folder)
    for number in range(tries):
        location = folder / str(number)
        error = Child(fill_in_steps, corpus, location, rng.randint(40, 120) * 4096).result()
        assert error.startswith("StoreFullError"), error
        before = committed(LmdbStore(location))
        assert before
        began = time.monotonic()
        store = LmdbStore(location)
        assert fill(corpus, store, 0) == ""
        outcome.took(time.monotonic() - began)
        outcome.lost += lost(before, committed(store))
        outcome.wrong += differs(corpus, store, folder / f"whole-{number}")
    return outcome


def prepare(source: Path, out: Path) -> str:
    """Make a corpus; the error."""
    try:
        prepare_corpus([str(source)], out, train_tokenizer=400, shard_bytes=1 << 16, progress=False)
    except StreamdocsError as error:
        return f"{type(error).__name__}: {error}"
    return ""


@fault("disk full while a corpus is prepared", 6, 1)
def prepare_full(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """An error, and nothing is left behind; with room again it works."""
    outcome = Outcome(tried=tries)
    source = folder / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in make_texts(3000)))
    for number in range(tries):
        with Disk(folder / str(number), rng.randint(100_000, 900_000)) as disk:
            outcome.note = disk.kind
            with disk.limited():
                error = Child(prepare, source, disk.folder / "corpus").result()
            assert error.startswith("CorpusError") and "cannot be written" in error, error
            outcome.lost += len(list(disk.folder.iterdir()))  # nothing of it stays
            disk.set_size(1 << 26)
            began = time.monotonic()
            assert Child(prepare, source, disk.folder / "corpus").result() == ""
            outcome.took(time.monotonic() - began)
            texts = [Corpus(disk.folder / "corpus").text(document) for document in range(3000)]
            outcome.wrong += texts != make_texts(3000)
    return outcome


@fault("disk full while a ledger is exported", 10, 2)
def export_full(folder: Path, tries: int, rng: random.Random) -> Outcome:
    """An error; the export that was there before is still there, and nothing else."""
    outcome = Outcome(tried=tries)
    corpus, store = corpus_of(folder, 40), LmdbStore(folder / "store")
    assert fill(corpus, store, 0) == ""
    file = export_ledger(dataset_of(corpus, store, RECIPE, name="0").ledger)
    with Disk(folder / "disk", 1 << 20) as disk:
        outcome.note = disk.kind
        path = disk.folder / "run.ledger"
        file.save(path)
        disk.set_size(path.stat().st_size + 4096)
        for _ in range(tries):
            with disk.limited():
                if not disk.mounted:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (rng.randrange(100, 2000), resource.RLIM_INFINITY))
                try:
                    file.save(path)
                except StreamdocsError as error:
                    assert is_clear(error), error
                else:
                    raise AssertionError("there was room")
            outcome.lost += LedgerFile.load(path) != file or os.listdir(disk.folder) != [path.name]
        disk.set_size(1 << 20)
        began = time.monotonic()
        file.save(path)
        outcome.took(time.monotonic() - began)
    return outcome


def look(corpus: Path, store: Path, user: int | None) -> tuple[list, str]:
    """Reads a run's sealed windows, as another user; and the error where a new one would have to be sealed."""
    if user is not None:
        os.setgid(user)
        os.setuid(user)
    rows = read(dataset_of(corpus, LmdbStore(store), RECIPE, name="0"), range(96))
    try:
        read(dataset_of(corpus, LmdbStore(store), RECIPE, name="another"), range(12))
    except StoreError as error:
        assert is_clear(error), error
        return rows, type(error).__name__
    return rows, ""


def read_only(how: str, folder: Path, tries: int, rng: random.Random) -> Outcome:
    """What is sealed is read as ever, and an error where it is to be written; writable again, it works."""
    outcome = Outcome(tried=tries)
    with tempfile.TemporaryDirectory(dir="/tmp") as shared, Disk(Path(shared) / "disk", 1 << 26) as disk:
        Path(shared).chmod(0o755)
        corpus, store = corpus_of(disk.folder / "corpora", 40), disk.folder / "store"
        if how == "mount" and not disk.mounted:
            outcome.note = "not tried: mounting is not allowed"
            return Outcome(note=outcome.note)
        error = Child(fill_in_steps, corpus, store).result()
        assert error == "", error
        before = Child(committed_of, store).result()
        expected = Child(rows_of, corpus, store).result()
        for _ in range(tries):
            if how == "mount":
                disk.set_writable(False)
            rows, error = Child(look, corpus, store, None if how == "mount" else 65534).result()
            assert error == "StoreError", error
            outcome.wrong += sum(a != b for a, b in zip(rows, expected, strict=True))
            if how == "mount":
                disk.set_writable(True)
            began = time.monotonic()
            assert Child(rows_of, corpus, store).result() == expected
            outcome.took(time.monotonic() - began)
            outcome.lost += lost(before, Child(committed_of, store).result())
    return outcome


def rows_of(corpus: Path, store: Path) -> list:
    """In a process of its own, as below."""
    return read(dataset_of(corpus, LmdbStore(store), RECIPE, name="0"), range(96))


def committed_of(store: Path) -> dict:
    """In a process of its own: a store that is open here would keep its disk busy."""
    return committed(LmdbStore(store))


fault("store on a read-only disk", 3, 1)(partial(read_only, "mount"))
fault("store of another user", 3, 1)(partial(read_only, "rights"))
