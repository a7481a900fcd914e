"""A run to do things to: its store, what was committed there, and what it reads when nobody disturbs it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xxhash

from conftest import TEMPLATE, make_corpus, make_texts
from exactness import DEADLINE
from streamdocs import Recipe, Stitch, StreamingMegadocDataset
from streamdocs.store import LmdbStore, Table

#: What is never deleted in the runs here, whose rounds do not retire.
KEPT: tuple[Table, ...] = ("texts", "tokens", "blocks", "windows")

Committed = dict[tuple[str, bytes], int]


def corpus_of(folder: Path, documents: int = 200) -> Path:
    """A corpus in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return make_corpus(folder, make_texts(documents))


def dataset_of(
    corpus: Path, store: Path | LmdbStore, recipe: Recipe | None = None, **options
) -> StreamingMegadocDataset:
    """The dataset of a small run."""
    defaults = {
        "recipe": recipe or Stitch(generations=4, per_round=1),
        "generator": TEMPLATE,
        "synthetic_fraction": 0.75,
        "max_seq_len": 32,
        "window": 12,
        "shuffle_seed": 17,
        "batch_size": 4,
        "wait_timeout": DEADLINE,
    }
    store = store if isinstance(store, LmdbStore) else LmdbStore(store)
    return StreamingMegadocDataset(local=corpus, store=store, **{**defaults, **options})


def committed(store: LmdbStore, tables: tuple[Table, ...] = KEPT) -> Committed:
    """A checksum of everything that is in a store now."""
    with store.read() as snapshot:
        return {
            (table, key): xxhash.xxh3_64_intdigest(value)
            for table in tables
            for key, value in snapshot.scan(table, b"")
        }


def lost(before: Committed, after: Committed) -> int:
    """What was there before and is gone, or is no longer the same."""
    return sum(after.get(key) != value for key, value in before.items())


def entries(store: LmdbStore, table: Table) -> int:
    """How many there are."""
    with store.read() as snapshot:
        return sum(1 for _ in snapshot.scan(table, b""))


def read(dataset: StreamingMegadocDataset, positions: range) -> list[str]:
    """Digests of the sequences at some positions."""
    found = dataset._reader.assembler.read(np.arange(positions.start, positions.stop))
    columns = zip(found.tokens, found.synthetic, strict=True)
    return [xxhash.xxh3_64_hexdigest(tokens.tobytes() + bytes([kind])) for tokens, kind in columns]


def until(condition: Callable[[], object], what: str) -> float:
    """Look again and again; the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < DEADLINE, f"{what}: not within {DEADLINE} s"
        time.sleep(0.005)
    return time.monotonic() - began


def is_alive(process: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def lines(path: Path) -> list[list]:
    """Lines of JSON, without one that is still being written."""
    text = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


@contextmanager
def timed(add: Callable[[float], None]) -> Iterator[None]:
    """Hand over how long something took."""
    began = time.monotonic()
    yield
    add(time.monotonic() - began)
