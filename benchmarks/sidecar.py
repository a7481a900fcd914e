"""The sidecar's ceiling: generated tokens a second that one server process takes from servers that answer at once.

usage: python benchmarks/sidecar.py [--json] [--documents 400] [--repeats 3]

The canned server is a process of its own: every answer has as many texts as were asked for, of 300 tokens, which the
gates accept: real words in sentences of chance. The sidecar is everything that a real one is: loop, client, gates,
tokenizer and store, 256 documents in flight. All arms take turns, each time in a fresh process.

- ``tokens_per_s``, ``tokens_per_s_n1``: with four generations a request, and with one.
- ``cpu_ms_per_1k_tokens``: processor time of the sidecar for 1,000 generated tokens, four generations a request.
- ``parts``: the same by what it went to; ``client`` is all that is none of the others: requests, answers, the loop.
- ``plain_per_s``, ``plain_per_s_n1``: tokens a second of a bare client of the same library, to compare with.
"""

import argparse
import asyncio
import json
import multiprocessing
import re
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import cache, partial, wraps
from multiprocessing.connection import Connection
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
from aiohttp import ClientSession, TCPConnector, web
from anyio import CapacityLimiter
from processes import Beside, in_fresh_process

from streamdocs import Stitch
from streamdocs.config import RunFile
from streamdocs.corpus import prepare_corpus
from streamdocs.corpus.tokenizing.tokenizer import CorpusTokenizer
from streamdocs.run import Run
from streamdocs.store import LmdbStore
from streamdocs.writers import GeneratorSection
from streamdocs_server.engines.make import make_endpoints
from streamdocs_server.engines.pool import Pool
from streamdocs_server.gates.gates import Gates
from streamdocs_server.work.desk import Desk
from streamdocs_server.work.lanes import make_lanes
from streamdocs_server.work.loop import GenerationLoop
from streamdocs_server.work.statistics import Statistics

IN_FLIGHT, GENERATIONS, TOKENS = 256, 8, 300
#: Texts that the canned server has: more than a document asks for, so that hardly any document gets one twice.
TEXTS = 997
#: Texts of Python's reference, of which words are taken: so few that documents and answers have a subject in common.
_REAL = 40


def writer(seed: int) -> Callable[[int], str]:
    """Writes texts of so many words: those of real ones, as often as there, in sentences that nobody wrote before."""
    known, rng = _known_words(), np.random.default_rng(seed)

    def write(words: int) -> str:
        said = rng.choice(known, words).tolist()
        return " ".join(" ".join(said[at : at + 12]).capitalize() + "." for at in range(0, words, 12))

    return write


@cache
def _known_words() -> np.ndarray:
    return np.array(re.findall(r"[A-Za-z]+", " ".join(list(topics.values())[:_REAL])))


