"""The command ``show-prompts``: what is sent for one document, to the letter."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from streamdocs._base.console import error_exit, printable
from streamdocs.config import RunFile
from streamdocs.errors import ConfigError, StreamdocsError
from streamdocs.generations.steps.asking import requests, sources_of
from streamdocs.generations.steps.rows import parts_of, step_request
from streamdocs.recipes import RECIPES, Request
from streamdocs.recipes.keys import Writers, step_key
from streamdocs.recipes.programs.program import PREVIOUS
from streamdocs.recipes.programs.tasks import DEFAULT_WRITER, Team
from streamdocs.run import Run
from streamdocs.streams import GenerationScope, SyntheticStream
from streamdocs.writers import GeneratorSection
from streamdocs_server.engines.make import make_sampling
from streamdocs_server.engines.openai import OpenAIEndpoint


def show_prompts(
    run_file: Annotated[Path, typer.Argument(help="The run file.")],
    document: Annotated[int, typer.Option(help="Number of the document in the corpus.")] = 0,
    round: Annotated[int, typer.Option(help="Round of generations.")] = 0,
    recipe: Annotated[str | None, typer.Option(help="In place of the run's: a recipe's name, or `all`.")] = None,
    stream: Annotated[str | None, typer.Option(help="Which stream, of a run with several; default all.")] = None,
    model_name: Annotated[str | None, typer.Option(help="Name of the model; it is in the seed, too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line for each: the body of the HTTP request.")] = False,
) -> None:
    """Print the prompts that are sent for one document, in the order of sending; with --json, to the letter.

    What is too long for the model is cut when it is sent, since only the server knows how much it can read.
    """
    try:
        file = RunFile.load(run_file)
        served = (model_name or file.generator.model or "the-served-model", file.generator.revision)
        writers = file.who_writes(served)
        assert writers is not None
        run = Run.of(file, writers)
        for each in run.synthetic if stream is None else [run.stream(stream)]:
            for scope in _scopes(each, recipe, writers):
                _check(scope, document, round)
                # Concepts are asked for once, before all rounds.
                for sent in (scope.concepts, scope) if scope.concepts and not round else (scope,):
                    title = sent.recipe.name if len(run.synthetic) == 1 else f"{each.name}: {sent.recipe.name}"
                    for what, writer, request, seed in _asked(sent, document, round):
                        body = _endpoint(file, writers, writer).body(request, request.n, seed)
                        told = ", ".join(filter(None, [title, what]))
                        typer.echo(json.dumps(body) if as_json else printable(_readable(told, document, round, body)))
    except StreamdocsError as error:
        error_exit(error)


def _endpoint(file: RunFile, writers: Writers, name: str) -> OpenAIEndpoint:
    """Where a writer would be asked."""
    sections = file.sections_of_writers
    section = sections.get(name or next(iter(sections)), GeneratorSection())
    return OpenAIEndpoint(url="http://localhost", model=writers[name].model, sampling=make_sampling(section))


def _asked(scope: GenerationScope, document: int, round: int) -> Iterator[tuple[str, str, Request, int]]:
    """What is asked of whom for a document, in the order of sending; of a program, what steps give is left open."""
    if scope.recipe.is_plain:
        for request, seed in requests(scope, document, round):
            yield "", DEFAULT_WRITER, request, seed
        return
    teams: dict[Team, list[int]] = {}
    for number, task in enumerate(tasks := scope.recipe.tasks_of_round(round)):
        teams.setdefault(task.team, []).append(number)
    # Which walks a round has is settled when it begins.
    sources = sources_of(scope, document, round) if scope.plans is None else [{}] * scope.recipe.round_size
    for team, numbers in teams.items():
        task = tasks[numbers[0]]
        source = {**parts_of(team.program, sources[numbers[0]])[0], PREVIOUS: ""}
        for step, writer in zip(team.program.steps, team.writers, strict=True):
            fields = {name: source[name] for name in step.inputs if name in source}
            whole = len(fields) == len(step.inputs)
            ordinals = (tasks[number].ordinal * step.n + each for number in numbers for each in range(step.n))
            answers = dict.fromkeys(map(step.answer, ordinals))
            seed = step_key(step, fields, scope.writers[writer], min(answers)).seed if whole else 0
            what = f"style {task.style}, step {step.name}, writer {writer or 'default'}"
            yield what, writer, step_request(step, fields, len(answers)), seed


def _check(scope: GenerationScope, document: int, round: int) -> None:
    """Raise ConfigError where there is no such document or round."""
    documents, rounds = len(scope.corpus.documents), scope.recipe.total_rounds
    if not 0 <= document < documents:
        raise ConfigError(f"--document {document}: the corpus {scope.corpus.local} has 0 to {documents - 1}")
    if round < 0 or (rounds is not None and round >= rounds):
        last = "" if rounds is None else f" to {rounds - 1}"
        raise ConfigError(f"--round {round}: the recipe {scope.recipe.name} of this run has rounds 0{last}")


def _scopes(stream: SyntheticStream, name: str | None, writers: Writers) -> list[GenerationScope]:
    """That of a stream, or what it would be with another recipe, or with each."""
    own = stream.recipe
    names = list(RECIPES) if name == "all" else [name or own.name]
    if not set(names) <= {*RECIPES, own.name}:
        raise ConfigError(f"--recipe {name}: it is one of {', '.join(RECIPES)} or all")
    # The stream's own recipe is the run's, prompt and all; which documents are hard is settled when a round begins.
    own = replace(own, errors=None)
    recipes = [own if own.name == each else RECIPES[each](generations=own.generations) for each in names]
    return [GenerationScope(stream.sources, each, writers, stream.order, stream.name) for each in recipes]


def _readable(recipe: str, document: int, round: int, body: dict[str, Any]) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in body.items() if name != "messages")
    messages = "\n".join(f"[{message['role']}]\n{message['content']}" for message in body["messages"])
    return f"--- {recipe}, document {document}, round {round}: {settings}\n{messages}\n"
