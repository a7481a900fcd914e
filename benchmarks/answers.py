"""What a model answers and what the gates make of it: record once, then judge with the gates of any commit.

usage: python benchmarks/answers.py record RUN_YAML RAW.jsonl [--model PATH] [--attempts 1]
       python benchmarks/answers.py judge RAW.jsonl [--pick 50] [--seed 0] [--json] [--accepted FILE] [--rejected FILE]

``record`` runs the server's own loop over a run file, and writes every completion as it came, with its request, one
JSON object a line. ``judge`` needs neither a model nor a store: it counts causes, and picks some accepted texts at
random, beside their documents, for somebody to read who does not know which gates let them through. Check out another
commit, with this file kept, to judge the same answers by its gates.

A small model over 300 documents (a line of documents.jsonl each) with two recipes:

    streamdocs prepare documents.jsonl --out corpus --train-tokenizer 2000
    # both run files: preset: small, and generator: {engine: sglang, server_arguments: [--device, cpu]}
    python benchmarks/answers.py record rephrase.yaml rephrase.jsonl --model smollm2
    python benchmarks/answers.py record stretch.yaml stretch.jsonl --model smollm2
    python benchmarks/answers.py judge rephrase.jsonl --pick 50 > read-me.md

Lines have the times at which a request began and ended, for the rate of generation.
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any, TextIO

from anyio import CapacityLimiter

from streamdocs._base.console import set_up_logging
from streamdocs.config import RunFile
from streamdocs.recipes import Request
from streamdocs.run import Run
from streamdocs_server.engines import Answer, Engine
from streamdocs_server.engines.make import make_engine, with_options
from streamdocs_server.gates.gates import Accepted, Gates
from streamdocs_server.work.desk import Desk
from streamdocs_server.work.lanes import make_lanes
from streamdocs_server.work.lanes.leases import server_name
from streamdocs_server.work.loop import GenerationLoop
from streamdocs_server.work.statistics import Statistics


class Recorder:
    """An engine that writes down what another one answers."""

    def __init__(self, engine: Engine, out: TextIO) -> None:
        self.engine, self.out = engine, out
        self.model, self.fit, self.close = engine.model, engine.fit, engine.close

    async def generate(self, request: Request, seed: int) -> Answer:
        began = time.time()
        answer = await self.engine.generate(request, seed)
        asked = {"kind": request.kind, "template": request.template, "fields": dict(request.fields)}
        for each in answer.completions:
            got = {"text": each.text, "finish_reason": each.finish_reason, "tokens": each.completion_tokens}
            line = {**asked, "max_tokens": request.max_tokens, **got, "began": began, "ended": time.time()}
            self.out.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.out.flush()
        return answer


async def record(file: RunFile, out: TextIO, attempts: int) -> None:
    """Serve a run to its end, and write down all that its model says."""
    store = file.open_served()
    slots = CapacityLimiter(file.server.max_in_flight)
    engine = Recorder(make_engine(file.generator, slots, file.server.failure_budget), out)
    try:
        run = Run.of(file, file.generator.generator(await engine.model()))
        gates, counts, name = Gates(**file.server.gates), Statistics(), server_name()
        desk = Desk.of(engine, slots)
        lanes = make_lanes(run, store, desk, gates, name, counts, attempts=attempts, max_lead=file.server.max_lead)
        await GenerationLoop(lanes, store, name, counts, desk=desk).run()
    finally:
        await engine.close()


def judge(answers: list[dict[str, Any]], gates: Gates) -> list[tuple[str | None, str, dict[str, Any]]]:
    """Of each answer the cause of its rejection, or None; and the text that was kept, or that came."""
    judged = []
    for answer in answers:
        names = "kind", "template", "fields", "max_tokens"
        request = Request(n=1, **{name: answer[name] for name in names})
        verdict = gates.check(answer["text"], answer["finish_reason"], request)
        kept = isinstance(verdict, Accepted)
        judged.append((None, verdict.text, answer) if kept else (verdict.cause, answer["text"], answer))
    return judged


def show(number: int, cause: str | None, text: str, answer: dict[str, Any]) -> str:
    source = "\n\n[…]\n\n".join(answer["fields"].values())
    head = f"## {number}" + (f": {cause}" if cause else "")
    return f"{head}\n\n### Document\n\n{source}\n\n### Generation\n\n{text}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("run_file", type=Path)
    recording.add_argument("raw", type=Path)
    recording.add_argument("--model", help="start SGLang with this model")
    recording.add_argument("--attempts", type=int, default=1)
    judging = commands.add_parser("judge")
    judging.add_argument("raw", type=Path)
    judging.add_argument("--gates", type=json.loads, default={}, help="limits, as JSON")
    judging.add_argument("--pick", type=int, default=0, help="print so many accepted texts, at random")
    judging.add_argument("--seed", type=int, default=0)
    judging.add_argument("--json", action="store_true", help="end with one JSON object")
    judging.add_argument("--accepted", type=Path, help="file for all accepted texts")
    judging.add_argument("--rejected", type=Path, help="file for all rejected texts")
    arguments = parser.parse_args()
    if arguments.command == "record":
        set_up_logging()
        file = RunFile.load(arguments.run_file)
        given = {"model_path": arguments.model} if arguments.model else {}
        file = file.model_copy(update={"generator": with_options(file.generator, given)})
        with arguments.raw.open("a", encoding="utf-8") as out:
            asyncio.run(record(file, out, arguments.attempts))
        return
    answers = [json.loads(line) for line in arguments.raw.read_text(encoding="utf-8").splitlines()]
    began = time.process_time()
    judged = judge(answers, Gates(**arguments.gates))
    took = time.process_time() - began
    accepted = [each for each in judged if each[0] is None]
    for path, wanted in ((arguments.accepted, True), (arguments.rejected, False)):
        if path:
            chosen = [each for each in judged if (each[0] is None) == wanted]
            path.write_text("\n".join(show(i, *each) for i, each in enumerate(chosen)), encoding="utf-8")
    picked = random.Random(arguments.seed).sample(accepted, min(arguments.pick, len(accepted)))
    for number, each in enumerate(picked):
        print(show(number, *each))
    causes = Counter(cause for cause, *_ in judged if cause)
    tokens = sum(answer["tokens"] for answer in answers)
    result = {
        "answers": len(answers),
        "accepted": len(accepted),
        "distinct": len({text for _, text, _ in accepted}),
        "rejected": dict(causes.most_common()),
        "cpu_ms_per_1k_tokens": 1e6 * took / max(tokens, 1),
    }
    print(json.dumps(result) if arguments.json else "\n".join(f"{name:22} {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
