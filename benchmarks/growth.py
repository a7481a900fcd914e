"""A store in an object store, grown on paper: to 1,000 nodes and 10^9 documents. Takes some seconds and no store.

    python benchmarks/growth.py [--json] [--seconds 60]

Two things. *Contention*: a simulation, event by event, of W writers who all want the next number of one log, where each
request takes as long as chance says. *Growth*: objects, bytes, requests and dollars of runs of several sizes, by
multiplication. docs/scaling.md has the tables that this prints, and says what follows.
"""

import argparse
import heapq
import itertools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

# Amazon S3, us-east-1, list prices in dollars; and what a prefix of names takes without being split.
PUT, GET, GB_MONTH = 5e-6, 0.4e-6, 0.023
PUTS_PER_S, GETS_PER_S = 3_500, 5_500
MONTH = 30 * 86_400
#: Seconds of a request: the median, and the 99th percentile of a log-normal distribution.
PUT_SECONDS, GET_SECONDS = (0.040, 0.200), (0.020, 0.100)

#: A writer appends at most so often a second, and each node looks for a next number so often.
APPENDS, POLLS = 2.0, 1.0
#: Entries that are read at a time, and that one fold holds.
READ_AT_ONCE, FOLD = 32, 256
#: Bytes of the log for a record: key, bundle and place. Those of a replica, in LMDB, as measured.
LOG_RECORD, INDEX_RECORD = 45, 85
#: Records a second that a replica takes in while its index lies in memory: LMDB, 500 a transaction, one core, measured.
REPLAYED = 100_000
LEASE = 60.0  # seconds after which a block whose lease nobody renewed is free
BLOCK, WINDOW, LENGTH = 16, 2_048, 4_096
UNIT = 12  # bytes in a manifest

#: A run: documents a node, generations a document, of them in a round, tokens of one; and what a node's models write.
DOCUMENTS, GENERATIONS, PER_ROUND, TOKENS, TOKENS_PER_S = 10**6, 32, 4, 700, 20_000
TEXT_BYTES, TOKEN_BYTES = 1.7, 2.0  # of a token: its compressed text; 4 where a vocabulary has more than 65,536
SYNTHETIC = 0.75
NODES = (1, 4, 16, 64, 256, 1_000)
#: Entries a second of one log at which hardly anybody has to try twice. Beyond it writers append less often.
CALM = 10.0
#: Of one failure after another, the bound below which a pause is drawn, and how far it is doubled.
PAUSE, LONGEST_PAUSE = 0.1, 5.0
POLICIES = ("at once", "after a pause", "less often")


class Contention(NamedTuple):
    """What became of some writers: commits a second of all, tries for each, and seconds until it was done."""

    writers: int
    commits: float
    tries: float
    median: float
    p99: float

    @property
    def puts(self) -> float:
        """Requests a second that create, or try to."""
        return self.commits * self.tries


class Latency:
    """Draws how long requests take."""

    def __init__(self, rng: np.random.Generator, median: float, p99: float) -> None:
        self._rng, self._median, self._sigma = rng, np.log(median), np.log(p99 / median) / 2.3263
        self._drawn: list[float] = []

    def draw(self) -> float:
        """Of one."""
        if not self._drawn:
            self._drawn = self._rng.lognormal(self._median, self._sigma, 4096).tolist()
        return self._drawn.pop()


