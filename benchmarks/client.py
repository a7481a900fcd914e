"""How much of a real SGLang server the sidecar gets: against the plainest client at its best concurrency.

usage: python benchmarks/client.py [--json] [--endpoint URL] [--documents 96] [--repeats 5]

Without ``--endpoint`` it starts the CPU server of `make sglang` with the tiny model. Both clients ask for the same
prompts with the same lengths, in turn, with the server's cache flushed before each:

- ``goodput_ratio``: generated tokens a second of the sidecar (store, gates and tokenizer included) over the plain
  client's, the median of the pairs. The plain client's concurrency is the best of several, tried first; the sidecar
  begins with its own and finds a better one as it runs. That it asks who the server is, once before all, is not timed.
- ``prefill_ratio``: prompt tokens that the server had to read for a generation, over those of one request a generation,
  pass after pass over a corpus larger than the server's cache. By the server's own metrics.
- ``cpu_ms_per_1k_tokens``: processor time of the sidecar for 1,000 generated tokens.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from anyio import CapacityLimiter, fail_after
from prometheus_client.parser import text_string_to_metric_families
from streamdocs_server.work.asking import requests

from streamdocs.config import RunFile
from streamdocs.corpus import prepare_corpus
from streamdocs.demo.run import reference_texts
from streamdocs.recipes import Request
from streamdocs.run import Run
from streamdocs.store import LmdbStore
from streamdocs.writers import GeneratorSection
from streamdocs_server.engines.make import make_endpoints
from streamdocs_server.engines.pool import Pool
from streamdocs_server.engines.sglang import SGLangEndpoint
from streamdocs_server.gates.gates import Gates
from streamdocs_server.work.desk import Desk
from streamdocs_server.work.lanes import make_lanes
from streamdocs_server.work.loop import GenerationLoop
from streamdocs_server.work.statistics import Statistics

GENERATIONS = 8
MAX_TOKENS = 64
CONCURRENCIES = (4, 8, 16, 32)
# What is measured is the server: noise is accepted as it comes, for asking again would be another load.
GATES = Gates(min_ratio=None, max_ratio=None, max_repeated_lines=1, max_repeated_ngrams=1, cut_off="trim")


class Measured(NamedTuple):
    """One arm: seconds, processor seconds of this process, and what the server says it generated and read."""

    seconds: float
    cpu: float
    generated: float
    prefilled: float

    @property
    def goodput(self) -> float:
        return self.generated / self.seconds


def tiny_server(folder: Path) -> GeneratorSection:
    """What starts the CPU server with a tiny model."""
    python = str(Path(".venv-sglang/bin/python").absolute())
    subprocess.run([python, "server/sglang/tiny_model.py", str(folder / "tiny")], check=True, capture_output=True)
    return GeneratorSection(
        engine="sglang",
        model_path=str(folder / "tiny"),
        model="tiny",
        server_arguments=("--device", "cpu"),
        server_log=str(folder / "sglang.log"),
        sglang_python=python,
    )


async def measure(url: str, work: Callable[[], Coroutine[Any, Any, None]]) -> Measured:
    """Run something against a server with an empty cache."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        with fail_after(20):
            while not (await client.post("/flush_cache")).is_success:  # noqa: ASYNC110 - a health check is in progress
                await asyncio.sleep(0.1)
        before = await counters(client)
        wall, cpu = time.perf_counter(), time.process_time()
        await work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        after = await counters(client)
    difference = {name: after[name] - before[name] for name in after}
    prefilled = difference["sglang:prompt_tokens"] - difference["sglang:cached_tokens"]
    return Measured(wall, cpu, difference["sglang:generation_tokens"], prefilled)


async def counters(client: httpx.AsyncClient) -> dict[str, float]:
    """Totals of the server's token counters."""
    await asyncio.sleep(0.5)  # it publishes now and then
    text = (await client.get("/metrics")).text
    totals = dict.fromkeys(("sglang:prompt_tokens", "sglang:cached_tokens", "sglang:generation_tokens"), 0.0)
    for family in text_string_to_metric_families(text):
        if family.name in totals:
            totals[family.name] = sum(each.value for each in family.samples if each.name.endswith("_total"))
    return totals


async def sidecar(run: Run, endpoint: SGLangEndpoint, folder: Path) -> Measured:
    """Everything that the sidecar does once it knows the server, into a new store."""

    class Kept(Pool):
        async def close(self) -> None:
            for task in self._tending:
                task.cancel()

    slots = CapacityLimiter(256)
    pool = Kept([endpoint], slots=slots)
    desk = Desk.of(pool, slots)
    store = LmdbStore(Path(tempfile.mkdtemp(dir=folder)) / "store")
    try:
        await pool.model()
        counts, name = Statistics(), "benchmark:1"
        loop = GenerationLoop(make_lanes(run, store, desk, GATES, name, counts), store, name, counts, desk=desk)
        return await measure(endpoint.url, loop.run)
    finally:
        await pool.close()