def serve(texts: list[str], told: Connection) -> None:
    """The canned server; its port is sent to ``told``."""
    turn = iter(range(1 << 62))

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "canned", "max_model_len": 1 << 16}]})

    async def chat(request: web.Request) -> web.Response:
        n = json.loads(await request.read())["n"]
        chosen = [choices[next(turn) % TEXTS] for _ in range(n)]
        usage = b'"usage":{"prompt_tokens":200,"completion_tokens":%d}' % (n * TOKENS)
        return web.Response(body=b'{"choices":[%s],%s}' % (b",".join(chosen), usage), content_type="application/json")

    async def run() -> None:
        app = web.Application()
        app.add_routes([web.get("/v1/models", models), web.post("/v1/chat/completions", chat)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        told.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    choices = [json.dumps({"index": 0, "message": {"content": t}, "finish_reason": "stop"}).encode() for t in texts]
    asyncio.run(run())


def prepare(folder: Path, documents: int) -> list[str]:
    """A corpus, and the canned texts."""
    write = writer(0)
    with (folder / "texts.jsonl").open("w") as file:
        for _ in range(documents):
            file.write(json.dumps({"text": write(240)}) + "\n")
    prepare_corpus([str(folder / "texts.jsonl")], folder / "corpus", train_tokenizer=4000, progress=False)
    tokenizer = CorpusTokenizer.load(folder / "corpus")
    made = tokenizer.encode_batch([write(2 * TOKENS) for _ in range(TEXTS)])
    return [tokenizer.decode(tokens[:TOKENS]).strip() for tokens in made]


def measure(folder: Path, port: int, n: int, by_part: bool = False) -> dict[str, Any]:
    """One run of the sidecar to its end, into a new store; ``by_part`` looks at clocks, which takes time itself."""
    parts: defaultdict[str, float] = defaultdict(float)
    if by_part:
        timed(Gates, "check", "gates", parts)
        timed(CorpusTokenizer, "encode_batch", "tokenizer", parts)
        timed(LmdbStore, "add_all", "store", parts)
    return asyncio.run(_measure(folder, port, n, parts))


async def _measure(folder: Path, port: int, n: int, parts: defaultdict[str, float]) -> dict[str, Any]:
    section = GeneratorSection(engine="openai", endpoint=(f"http://127.0.0.1:{port}",))
    file = RunFile(
        corpus=str(folder / "corpus"),
        store="store",
        recipe=Stitch(generations=GENERATIONS, per_round=n, max_tokens=512),
    )
    slots, counts = CapacityLimiter(IN_FLIGHT), Statistics()
    pool = Pool(make_endpoints(section), slots=slots)
    desk = Desk.of(pool, slots)
    store = LmdbStore(tempfile.mkdtemp(dir=folder))
    try:
        model, revision = await pool.model()
        run = Run.of(file, file.generator.generator((model, revision)))
        lanes = make_lanes(run, store, desk, Gates(), "benchmark:1", counts, max_lead=1 << 40)
        loop = GenerationLoop(lanes, store, "benchmark:1", counts, desk=desk)
        parts.clear()
        parts["tokenizer"] -= others()
        wall, cpu = time.perf_counter(), time.process_time()
        await loop.run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        parts["tokenizer"] += others()
    finally:
        await pool.close()
    asked = len(run.corpus.documents) * GENERATIONS
    if counts.written.generations < 0.9 * asked:
        raise SystemExit(f"of {asked:,} texts {counts.written.generations:,} were accepted: {counts.written.rejected}")
    tokens = asked * TOKENS
    parts["client"] = cpu - sum(parts.values())
    return {
        "tokens_per_s": tokens / wall,
        "cpu_ms_per_1k_tokens": 1e6 * cpu / tokens,
        "parts": {name: 1e6 * seconds / tokens for name, seconds in sorted(parts.items())},
    }


def others() -> float:
    """Processor seconds of the threads that are not Python's: those of the tokenizer."""
    ours = {thread.native_id for thread in threading.enumerate()}
    tasks = [task for task in Path("/proc/self/task").iterdir() if int(task.name) not in ours]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def timed(owner: type, name: str, part: str, parts: defaultdict[str, float]) -> None:
    """Count the processor time of a method."""
    method: Callable[..., Any] = getattr(owner, name)

    @wraps(method)
    def counted(*arguments: Any, **named: Any) -> Any:
        began = time.thread_time()
        try:
            return method(*arguments, **named)
        finally:
            parts[part] += time.thread_time() - began

    setattr(owner, name, counted)


def plain(port: int, n: int, requests: int) -> dict[str, Any]:
    """A bare client: the same bodies, and the answers read as JSON."""

    async def run() -> float:
        turns = asyncio.Semaphore(IN_FLIGHT)
        body = {"model": "canned", "messages": [{"role": "user", "content": "x" * 1500}], "n": n, "max_tokens": 512}

        async def ask() -> None:
            async with turns, session.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body) as answer:
                json.loads(await answer.read())

        async with ClientSession(connector=TCPConnector(limit=0)) as session:
            began = time.perf_counter()
            await asyncio.gather(*(ask() for _ in range(requests)))
            return requests * n * TOKENS / (time.perf_counter() - began)

    return {"tokens_per_s": asyncio.run(run())}


def benchmark(documents: int, repeats: int) -> dict[str, Any]:
    """All arms, alternating, each in a process of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ours, theirs = multiprocessing.Pipe()
        with Beside(serve, prepare(folder, documents), theirs):
            if not ours.poll(60):
                raise SystemExit("the canned server does not start")
            port = ours.recv()
            arms = {
                "": partial(measure, folder, port, 4),
                "_n1": partial(measure, folder, port, 1),
                "parts": partial(measure, folder, port, 4, by_part=True),
                "plain": partial(plain, port, 4, 2 * documents),
                "plain_n1": partial(plain, port, 1, 8 * documents),
            }
            runs = [{arm: in_fresh_process(work) for arm, work in arms.items()} for _ in range(repeats)]
    speed = {arm: statistics.median(run[arm]["tokens_per_s"] for run in runs) for arm in arms}
    return {
        "tokens_per_s": speed[""],
        "tokens_per_s_n1": speed["_n1"],
        "cpu_ms_per_1k_tokens": statistics.median(run[""]["cpu_ms_per_1k_tokens"] for run in runs),
        "parts": {
            name: statistics.median(run["parts"]["parts"][name] for run in runs) for name in runs[0]["parts"]["parts"]
        },
        "plain_per_s": speed["plain"],
        "plain_per_s_n1": speed["plain_n1"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    result = benchmark(arguments.documents, arguments.repeats)
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
