"""Four nodes over an object store: whether they read what one machine reads, how fast, and what is left after kills.

    python benchmarks/nodes.py [--json] [--kills 200] [--share 1] [--only kills] [--documents 2048]

Four nodes with caches and processes of their own, two ranks each, and two sidecars; megadocs of 4,096 tokens. One
server writes for all, always the same for the same, and counts.

- Over moto's S3, undisturbed, training waiting for each document: batches have to be those of one rank on one machine,
  over a local store of its own.
- Over a shared folder, undisturbed, training on what there is: those of one rank over a copy of the store.
- Over moto's S3, killed: at random one process, or all of a node with its cache; meanwhile a fifth of requests fails
  for a minute, and all do for two. Batches have to be those of the undisturbed machine.

It takes some 20 minutes on two cores, most of it for the kills; ``--share`` shortens kills and faults alike.

- ``equal``: whether all batches were those of one machine. ``wrong``: sequences that were not; ``lost``: sequences that
  nobody read, and blocks that were committed and are not there.
- ``asked_twice``: texts that were asked for again although the answer had been given to a sidecar that could keep it.
  ``asked_again``: those whose answer was on its way when the sidecar died, or not sent yet when its cache died too.
- ``publish_p99_s``: seconds from the moment when a block is committed until it can be read on another node.
- ``local_ratio``: tokens a second of a loader whose cache is warm, to those of one over a local store.
- ``requests_per_s``, ``dollars_per_month``: to S3, of all nodes together while they generate and train; what that would
  cost in a month at list prices, with the storage of a run of 10^10 generated tokens.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import endpoint
import roles
from accounts import committed, cost, published, storage, stored, why_again
from cluster import Cluster, Endpoint, Node, World, prepare
from processes import Beside, in_fresh_process
from rich.console import Console
from rich.table import Table

from streamdocs.schedule.rounds import BLOCK

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from objects.faults import FaultyProxy
from objects.s3 import BUCKET, S3, environment_of

DOCUMENTS, TOKENS = 2_048, 10**10
#: Seconds of faults: a fifth of the requests fail, and all do.
FAILING, GONE, SHARE = 60.0, 120.0, 0.2
_NODE_LOST = 0.1
_KILL_SECONDS = 1.6  # between two kills, on average


class Bench:
    """What all measurements share: a corpus, and what a single machine reads of it.

    Args:
        folder: For everything.
        documents: Of the corpus.
        window: Sequences that are sealed together.
    """

    def __init__(self, folder: Path, documents: int, window: int = 64) -> None:
        self.folder, self.documents, self.window = folder, documents, window
        self.corpus = in_fresh_process(partial(prepare, folder / "texts", documents))
        self._alone: dict[int, str] = {}

    def world(self, name: str, store: str, by: Endpoint, **more: Any) -> World:
        return World(
            self.corpus, self.folder / name, store, by.url, **{"environment": {}, "window": self.window, **more}
        )

    def alone(self, positions: int) -> dict[int, str]:
        """Digests of the first positions, of one rank beside one sidecar, over a local store."""
        if len(self._alone) < positions:
            with Endpoint(self.folder / "alone.jsonl", {"": 0.0}) as by:
                node = Node(self.world("alone", str(self.folder / "local"), by, in_flight=64), "alone")
                node.run_file()
                with Beside(roles.generate, node):
                    self._alone = in_fresh_process(partial(roles.read_alone, node, positions))
        return self._alone

    def compare(self, cluster: Cluster, copied: Path | None = None) -> dict[str, int]:
        """Sequences that ranks read otherwise than a single machine, or not at all, as far as all ranks came.

        ``copied``: a copy of the store, for the single machine to read.
        """
        reads = [line for rank in cluster.read().values() for line in rank]
        found = {(at, digest) for _, positions, digests in reads for at, digest in zip(positions, digests, strict=True)}
        there = {at for at, _ in found}
        every = min(max(line[1][-1] for line in rank) for rank in cluster.read().values()) // cluster.world.global_batch
        last = max(there) + 1
        if copied:
            node = Node(cluster.world._replace(store=str(copied), folder=copied.parent), "alone")
            wanted = in_fresh_process(partial(roles.read_alone, node, last))
        else:
            wanted = self.alone(last)
        return {
            "wrong": sum(wanted[at] != digest for at, digest in found),
            "lost": len({*range(every * cluster.world.global_batch)} - there),
            "sequences": len(there),
        }


def undisturbed(bench: Bench, kind: str) -> dict[str, Any]:
    """All nodes until everything is generated and read once, over ``"s3"`` or a ``"file"`` system."""
    folder = bench.folder / kind
    folder.mkdir()
    with ExitStack() as stack:
        by = stack.enter_context(Endpoint(folder / "asked.jsonl", {"": 0.2}))
        store, more = f"file://{folder}/shared", {"when_behind": "reuse"}
        if kind == "s3":
            s3 = stack.enter_context(S3())
            proxy = stack.enter_context(FaultyProxy(s3.url))
            store, more = f"s3://{BUCKET}/run", {"environment": environment_of(proxy.url)}
        world = bench.world(kind, store, by, in_flight=64, **more)
        with Cluster(world, roles.generate, roles.train) as cluster:
            stack.enter_context(Beside(roles.watch, cluster.nodes[2], folder / "seen.jsonl"))
            cluster.until(lambda: committed(cluster) != {}, "a first block")
            began, counted = time.monotonic(), proxy.counts() if kind == "s3" else Counter()
            blocks = bench.documents // BLOCK
            cluster.until(lambda: len(committed(cluster)) >= blocks, "all blocks", 1200)
            seconds = time.monotonic() - began
            requests = proxy.counts() - counted if kind == "s3" else Counter()
            last = bench.documents // 16  # of each rank: some two thirds of what there is
            cluster.until(lambda: all(len(rank) >= last for rank in cluster.read().values()), "all batches", 1200)
        copied = folder / "copied"
        in_fresh_process(partial(roles.copy, cluster.nodes[3], copied))
        found = {
            **bench.compare(cluster, copied if kind == "file" else None),
            **published(cluster, folder / "seen.jsonl"),
            "tokens": in_fresh_process(partial(roles.tokens, cluster.nodes[0])),
        }
        asked = endpoint.asked(by.log)
        found["asked"], found["asked_twice"] = len(asked), sum(len(each) > 1 for each in asked.values())
        if kind == "s3":
            found |= cost(requests, seconds) | {"stored_bytes": stored(s3.url)}
            found |= ratio(cluster, copied, found["sequences"] // world.global_batch)
    return found


def ratio(cluster: Cluster, copied: Path, batches: int, repeats: int = 5, seconds: float = 2.0) -> dict[str, float]:
    """A loader over a node's cache against one over a local copy of the same store, in turns."""
    shared = cluster.nodes[0]
    local = Node(shared.world._replace(store=str(copied)), "local")
    speeds = [
        [in_fresh_process(partial(roles.speed, node, batches, seconds)) for node in (shared, local)]
        for _ in range(repeats)
    ]
    ours, theirs = (statistics.median(column) for column in zip(*speeds, strict=True))
    pairs = statistics.median(each / other for each, other in speeds)
    return {"tokens_per_s": ours, "local_tokens_per_s": theirs, "local_ratio": pairs}


