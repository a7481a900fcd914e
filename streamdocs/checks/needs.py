"""What a run needs of a machine: room on the disk, and memory of each process."""

import os
from collections.abc import Iterator

import numpy as np

from streamdocs.checks.estimate import Estimate
from streamdocs.checks.findings import Finding, Level, size
from streamdocs.checks.setup import free_bytes
from streamdocs.generations.record_cache import RecordCache
from streamdocs.run import Run
from streamdocs.store import LmdbStore, SharedStore, Store

#: What a trainer's process takes without any documents: Python, torch and what they load.
_PROCESS = 700 << 20
#: Orders of documents that are kept at a time, of each stream, and ranks of them.
_ORDERS, _RANKS = 4, 2
#: Of what is read ahead.
_READ_AHEAD = 64 << 20
#: Of what is free, from which on it is told.
_MUCH = 0.8
#: Of the most that may be written, what is written at least: models end their texts long before they have to.
_LEAST_OF_MOST = 0.2


def memory_bytes(run: Run) -> int:
    """Of a process that reads a run, without its model: indexes, orders of documents, what is known of records."""
    found = _PROCESS + _READ_AHEAD
    for corpus in run.corpora:
        found += len(corpus.documents) * (corpus.documents.dtype.itemsize + 8 + 1)
    for stream in run.streams:
        found += 4 * (_ORDERS * len(stream.sources) + _RANKS * len(stream.corpus.documents))
    for each in run.synthetic:
        found += RecordCache(len(each.corpus.documents), each.recipe.cycle, each.recipe.round_size).nbytes
    window = run.mixture.window * run.mixture.max_seq_len * np.dtype(run.corpus.dtype).itemsize
    return found + window


def check_needs(run: Run, store: Store | None, location: str | None, cache: str, found: Estimate) -> Iterator[Finding]:
    """Whether there is room for what is to be expected.

    Args:
        run: The run.
        store: That exists already; None for none.
        location: Where it is or will be; None where nothing is written.
        cache: The folder of this node where that is a URL.
        found: What is to be expected.
    """
    if location:
        there = store.size() if isinstance(store, LmdbStore | SharedStore) else 0
        place = cache if "://" in location else location
        needed, free = max(found.bytes - there, 0), free_bytes(place)
        guessed = any(each.known == "most" for each in found.streams.values())
        said = f"{size(needed)} more will be in the store, {size(free)} are free at {place}"
        said += "; lengths are not known yet, and may be less" if guessed else ""
        if needed > free:
            lacks = f"{said}: that does not suffice: free some, or have fewer generations written"
            level: Level = "warning" if guessed and needed * _LEAST_OF_MOST <= free else "fault"
            yield Finding("disk", level, lacks)
        else:
            yield Finding("disk", "warning" if needed > _MUCH * free and not guessed else "ok", said)
    needed, free = memory_bytes(run), _available()
    said = f"a process that reads takes some {size(needed)}, {size(free)} are free"
    more = (
        "; DataLoader workers share what is large" if needed <= free else ": take a larger machine, or fewer documents"
    )
    yield Finding("memory", "ok" if needed <= free else "warning", said + more)


def _available() -> int:
    """Bytes of memory that could be had."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
