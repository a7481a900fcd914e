"""The graph of concepts: what an edition takes to be built, kept and opened, and how fast walks and references are.

    python benchmarks/graph.py [--json] [--documents 10000,100000,1000000] [--walks 20000] [--pairs 41]

Each document names 4 topics of 32,000 and 9 key concepts of 200,000 for each of them, drawn from a long tail (the n-th
in proportion to 1 / (n + 50)), and spells each of them in one of four ways. Names that one document has, or more than a
twentieth of all, are no nodes. One process, one thread; each size is a fresh process.

- ``seconds``: building the edition, its names being made up meanwhile, which alone takes ``names_s`` of it.
- ``memory_mb``: the most that the process took at once, all imports included.
- ``packed_mb``, ``pack_s``, ``open_s``: the edition as it is kept; packing it, and reading it up to its first walk.
- ``walks_per_s``, ``references_per_s``: walks without their documents, and the two nearest documents of a walk.
- ``cpu_s``: ``seconds`` in processor time, the better witness on a machine that is shared.

``loader_ratio``: tokens a second of the loader over questions about walks, over those over rephrases, which are as many
and as long. Both are read in turns, a window each time, which is sealed as it is read; the median of all. No workers.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from data import fill_store, make_corpus, make_dataset, store_folder
from loaders import BATCH, endless
from processes import in_fresh_process
from rich.console import Console
from rich.table import Table
from streaming import StreamingDataLoader

from streamdocs._base.arrays import Ints
from streamdocs.graph.build import build_edition
from streamdocs.graph.packing import pack_edition, unpack_edition
from streamdocs.graph.references import nearest
from streamdocs.graph.walks import Walks
from streamdocs.store import LmdbStore

TOPICS, CONCEPTS = 32_000, 200_000
TOPICS_EACH, CONCEPTS_OF_TOPIC = 4, 9
MIN_DOCUMENTS, MAX_SHARE = 2, Fraction(1, 20)
SPELLINGS = ("subject of number {}", "Subject of number {}", "subjects of number {}", "Subject-of number {}")
_TOGETHER = 1000
#: Of the runs that are read.
WORDS, GENERATIONS, GENERATION_TOKENS, LENGTH = 900, 8, 708, 2048
READ = ("synthllm", "rephrase")


def long_tail(rng: np.random.Generator, size: int, shape: tuple[int, int]) -> Ints:
    """Numbers below ``size``, each drawn as often as its place in a long tail says."""
    ends = np.cumsum(1 / (np.arange(size) + 50))
    return np.searchsorted(ends / ends[-1], rng.random(shape))


def named(documents: int) -> Iterator[list[tuple[str, list[str]]]]:
    """The topics and key concepts of each document; strings that nobody has seen, as if they had just been read."""
    rng = np.random.default_rng(1)
    names = [spelling.format(number) for number in range(CONCEPTS) for spelling in SPELLINGS]
    concepts_each = TOPICS_EACH * CONCEPTS_OF_TOPIC
    for start in range(0, documents, _TOGETHER):
        size = min(_TOGETHER, documents - start)
        kinds = ((TOPICS, TOPICS_EACH), (CONCEPTS, concepts_each))
        drawn = np.concatenate([long_tail(rng, most, (size, each)) for most, each in kinds], axis=1)
        spelled = drawn * len(SPELLINGS) + rng.integers(0, len(SPELLINGS), drawn.shape)
        for row in spelled.tolist():
            said = "\n".join([names[each] for each in row]).split("\n")
            topics, concepts = said[:TOPICS_EACH], said[TOPICS_EACH:]
            yield [(topic, concepts[at::TOPICS_EACH]) for at, topic in enumerate(topics)]


def measure(documents: int, walks: int) -> dict[str, Any]:
    """One size."""
    began = time.perf_counter()
    for _ in named(documents):
        pass
    names_s = time.perf_counter() - began
    began, cpu = time.perf_counter(), time.process_time()
    edition = build_edition(np.arange(documents), named(documents), min_documents=MIN_DOCUMENTS, max_share=MAX_SHARE)
    row = {
        "documents": len(edition.documents),
        "topics": len(edition.topics),
        "concepts": len(edition.concepts),
        "seconds": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu,
        "names_s": names_s,
    }
    began = time.perf_counter()
    parts = [*pack_edition(edition)]
    row |= {"pack_s": time.perf_counter() - began, "packed_mb": sum(map(len, parts)) / 1e6}
    del edition
    began = time.perf_counter()
    edition = unpack_edition(parts)
    graph = Walks(edition, 1)
    graph.nodes(0)
    row["open_s"] = time.perf_counter() - began
    began = time.perf_counter()
    found = [graph.nodes(number) for number in range(walks)]
    row["walks_per_s"] = walks / (time.perf_counter() - began)
    some = found[: walks // 20]
    began = time.perf_counter()
    for nodes in some:
        nearest(edition, nodes)
    row["references_per_s"] = len(some) / (time.perf_counter() - began)
    row["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return row


def loader_ratio(documents: int, pairs: int) -> float:
    """Tokens a second of the loader over questions about walks, over those of rephrases."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, documents)
        seconds = in_fresh_process(partial(read_in_turns, folder, documents, pairs))
    return statistics.median(rephrase / walks for walks, rephrase in seconds)


def prepare(folder: Path, documents: int) -> None:
    """The corpus, and a store of each run with all that it reads."""
    make_corpus(folder, documents, WORDS)
    for recipe in READ:
        run = make_dataset(folder, recipe, GENERATIONS, LENGTH).run
        fill_store(run, LmdbStore(store_folder(folder, recipe, GENERATIONS)), GENERATION_TOKENS)


def read_in_turns(folder: Path, documents: int, pairs: int) -> list[list[float]]:
    """Seconds for as many sequences as a window has, of each run in turn, so many times; the first time is left out."""
    sequences = documents * (WORDS + GENERATIONS * GENERATION_TOKENS) // LENGTH // BATCH * BATCH
    found = []
    runs = [make_dataset(folder, each, GENERATIONS, LENGTH, batch_size=BATCH, epoch_size=sequences) for each in READ]
    loaders = [endless(StreamingDataLoader(run, batch_size=BATCH)) for run in runs]
    for _ in range(1 + pairs):
        seconds = []
        for run, batches in zip(runs, loaders, strict=True):
            began = time.perf_counter()
            for _ in range(run.run.mixture.window // BATCH):
                next(batches)
            seconds.append(time.perf_counter() - began)
        found.append(seconds)
    return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--documents", default="10000,100000,1000000", help="sizes")
    parser.add_argument("--walks", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=41, help="measurements of the loader")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.documents.split(",")]
    rows = [in_fresh_process(partial(measure, size, arguments.walks)) for size in sizes]
    report(rows)
    ratio = loader_ratio(2_000, arguments.pairs)
    Console().print(f"loader over questions about walks: {ratio:.2f} times as fast as over rephrases")
    if arguments.json:
        print(json.dumps({"rows": rows, "loader_ratio": ratio}))


def report(rows: list[dict[str, Any]]) -> None:
    """A table, a row for each size."""
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