def contend(writers: int, *, pauses: bool, seconds: float = 60.0, every: float = 1 / APPENDS) -> Contention:
    """Writers who always have something to write, each once in half to one and a half times ``every`` seconds.

    Each reads the log to its end, some entries at a time, and tries the next number; who was slower does so again: at
    once, or after a pause whose bound doubles with each failure. The store decides half-way through a request.
    """
    rng = np.random.default_rng(writers)
    put, get = Latency(rng, *PUT_SECONDS), Latency(rng, *GET_SECONDS)
    head, warm = 0, seconds / 4
    began = rng.uniform(0, every, writers).tolist()
    known, failed = [0] * writers, [0] * writers
    took: list[float] = []
    tries = 0
    # What happens next to each: when, in which order, whether it is told what is there or decided on, and who it is.
    events = [(at, each, "read", each) for each, at in enumerate(began)]
    heapq.heapify(events)
    for order in itertools.count(writers):
        now, _, what, who = heapq.heappop(events)
        if now > warm + seconds:
            break
        if what == "read":
            fresh = min(head - known[who], READ_AT_ONCE)
            known[who] += fresh
            more = fresh == READ_AT_ONCE
            then, what = (get.draw(), "read") if more else ((get.draw() + put.draw()) / 2, "decide")
        elif known[who] == head:
            tries += now > warm
            half = put.draw() / 2
            if now > warm:
                took.append(now + half - began[who])
            head += 1
            known[who], failed[who] = head, 0
            then = max(half, began[who] + every * float(rng.uniform(0.5, 1.5)) - now)
            began[who] = now + then
            then, what = then + get.draw() / 2, "read"
        else:
            tries += now > warm
            bound = min(PAUSE * 2.0 ** failed[who], LONGEST_PAUSE) if pauses else 0.0
            failed[who] += 1
            then, what = (put.draw() + get.draw()) / 2 + float(rng.uniform(0, bound)), "read"
        heapq.heappush(events, (now + then, order, what, who))
    return Contention(writers, len(took) / seconds, tries / len(took), *np.percentile(took, (50, 99)).tolist())


def contention(writers: int, policy: str, seconds: float) -> Contention:
    """What becomes of some writers, where who lost tries again at once or after a pause, or all append less often."""
    every = max(1 / APPENDS, writers / CALM) if policy == "less often" else 1 / APPENDS
    return contend(writers, pauses=policy == "after a pause", seconds=max(seconds, 4 * every), every=every)


def paper(nodes: int, tries: float) -> dict[str, float]:
    """A run on so many nodes, each of which generates and trains, over one log; ``tries`` for an entry."""
    documents = nodes * DOCUMENTS
    rounds = documents * GENERATIONS // PER_ROUND  # of one document each
    tokens = documents * GENERATIONS * TOKENS
    seconds = tokens / (nodes * TOKENS_PER_S)
    entries_per_s = min(nodes * APPENDS, CALM)
    entries = entries_per_s * seconds
    blocks = rounds / BLOCK
    folds, texts, packs = entries / FOLD, entries, min(blocks, entries)  # each entry with a bundle of texts, at least
    records = 2 * rounds  # texts and tokens
    log_bytes = records * LOG_RECORD + documents * UNIT
    stored = tokens * (TEXT_BYTES + TOKEN_BYTES) + log_bytes
    fetched = packs * fetchers(nodes)
    puts = entries * tries + folds + texts + packs
    gets = nodes * seconds * POLLS + nodes * entries + fetched
    dollars = puts * PUT + gets * GET
    return {
        "nodes": nodes,
        "documents": documents,
        "days": seconds / 86_400,
        "tokens": tokens,
        "objects": entries + folds + texts + packs,
        "entries": entries,
        "folds": folds,
        "stored_gb": stored / 1e9,
        "log_gb": log_bytes / 1e9,
        "puts_per_s": puts / seconds,
        "gets_per_s": gets / seconds,
        "log_gets_per_s": nodes * (POLLS + entries_per_s),
        "append_every_s": nodes / entries_per_s,
        "index_gb": records * INDEX_RECORD / 1e9,
        "bundles_gb": tokens * TOKEN_BYTES * fetchers(nodes) / nodes / 1e9,
        "replay_hours": records / REPLAYED / 3_600,
        "list_all_calls": (entries + folds + texts + packs) / 1_000,
        "fetched_mb_per_s": fetchers(nodes) * TOKENS_PER_S * TOKEN_BYTES / 1e6,
        "dollars_requests": dollars,
        "dollars_polls_month": nodes * POLLS * MONTH * GET,
        "dollars_storage_month": stored / 1e9 * GB_MONTH,
        "dollars_per_billion_tokens": dollars / (tokens / 1e9),
    }


def fetchers(nodes: int) -> float:
    """Nodes that fetch the bundle of a block: those to which any sequence of its documents is dealt."""
    sequences = BLOCK * GENERATIONS * TOKENS / LENGTH
    return nodes * (1 - (1 - 1 / nodes) ** sequences)


