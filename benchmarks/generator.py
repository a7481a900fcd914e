"""A generator to measure with: the server's own loop over English texts, with the template engine held to a rate."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter

from streamdocs.config import RunFile
from streamdocs.corpus import prepare_corpus
from streamdocs.demo.run import reference_texts
from streamdocs.run import Run
from streamdocs.schedule.rounds import BLOCK
from streamdocs.sections import MixSection
from streamdocs.store import LmdbStore
from streamdocs.writers import GeneratorSection
from streamdocs_server.engines.template import TemplateEngine
from streamdocs_server.gates.gates import Gates
from streamdocs_server.work import loop, retire
from streamdocs_server.work.desk import Desk
from streamdocs_server.work.lanes import make_lanes
from streamdocs_server.work.lanes.blocks import Blocks
from streamdocs_server.work.loop import GenerationLoop
from streamdocs_server.work.statistics import Statistics

# What is measured is not the template engine's prose: whatever it writes is taken.
_GATES = Gates(min_ratio=None, max_ratio=None, min_thought=0, max_repeated_lines=1, max_repeated_ngrams=1)
_SERVED = ("template", "1")
_IN_FLIGHT = 16


def make_text_corpus(folder: Path, documents: int, characters: int) -> Path:
    """A corpus of the first characters of some reference texts."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = [text[:characters] for text in reference_texts()][:documents]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    prepare_corpus([str(folder / "texts.jsonl")], folder / "corpus", train_tokenizer=1000, progress=False)
    return folder / "corpus"


def run_file(corpus: Path, store: Path, recipe: dict[str, Any], **mix: Any) -> RunFile:
    """The run file that generator and trainer both read."""
    writer = GeneratorSection(model=_SERVED[0], revision=_SERVED[1])
    return RunFile(corpus=str(corpus), store=str(store), recipe=recipe, generator=writer, mix=MixSection(**mix))


def serve(file: RunFile, tokens_per_second: float | None = None, beat_seconds: float = 0.1) -> None:
    """Write generations as a server does, until all are written or the process is killed.

    It looks for rounds to retire every ``beat_seconds``, and only waits a second before it does: seconds of a benchmark
    stand for minutes of a run.
    """
    loop._BEAT_SECONDS, retire._GRACE_SECONDS = beat_seconds, 1.0
    asyncio.run(_loop(file, tokens_per_second).run())


def write_first(file: RunFile, documents: int) -> None:
    """Write the first generations that a run wants: one round of so many documents, rounded up to whole blocks."""

    async def work() -> None:
        writing = _loop(file, None)
        (lane,) = writing.lanes
        for number in range(-(-documents // BLOCK)):
            await Blocks(writing.desk, writing.statistics).begin(lane, number)

    asyncio.run(work())


def _loop(file: RunFile, tokens_per_second: float | None) -> GenerationLoop:
    run, store = Run.of(file, file.generator.generator(_SERVED)), LmdbStore(file.store)
    engine, counts, name = TemplateEngine(tokens_per_second=tokens_per_second), Statistics(), f"benchmark:{os.getpid()}"
    desk = Desk.of(engine, CapacityLimiter(_IN_FLIGHT))
    lanes = make_lanes(run, store, desk, _GATES, name, counts, max_lead=1 << 40)
    return GenerationLoop(lanes, store, name, counts, desk=desk)
