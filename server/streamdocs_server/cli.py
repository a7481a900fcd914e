"""The command ``streamdocs-server``."""

import asyncio
import contextlib
import json
import logging
import shlex
import signal
from collections.abc import Collection
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from streamdocs._base.console import error_exit, set_up_logging
from streamdocs._base.serving.monitor import try_monitor
from streamdocs._base.untrusted import faults
from streamdocs.checks.probed import PROBE
from streamdocs.config import RunFile
from streamdocs.errors import ConfigError, EngineError, StreamdocsError
from streamdocs.generations.heartbeat import registered_generators
from streamdocs.generations.progress import read_tallies, total
from streamdocs.recipes.keys import Generator
from streamdocs.run import Run
from streamdocs.sections import BudgetSection
from streamdocs.store import Store
from streamdocs_server.engines.make import with_options
from streamdocs_server.gates.gates import Gates
from streamdocs_server.gates.overlap import load_protected
from streamdocs_server.probe import probe_run
from streamdocs_server.show_prompts import show_prompts
from streamdocs_server.telling.monitor import Monitor
from streamdocs_server.telling.view import View
from streamdocs_server.work.desk import make_desk
from streamdocs_server.work.lanes import make_lanes
from streamdocs_server.work.lanes.leases import server_name
from streamdocs_server.work.loop import GenerationLoop
from streamdocs_server.work.outcome import Outcome
from streamdocs_server.work.retire import reopen
from streamdocs_server.work.statistics import Budget, Statistics

#: Those of the command itself.
_OPTIONS = ("--help", "-h", "--install-completion", "--show-completion")