def lanes(nodes: int, lanes: int, fold: int, poll_seconds: float) -> dict[str, float]:
    """So many logs, each of a share of documents; who follows reads folds of so many entries, and looks so often."""
    entries_per_s = min(CALM * lanes, nodes * APPENDS)
    gets = nodes * lanes / poll_seconds + nodes * entries_per_s / fold
    return {
        "lanes": lanes,
        "fold": fold,
        "append_every_s": nodes / entries_per_s,
        "readable_after_s": nodes / entries_per_s + fold * lanes / entries_per_s + poll_seconds,
        "gets_per_s_and_lane": gets / lanes,
        "dollars_month": gets * MONTH * GET + entries_per_s * 3.5 * MONTH * PUT,
    }


def benchmark(seconds: float) -> dict[str, Any]:
    """All tables."""
    sizes = (1, 4, 8, 16, 64, 256, 1024)
    raced = {policy: [contention(each, policy, seconds) for each in sizes] for policy in POLICIES}
    tries = {nodes: contention(nodes, "less often", seconds).tries for nodes in NODES}
    return {
        "contention": {
            policy: [each._asdict() | {"puts": each.puts} for each in rows] for policy, rows in raced.items()
        },
        "growth": [paper(nodes, tries[nodes]) for nodes in NODES],
        "lanes": [
            lanes(1_000, *each) for each in ((1, 1, 1.0), (4, 1, 1.0), (16, 1, 1.0), (16, 16, 5.0), (64, 16, 5.0))
        ],
    }


def number(value: float) -> str:
    """Three digits of it."""
    if value >= 1e6:
        power = int(np.floor(np.log10(value)))
        return f"{value / 10**power:.1f}e{power}"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2g}" if value < 1 else f"{value:.1f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As Markdown."""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


_GROWTH = {
    "documents": "documents",
    "generated tokens": "tokens",
    "days": "days",
    "objects": "objects",
    "of them entries": "entries",
    "and folds": "folds",
    "stored, GB": "stored_gb",
    "of it the log, GB": "log_gb",
    "a writer appends every … s": "append_every_s",
    "PUTs a second": "puts_per_s",
    "GETs a second": "gets_per_s",
    "of them on the log (5,500 a prefix)": "log_gets_per_s",
    "bundles fetched, MB/s a node": "fetched_mb_per_s",
    "index of a replica, GB": "index_gb",
    "bundles that a node reads, GB": "bundles_gb",
    "a new node reads the log in, hours": "replay_hours",
    "LISTs to list all (nothing does)": "list_all_calls",
    "requests of the run, $": "dollars_requests",
    "polling a month, $": "dollars_polls_month",
    "storage a month, $": "dollars_storage_month",
    "requests for 10^9 tokens, $": "dollars_per_billion_tokens",
}
_LANES = {
    "lanes": "lanes",
    "entries a fold": "fold",
    "appends every … s": "append_every_s",
    "readable within, s": "readable_after_s",
    "GETs a second and lane": "gets_per_s_and_lane",
    "$ a month": "dollars_month",
}


def tables(found: dict[str, Any]) -> list[str]:
    """The three tables of docs/scaling.md."""
    raced = found["contention"]
    cells = [
        [" / ".join(number(each[name]) for name in ("commits", "tries", "p99")) for each in rows]
        for rows in raced.values()
    ]
    raced_rows = [[str(each["writers"]), *row] for each, *row in zip(next(iter(raced.values())), *cells, strict=True)]
    grown = [[what, *(number(each[name]) for each in found["growth"])] for what, name in _GROWTH.items()]
    shared = [[number(each[name]) for name in _LANES.values()] for each in found["lanes"]]
    nodes = [f"{each['nodes']:,} node{'s' * (each['nodes'] > 1)}" for each in found["growth"]]
    return [
        table(
            [
                "writers",
                *(
                    f"who lost tries {policy}" if policy != "less often" else "all append less often"
                    for policy in raced
                ),
            ],
            raced_rows,
        ),
        table(["", *nodes], grown),
        table(list(_LANES), shared),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--seconds", type=float, default=60, help="that are simulated, at least")
    arguments = parser.parse_args()
    found = benchmark(arguments.seconds)
    print("\n\n".join(tables(found)))
    if arguments.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
