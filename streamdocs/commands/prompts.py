"""The commands ``streamdocs prompts …``: which styles there are, and what exactly they ask."""

from collections.abc import Iterator
from typing import Annotated

import typer

from streamdocs._base.console import printable
from streamdocs.recipes.programs.files import find_program
from streamdocs.recipes.programs.program import Program, Step
from streamdocs.recipes.programs.styles import AIMS, STYLES
from streamdocs.recipes.prompts import PACKAGED, load_prompt

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="The prompts and programs that generations are written by.",
)


@app.command("list")
def list_styles() -> None:
    """List the packaged styles: what each is after, its limits in characters, and its steps with their new tokens."""
    width = max(map(len, STYLES)) + 2
    for name, program in STYLES.items():
        steps = ", ".join(f"{step.name} ({step.max_tokens:,})" for step in program.steps)
        typer.echo(f"{name:{width}}{AIMS[name]}")
        typer.echo(f"{'':{width}}chunk {program.chunk:,}, least {program.least}, steps {steps}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A packaged style or prompt, or a file with a program.")],
) -> None:
    """Print a program with the prompts of its steps, as they are before a document is filled in."""
    if name in PACKAGED and name not in STYLES:
        typer.echo(load_prompt(name).rstrip())
        return
    program = find_program(name)
    typer.echo(f"after: {AIMS[name]}" if program is STYLES.get(name) else f"file: {printable(name)}")
    typer.echo(printable("\n".join(_told(program))))


def _told(program: Program) -> Iterator[str]:
    """Lines about a program, a name and its value each, and then those of its prompts."""
    yield f"name: {program.name}"
    yield f"chunk: {'all of a document' if program.chunk is None else f'{program.chunk:,} characters'}"
    yield f"least: {program.least:,} characters"
    yield f"template: {program.template!r}"
    yield f"join: {program.join!r}"
    if program.choose:
        yield f"choose: {program.choose}"
    for step in program.steps:
        yield f"\n--- step {step.name}: {', '.join(_limits(step))}"
        yield step.prompt.rstrip()


def _limits(step: Step) -> Iterator[str]:
    """What is said of a step beside its prompt, without what is as it is by default."""
    tags = "".join(f" <{tag}>" for tag in step.tags)
    most = f" up to {step.most}" if step.parser == "list" else ""
    yield f"{step.parser}{tags}{most}"
    yield f"kind {step.kind}"
    yield f"max_tokens {step.max_tokens}"
    yield from (name for name in ("once", "deal") if getattr(step, name))
    for name, default in (("n", 1), ("temperature", None), ("top_p", None), ("writer", None), ("back", None)):
        if (value := getattr(step, name)) != default:
            yield f"{name} {value}"
    if step.gates:
        yield f"gates {dict(step.gates)}"
