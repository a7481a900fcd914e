"""The command ``streamdocs-server``."""

import asyncio
import contextlib
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from streamdocs.config import GeneratorSection, RunFile
from streamdocs.console import error_exit, set_up_logging
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import ConfigError, EngineError, StreamdocsError
from streamdocs.run import Run
from streamdocs.schedule import DocumentOrder, exact_fraction
from streamdocs.store import open_store
from streamdocs_server.engines import Engine, Sampling
from streamdocs_server.gates import Gates
from streamdocs_server.leases import server_name
from streamdocs_server.loop import GenerationLoop
from streamdocs_server.resolve import Resolver
from streamdocs_server.view import View

app = typer.Typer(add_completion=False)
log = logging.getLogger(__name__)


@app.command()
def serve(
    run_file: Annotated[Path, typer.Argument(help="The run file that the trainer reads too.")],
    endpoint: Annotated[str | None, typer.Option(help="URL of an OpenAI-compatible server.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model there.")] = None,
    tokens_per_second: Annotated[float | None, typer.Option(help="Hold the template engine back to this.")] = None,
) -> None:
    """Write the generations of a run, in the order in which training will read them. Safe to kill at any time."""
    set_up_logging()
    try:
        run = RunFile.load(run_file)
        given = {"endpoint": endpoint, "model": model, "tokens_per_second": tokens_per_second}
        given = {name: value for name, value in given.items() if value is not None}
        if endpoint:
            given["engine"] = "openai"
        generator = run.generator.model_copy(update=given)
        asyncio.run(serve_run(run.model_copy(update={"generator": generator})))
    except StreamdocsError as error:
        error_exit(error)


async def serve_run(file: RunFile) -> None:
    """Serve a run until all its rounds are done, or SIGINT or SIGTERM.

    Raises:
        StreamdocsError: Something that the run needs cannot be used; the message says what.
    """
    engine = make_engine(file.generator)
    try:
        served = await engine.model()
        if file.generator.model not in (None, served[0]):
            raise EngineError(f"the engine serves {served[0]}, the run file says {file.generator.model}: change one")
        run = make_run(file, served)
        assert run.scope is not None
        store = open_store(file.store)
        resolver = Resolver(run.scope, store, engine, make_gates(file), file.server.attempts)
        limits = {"max_in_flight": file.server.max_in_flight, "max_lead": file.server.max_lead}
        loop = GenerationLoop(run, store, resolver, server_name(), **limits)  # type: ignore[arg-type]
        await _until_signal(loop, View(loop, run.scope.generation_order.total_items))
    finally:
        await engine.close()


def make_run(file: RunFile, served: tuple[str, str]) -> Run:
    """The run of a run file, as the trainer's dataset makes it, with the model that is served."""
    corpus = Corpus(file.corpus, file.remote)
    order = DocumentOrder(corpus.shard_sizes, file.mix.shuffle_seed)
    return Run(
        corpus,
        file.make_recipe(),
        order,
        file.generator.generator(served),
        synthetic_fraction=exact_fraction(file.mix.synthetic_fraction),
        max_seq_len=file.mix.max_seq_len,
        window=file.mix.window,
        name=file.mix.name,
    )


def make_engine(section: GeneratorSection) -> Engine:
    """The engine that a run file names."""
    if section.engine == "template":
        from streamdocs_server.engines.template import TemplateEngine  # noqa: PLC0415

        log.info("the template engine is a stand-in without a model, for trying out; --endpoint uses a real one")
        return TemplateEngine(tokens_per_second=section.tokens_per_second)
    from streamdocs_server.engines.openai import OpenAIEngine  # noqa: PLC0415

    if not section.endpoint:
        raise ConfigError("generator.endpoint (or --endpoint) is needed: the URL of an OpenAI-compatible server")
    sampling = Sampling(temperature=section.temperature, top_p=section.top_p, system=section.system)
    return OpenAIEngine(url=section.endpoint, model=section.model, sampling=sampling, api_key_env=section.api_key_env)


def make_gates(file: RunFile) -> Gates:
    """The gates of a run file.

    Raises:
        ConfigError: A limit that is not known or out of range.
    """
    try:
        return Gates(**file.server.gates)
    except (TypeError, ValidationError) as error:
        raise ConfigError(f"server.gates: {error}") from error


async def _until_signal(loop: GenerationLoop, view: View) -> None:
    working = asyncio.create_task(loop.run())
    showing = asyncio.create_task(view.show())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, working.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await working
    showing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await showing
    log.info("%s", "; ".join(f"{name} {value}" for name, value in view.rows()))