async def plain(endpoint: SGLangEndpoint, asked: list[tuple[Request, int]], concurrency: int, n: int) -> None:
    """The same requests with nothing around them."""
    turns = asyncio.Semaphore(concurrency)

    async with httpx.AsyncClient(
        base_url=endpoint.url, timeout=600, limits=httpx.Limits(max_connections=None)
    ) as client:

        async def ask(request: Request, seed: int) -> None:
            async with turns:
                answer = await client.post("/v1/chat/completions", json=endpoint.body(request, n, seed))
                answer.raise_for_status()

        await asyncio.gather(*(ask(*each) for each in asked))


def make_corpus(folder: Path, documents: int) -> RunFile:
    """Real text, and a run over it."""
    texts = [text[:1200] for text in reference_texts()][:documents]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    prepare_corpus([str(folder / "texts.jsonl")], folder / "corpus", train_tokenizer=1000, progress=False)
    recipe = {"name": "stitch", "generations": GENERATIONS, "max_tokens": MAX_TOKENS}
    return RunFile(corpus=str(folder / "corpus"), store=str(folder / "store"), recipe=recipe)


async def benchmark(file: RunFile, section: GeneratorSection, repeats: int, folder: Path) -> dict[str, Any]:
    """All arms, alternating."""
    (endpoint,) = make_endpoints(section)
    assert isinstance(endpoint, SGLangEndpoint)
    try:
        run = Run.of(file, file.generator.generator(await endpoint.identify()))
        documents = len(run.corpus.documents)
        asked = [each for document in range(documents) for each in requests(run.stream().scope, document, 0)]
        few = asked[: max(16, len(asked) // 3)]
        tried = {
            c: await measure(endpoint.url, lambda c=c: plain(endpoint, few, c, GENERATIONS)) for c in CONCURRENCIES
        }
        best = max(tried, key=lambda concurrency: tried[concurrency].goodput)
        log(f"plain client, tokens/s by concurrency: { {c: round(m.goodput) for c, m in tried.items()} }")
        arms = {
            "sidecar": lambda: sidecar(run, endpoint, folder),
            "plain": lambda: measure(endpoint.url, lambda: plain(endpoint, asked, best, GENERATIONS)),
        }
        pairs = []
        for number in range(repeats):
            order = list(arms) if number % 2 == 0 else list(reversed(arms))
            measured = {arm: await arms[arm]() for arm in order}
            pairs.append((measured["sidecar"], measured["plain"]))
            log(f"pair {number}, tokens/s: { {arm: round(m.goodput) for arm, m in measured.items()} }")
        singly = [(request, seed + n) for n in range(GENERATIONS) for request, seed in asked]
        naive = await measure(endpoint.url, lambda: plain(endpoint, singly, best * 2, 1))
    finally:
        await endpoint.close()
    ours = [pair[0] for pair in pairs]
    prefilled = statistics.median(each.prefilled for each in ours)
    return {
        "goodput_ratio": statistics.median(ours.goodput / theirs.goodput for ours, theirs in pairs),
        "prefill_ratio": prefilled / naive.prefilled,
        "cpu_ms_per_1k_tokens": statistics.median(1e6 * each.cpu / each.generated for each in ours),
        "sidecar_tokens_per_s": statistics.median(each.goodput for each in ours),
        "plain_tokens_per_s": statistics.median(theirs.goodput for _, theirs in pairs),
        "plain_concurrency": best,
        "prefilled_per_generation": prefilled / len(asked) / GENERATIONS,
        "plain_prefilled_per_generation": statistics.median(each.prefilled for _, each in pairs)
        / len(asked)
        / GENERATIONS,
        "naive_prefilled_per_generation": naive.prefilled / len(asked) / GENERATIONS,
        "documents": documents,
        "generations": GENERATIONS,
    }


def log(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--endpoint", help="URL of a running SGLang server with --enable-metrics")
    parser.add_argument("--documents", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        running = GeneratorSection(engine="sglang", endpoint=(arguments.endpoint,)) if arguments.endpoint else None
        section = running or tiny_server(Path(folder))
        file = make_corpus(Path(folder), arguments.documents)
        result = asyncio.run(benchmark(file, section, arguments.repeats, Path(folder)))
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:24} {value:,.3f}" if isinstance(value, float) else f"{name:24} {value}")


if __name__ == "__main__":
    main()