def killed(bench: Bench, kills: int, share: float, seed: int = 0) -> dict[str, Any]:
    """Kill whom chance says, while the store is well, fails, is well, is gone, and is well again."""
    rng, folder = random.Random(seed), bench.folder / "killed"
    folder.mkdir()
    kills = max(round(kills * share), 5)
    expected = kills * _KILL_SECONDS + share * (FAILING + GONE)
    in_flight = 4
    with ExitStack() as stack:
        slow = min(2.0 * in_flight * expected / bench.documents, 4.0)
        by = stack.enter_context(Endpoint(folder / "asked.jsonl", {"": slow}))
        proxy = stack.enter_context(FaultyProxy(stack.enter_context(S3()).url, seed))
        environment = environment_of(proxy.url)
        world = bench.world("killed", f"s3://{BUCKET}/run", by, environment=environment, in_flight=in_flight)
        bad: list[tuple[float, float]] = []
        with Cluster(world, roles.generate, roles.train, pace=0.3) as cluster:
            cluster.until(lambda: all(cluster.read().values()), "a first batch of each rank")
            for part, (fail, lasts) in enumerate(((SHARE, FAILING), (1.0, GONE), (0.0, 0.0))):
                kill_some(cluster, rng, (part + 1) * kills // 3)
                if lasts:
                    until = time.time() + lasts * share
                    bad.append((time.time(), until))
                    proxy.fail(fail, **({"kinds": ("reset",)} if fail == 1 else {}), seconds=lasts * share)
                    kill_some(cluster, rng, kills, until)
            counts = {rank: len(found) for rank, found in cluster.read().items()}
            cluster.until(
                lambda: all(len(found) > counts[rank] + 4 for rank, found in cluster.read().items()), "goes on"
            )
            total = cluster.kills
            there = in_fresh_process(partial(roles.blocks, Node(world, "afterwards")))
        found = bench.compare(cluster)
        missing = {*committed(cluster)} - there
        again = why_again(endpoint.asked(by.log), cluster.dead, bad)
        requests = proxy.counts()
    return {
        "kills": total,
        "sidecars_killed": len(cluster.dead),
        "caches_deleted": cluster.lost,
        **found,
        "lost": found["lost"] + len(missing),
        "asked": len(endpoint.asked(by.log)),
        "asked_twice": again["twice"],
        "asked_again": again["on its way"] + again["lost with its cache"],
        "asked_again_on_its_way": again["on its way"],
        "asked_again_unanswered": again["unanswered"],
        "requests_failed": sum(count for (_, outcome), count in requests.items() if not outcome.isdigit()),
        "requests": sum(requests.values()),
    }


def kill_some(cluster: Cluster, rng: random.Random, kills: int, until: float | None = None) -> None:
    """One after another, until there were so many kills, or until a time."""
    while (cluster.kills < kills) if until is None else (time.time() < until):
        time.sleep(rng.uniform(0.1, 2 * _KILL_SECONDS - 0.1) * (1 if until is None else 2))
        names = cluster.lose(rng.choice(cluster.nodes)) if rng.random() < _NODE_LOST else [rng.choice(cluster.names)]
        for name in names:
            cluster.kill(name)
            cluster.start(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--share", type=float, default=1.0, help="of the kills, and of the seconds of faults")
    parser.add_argument("--documents", type=int, default=DOCUMENTS)
    parser.add_argument("--only", choices=("s3", "file", "kills"), help="one of the three")
    arguments = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(Path(temporary), arguments.documents)
        for kind in ("s3", "file", "kills"):
            if arguments.only in (None, kind):
                run = partial(killed, bench, arguments.kills, arguments.share)
                found[kind] = run() if kind == "kills" else undisturbed(bench, kind)
                report(kind, found[kind])
    if arguments.json:
        print(json.dumps(summary(found)))


def summary(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What matters of all that was measured."""
    s3, kills = found.get("s3", {}), found.get("kills", {})
    a_token = s3.get("stored_bytes", 0) / max(s3.get("tokens", 0), 1)
    return {
        "kills": kills.get("kills", 0),
        **{name: sum(each[name] for each in found.values()) for name in ("lost", "wrong", "asked_twice")},
        "asked_again": kills.get("asked_again", 0),
        "equal": all(each["wrong"] == each["lost"] == 0 for each in found.values()),
        "publish_p99_s": s3.get("publish_p99_s"),
        "local_ratio": s3.get("local_ratio"),
        "requests_per_s": s3.get("requests_per_s"),
        "dollars_per_month": s3.get("dollars_requests_month", 0.0) + storage(TOKENS * a_token),
    }


def report(kind: str, found: dict[str, Any]) -> None:
    """A table."""
    table = Table(kind, "")
    for name, value in found.items():
        table.add_row(name, f"{value:,.3f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)


if __name__ == "__main__":
    main()
