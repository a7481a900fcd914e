"""What the processes of a cluster do: generate, train, read alone, and look what can be read."""

import asyncio
import itertools
import json
import os
import time
from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
import xxhash
from cluster import Node
from streaming import StreamingDataLoader

from streamdocs import StreamingMegadocDataset
from streamdocs.config import RunFile
from streamdocs.generations.progress import read_tallies, total
from streamdocs.store import LmdbStore, Store
from streamdocs.store.copying import copy_store
from streamdocs_server import cli

SAVE_EVERY = 2


def generate(node: Node) -> None:
    """A sidecar: what ``streamdocs-server run.yaml`` does. Notes each block's commit, when it began and ended."""
    node.be()
    opened = RunFile.open_store
    with (node.folder / "commits.jsonl").open("ab", buffering=0) as log:
        RunFile.open_store = lambda file, **named: Noting(opened(file, **named), log)  # type: ignore[method-assign]
        asyncio.run(cli.serve_run(RunFile.load(node.run_file())))


class Noting:
    """A store that notes blocks that are committed to it."""

    def __init__(self, store: Any, log: Any) -> None:
        self._store, self._log = store, log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def add_all(self, entries: Mapping[str, Mapping[bytes, bytes]]) -> int:
        began = time.time()
        written = self._store.add_all(entries)
        for key in entries.get("blocks", ()):
            self._log.write(json.dumps([key.hex(), began, time.time()]).encode() + b"\n")
        return written


def train(node: Node, rank: int, ranks: int, pace: float = 0.0) -> None:
    """A rank: read from the last saved state on until killed, a batch every ``pace`` seconds at most; notes each."""
    node.be()
    dataset = open_dataset(node, rank, ranks)
    loader = StreamingDataLoader(dataset, batch_size=dataset.batch_size)
    saved = node.folder / f"state-{rank}.json"
    if saved.exists():
        loader.load_state_dict(json.loads(saved.read_text()))
    with (node.folder / f"read-{rank}.jsonl").open("ab", buffering=0) as log:
        for step, batch in enumerate(endless(loader), 1):
            log.write(json.dumps([time.time(), batch["position"].tolist(), digests(batch)]).encode() + b"\n")
            if step % SAVE_EVERY == 0:
                saved.with_suffix(".new").write_text(json.dumps(loader.state_dict()))
                os.replace(saved.with_suffix(".new"), saved)
            time.sleep(pace)


def open_dataset(node: Node, rank: int = 0, ranks: int = 1, **arguments: Any) -> StreamingMegadocDataset:
    """That of a rank; the global batch is the same for any number of them."""
    batch_size = node.world.global_batch // ranks
    return StreamingMegadocDataset.from_run_file(
        node.run_file(), batch_size=batch_size, rank=rank, ranks=ranks, **arguments
    )


def endless(loader: Any) -> Iterator[dict[str, torch.Tensor]]:
    return chain.from_iterable(repeat(loader))


def digests(batch: dict[str, torch.Tensor]) -> list[str]:
    """Of each sequence of a batch: its tokens, labels and stream."""
    columns = (batch[name].numpy() for name in ("input_ids", "labels", "stream"))
    return [xxhash.xxh3_64_hexdigest(b"".join(each.tobytes() for each in row)) for row in zip(*columns, strict=True)]


def read_alone(node: Node, positions: int) -> dict[int, str]:
    """The digests of the first positions, as the only rank of a machine reads them."""
    node.be()
    dataset, found = open_dataset(node), dict[int, str]()
    for batch in endless(StreamingDataLoader(dataset, batch_size=dataset.batch_size)):
        found.update(zip(batch["position"].tolist(), digests(batch), strict=True))
        if len(found) >= positions:
            return found
    raise AssertionError


def watch(node: Node, seen: Path) -> None:
    """Note when each block can be read on a node, looking every 10 ms."""
    node.be()
    store, known = store_of(node), set[bytes]()
    with seen.open("ab", buffering=0) as log:
        while True:
            with store.read() as snapshot:
                found = [key for key in map(bytes, snapshot.keys("blocks", b"")) if key not in known]
            for key in found:
                log.write(json.dumps([key.hex(), time.time()]).encode() + b"\n")
            known.update(found)
            time.sleep(0.01)


def store_of(node: Node) -> Store:
    """As a node sees it."""
    return RunFile.load(node.run_file()).open_store()


def copy(node: Node, folder: Path) -> None:
    """Copy all that a node sees of a store to a local one."""
    node.be()
    for _ in copy_store(store_of(node), LmdbStore(folder)):
        pass


def blocks(node: Node) -> set[str]:
    """Keys of the blocks that a node sees."""
    node.be()
    with store_of(node).read() as snapshot:
        return {bytes(key).hex() for key in snapshot.keys("blocks", b"")}


def tokens(node: Node) -> int:
    """That were generated, by the store's account."""
    node.be()
    dataset = open_dataset(node)
    return sum(total(read_tallies(dataset.store, each.scope).values()).tokens for each in dataset.run.synthetic)


def speed(node: Node, batches: int, seconds: float) -> float:
    """Tokens a second of a loader without workers that reads the first batches again and again, once they are warm."""
    node.be()
    dataset = open_dataset(node, ranks=1)
    loader = StreamingDataLoader(dataset, batch_size=dataset.batch_size)
    begin, passed, tokens = loader.state_dict(), 0.0, 0
    for again in itertools.count():
        loader.load_state_dict(begin)
        began = time.perf_counter()
        for batch in itertools.islice(endless(loader), batches):
            tokens += batch["input_ids"].numel() if again else 0
        passed += time.perf_counter() - began if again else 0.0
        if passed > seconds:
            return tokens / passed
    raise AssertionError
