"""Nodes on one machine: processes of their own with a folder, a cache and a host name for each node.

Node n has ranks 2 n and 2 n + 1, and the first nodes have a sidecar each. Nothing is known to two nodes but the corpus
and the URL of the store.
"""

import json
import multiprocessing
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import endpoint
import torch
import yaml
from processes import Beside
from sidecar import writer

from streamdocs._base.unfinished import write_whole
from streamdocs.corpus import prepare_corpus

RANKS_A_NODE, BATCH = 2, 2
GENERATIONS, WORDS, LENGTH = 8, 360, 4_096
_DEADLINE = 300.0
_GATES = {
    **{"chat": False, "min_ratio": None, "max_ratio": None, "min_thought": 0, "max_repeated_lines": 1},
    **{"max_repeated_ngrams": 1, "max_copied": 1, "same_language": False, "min_shared": 0, "distinct": False},
}


class World(NamedTuple):
    """What all nodes know.

    corpus: Folder. folder: With one for each node. store: URL or folder. endpoint: URL of who writes.
    environment: Of each process. window: Sequences. in_flight: Documents of a sidecar.
    """

    corpus: Path
    folder: Path
    store: str
    endpoint: str
    environment: Mapping[str, str]
    when_behind: str = "wait"
    window: int = 64
    in_flight: int = 16
    nodes: int = 4
    sidecars: int = 2

    @property
    def ranks(self) -> int:
        return self.nodes * RANKS_A_NODE

    @property
    def global_batch(self) -> int:
        return self.ranks * BATCH


class Node(NamedTuple):
    """One of them."""

    world: World
    name: str

    @property
    def folder(self) -> Path:
        return self.world.folder / self.name

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def run_file(self) -> Path:
        """Written anew."""
        world, path = self.world, self.folder / "run.yaml"
        self.folder.mkdir(parents=True, exist_ok=True)
        fields = {
            "corpus": str(world.corpus),
            "store": world.store,
            # In one round, so that training, which waits for all of a document, follows generation closely.
            "recipe": {"name": "stitch", "generations": GENERATIONS, "per_round": GENERATIONS},
            "generator": {"engine": "openai", "model": endpoint.MODEL, "endpoint": [f"{world.endpoint}/{self.name}"]},
            "mix": {
                "synthetic_fraction": 0.75,
                "max_seq_len": LENGTH,
                "window": world.window,
                "when_behind": world.when_behind,
                "shuffle_seed": 17,
                "wait_timeout": _DEADLINE,
            },
            "server": {"max_in_flight": world.in_flight, "gates": _GATES, "max_lead": 1 << 40},
        }
        if "://" in world.store:
            fields["cache"] = str(self.cache)
        write_whole(path, yaml.safe_dump(fields).encode())  # others of the node may be reading it
        return path

    def be(self) -> None:
        """This process is one of this node from now on; what it says goes to a file of it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(self.world.environment)
        socket.gethostname = lambda: self.name  # type: ignore[assignment]
        torch.set_num_threads(1)


def prepare(folder: Path, documents: int) -> Path:
    """The corpus of all."""
    folder.mkdir(parents=True, exist_ok=True)
    write = writer(1)
    with (folder / "texts.jsonl").open("w") as file:
        for _ in range(documents):
            file.write(json.dumps({"text": write(200)}) + "\n")
    prepare_corpus([str(folder / "texts.jsonl")], folder / "corpus", train_tokenizer=4000, progress=False)
    return folder / "corpus"


class Endpoint(Beside):
    """The one who writes, for all nodes; a context manager.

    Args:
        log: What it notes.
        seconds: An answer takes, by the beginning of a node's name.
    """

    def __init__(self, log: Path, seconds: dict[str, float]) -> None:
        ours, theirs = multiprocessing.Pipe()
        super().__init__(endpoint.serve, log, WORDS, seconds, theirs)
        if not ours.poll(60):
            self.kill()
            raise RuntimeError("the endpoint does not start")
        self.log, self.url = log, f"http://127.0.0.1:{ours.recv()}"


class Cluster:
    """All processes of a world, by name: ``sidecar-0``, ``rank-5``. A context manager, which ends them.

    Args:
        world: Its.
        generate, train: What a sidecar and a rank do (``roles``).
        pace: Seconds a batch that each rank takes at least.
    """

    def __init__(
        self, world: World, generate: Callable[..., None], train: Callable[..., None], pace: float = 0.0
    ) -> None:
        self.world, self.pace = world, pace
        self._generate, self._train = generate, train
        self.nodes = [Node(world, f"node-{number}") for number in range(world.nodes)]
        self.running: dict[str, Beside] = {}
        self.kills = self.lost = 0
        #: Of sidecars: when one was killed, on which node, and whether its cache was deleted.
        self.dead: list[tuple[float, str, bool]] = []

    @property
    def names(self) -> list[str]:
        sidecars = [f"sidecar-{number}" for number in range(self.world.sidecars)]
        return [*sidecars, *(f"rank-{number}" for number in range(self.world.ranks))]

    def node_of(self, name: str) -> Node:
        role, number = name.split("-")
        return self.nodes[int(number) // (RANKS_A_NODE if role == "rank" else 1)]

    def start(self, name: str) -> None:
        node, (role, number) = self.node_of(name), name.split("-")
        node.run_file()
        rank = (int(number), self.world.ranks, self.pace)
        work = (self._generate, node) if role == "sidecar" else (self._train, node, *rank)
        self.running[name] = Beside(*work)

    def kill(self, name: str, *, lost: bool = False) -> None:
        """With SIGKILL."""
        self.check()
        if (each := self.running.pop(name, None)) is not None:
            each.kill()
            self.kills += 1
            if name.startswith("sidecar"):
                self.dead.append((time.time(), self.node_of(name).name, lost))

    def lose(self, node: Node) -> list[str]:
        """Kill all of a node and delete its cache; whom."""
        names = [name for name in self.running if self.node_of(name) == node]
        for name in names:
            self.kill(name, lost=True)
        shutil.rmtree(node.cache, ignore_errors=True)
        self.lost += 1
        return names

    def __enter__(self) -> "Cluster":
        for name in self.names:
            self.start(name)
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.running.values():
            each.kill()

    def read(self) -> dict[int, list[tuple[float, list[int], list[str]]]]:
        """What each rank has read so far, in order."""
        return {
            rank: lines(self.node_of(f"rank-{rank}").folder / f"read-{rank}.jsonl") for rank in range(self.world.ranks)
        }

    def until(self, condition: Callable[[], bool], what: str, seconds: float = _DEADLINE) -> None:
        """Look again and again.

        Raises:
            RuntimeError: It does not come in time, or a process ended by itself.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what}: not within {seconds:.0f} s")
            time.sleep(0.3)

    def check(self) -> None:
        """RuntimeError where a process ended by itself that should not have; the message says why."""
        for name, each in list(self.running.items()):
            if not each.process.is_alive():
                each.result()
                if name.startswith("rank"):
                    raise RuntimeError(f"{name} ended by itself")
                del self.running[name]  # it had nothing left to write


def lines(path: Path) -> list[Any]:
    """Lines of JSON, without one that is still being written."""
    text = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