class _ServeByDefault(TyperGroup):
    """``streamdocs-server run.yaml`` is ``streamdocs-server serve run.yaml``."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        known = args and (args[0] in self.commands or args[0] in _OPTIONS)
        return super().parse_args(ctx, args if known or not args else ["serve", *args])


# The values of variables, among them keys, are no part of a traceback.
app = typer.Typer(cls=_ServeByDefault, no_args_is_help=True, pretty_exceptions_show_locals=False)
log = logging.getLogger(__name__)

#: No run has as many documents.
_MOST_LEAD = 1 << 40


@app.command()
def serve(
    run_file: Annotated[Path, typer.Argument(help="The run file that the trainer reads too.")],
    model: Annotated[str | None, typer.Option(help="Start SGLang with the model at this path or hub name.")] = None,
    endpoint: Annotated[
        list[str] | None, typer.Option(help="URL of a running OpenAI-compatible server or router; may be repeated.")
    ] = None,
    model_name: Annotated[str | None, typer.Option(help="Name under which the model is served.")] = None,
    sglang_python: Annotated[str | None, typer.Option(help="Python of the environment that has SGLang.")] = None,
    sglang_arguments: Annotated[str | None, typer.Option(help="More flags for SGLang, as one string.")] = None,
    tokens_per_second: Annotated[float | None, typer.Option(help="Hold the template engine back to this.")] = None,
    again: Annotated[
        list[str] | None,
        typer.Option(
            help="Ask again for what was rejected for this cause, or `all`; may be repeated. Stop training first."
        ),
    ] = None,
    fill: Annotated[
        bool, typer.Option("--fill", help="Go on to the end of all rounds, whether or not anybody trains yet.")
    ] = False,
    cache: Annotated[
        str | None, typer.Option(help="Folder of this node's copy of a store in an object store; over the run file's.")
    ] = None,
) -> None:
    """Write the generations of a run, in the order in which training will read them. Safe to kill at any time."""
    set_up_logging()
    try:
        run = RunFile.load(run_file)
        given = {
            "model_path": model,
            "endpoint": tuple(endpoint or ()) or None,
            "model": model_name,
            "sglang_python": sglang_python,
            "server_arguments": None if sglang_arguments is None else tuple(shlex.split(sglang_arguments)),
            "tokens_per_second": tokens_per_second,
        }
        given = {name: value for name, value in given.items() if value is not None}
        if run.writers and given:
            raise ConfigError(f"{', '.join(given)}: the run file has writers, {', '.join(run.writers)}: say it there")
        generator = with_options(run.generator, given)
        if fill:
            run = without_lead(run)
        if cache is not None:
            run = run.model_copy(update={"cache": cache})
        asyncio.run(serve_run(run.model_copy(update={"generator": generator}), again or ()))
    except StreamdocsError as error:
        error_exit(error)


app.command("show-prompts")(show_prompts)


@app.command()
def probe(
    run_file: Annotated[Path, typer.Argument(help="The run file.")],
    seconds: Annotated[float, typer.Option(min=0, help="Measure their speed for so long; 0 asks for one item.")] = 0,
    deadline: Annotated[float, typer.Option(min=1, help="Seconds to be there, and to answer a first prompt.")] = 30,
) -> None:
    """Ask those who write for something, keep nothing of it, and print what was found as JSON, as `check` reads it."""
    set_up_logging()
    try:
        file = RunFile.load(run_file)
        typer.echo(PROBE.dump_json(asyncio.run(probe_run(file, make_gates(file), seconds, deadline))))
    except StreamdocsError as error:
        error_exit(error)


async def serve_run(file: RunFile, again: Collection[str] = ()) -> None:
    """Serve a run until all its rounds are done, or SIGINT or SIGTERM. Prints a last status, as JSON, on stdout.

    ``again``: causes of rejection; what was rejected for one of them is asked for again.

    Raises:
        StreamdocsError: Something that the run needs cannot be used; the message says what.
    """
    told = file.server
    # Before there is a store that nobody wants.
    try_monitor(told.monitor_host, told.monitor_port, told.monitor_token_env)
    store, gates = file.open_served(), make_gates(file)
    desk = make_desk(file)
    try:
        # Of several, each is begun when it is first asked: one that is not there yet holds up nobody else.
        served = None if file.writers else await desk.default.begin()
        run = Run.of(file, file.who_writes(served))
        if served and file.generator.model is None:
            _check_same_model(store, run.synthetic[0].scope.generator)
        causes = reopen(store, [stream.scope for stream in run.synthetic], again) if again else frozenset[str]()
        counts, name = Statistics(outcome=Outcome(told.failure_budget)), server_name()
        lanes = make_lanes(
            run, store, desk, gates, name, counts, attempts=told.attempts, again=causes, max_lead=told.max_lead
        )
        loop = GenerationLoop(lanes, store, name, counts, desk=desk, budget=make_budget(file, store, run))
        monitor = Monitor(loop, told.monitor_port, told.monitor_host, told.monitor_token_env)
        monitor.start()
        try:
            await _until_signal(loop, View(loop), file.server.drain)
        finally:
            monitor.close()
            typer.echo(json.dumps(monitor.status()))
    finally:
        await desk.close()


def without_lead(file: RunFile) -> RunFile:
    """The run, written to its end without a trainer.

    Raises:
        ConfigError: There are rounds that replace others, which leave the store only as training goes on.
    """
    for name, section in file.streams_by_name.items():
        recipe = section.recipe
        if recipe and (recipe.total_rounds is None or recipe.total_rounds > recipe.cycle):
            told = "null" if recipe.total_rounds is None else recipe.total_rounds
            raise ConfigError(
                f"--fill: stream {name} has rounds: {told}, and a store is full with {recipe.cycle}: leave rounds out"
            )
    return file.model_copy(update={"server": file.server.model_copy(update={"max_lead": _MOST_LEAD})})


def make_gates(file: RunFile) -> Gates:
    """The gates of a run file.

    Raises:
        ConfigError: A limit that is not known or out of range, or texts to compare with that cannot be read.
        CorpusError: Documents that are held out cannot be read.
    """
    try:
        gates = Gates(**file.server.gates)
    except ValidationError as error:
        raise ConfigError(f"server.gates: {faults(error, kind=Gates)}") from error
    recipes = [section.recipe for section in file.streams_by_name.values() if section.recipe]
    wanted = file.server.decontaminate or any(recipe.protects for recipe in recipes)
    return replace(gates, protected=load_protected(file)) if wanted else gates


def make_budget(file: RunFile, store: Store, run: Run) -> Budget:
    """The budget of a run file, less what a store holds."""
    if file.server.budget == BudgetSection():
        return Budget()
    held = total(chain.from_iterable(read_tallies(store, stream.scope).values() for stream in run.synthetic))
    most = max(stream.recipe.round_size * stream.recipe.most_tokens for stream in run.synthetic)
    return Budget(file.server.budget, held.tokens, held.items, most)


def _check_same_model(store: Store, generator: Generator) -> None:
    """Refuse to fill a store with the text of another model than it has."""
    known = {_name(each) for each in registered_generators(store)}
    if known and _name(generator) not in known:
        raise EngineError(
            f"the engine serves {_name(generator)}, the store {store.location} has generations of "
            f"{' and '.join(sorted(known))}: serve that model, or set generator.model (--model-name) to begin with the "
            "other one in the same store"
        )


def _name(generator: Generator) -> str:
    return f"{generator.model} {generator.revision}".strip()


async def _until_signal(loop: GenerationLoop, view: View, drain: float) -> None:
    working = asyncio.create_task(loop.run())
    showing = asyncio.create_task(view.show())
    seconds = chain([drain], repeat(0.0))  # a second signal ends what is in flight
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, lambda: loop.drain(next(seconds)))
    await working
    showing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await showing
    log.info("%s", "; ".join(f"{name} {value}" for name, value in view.rows()))
