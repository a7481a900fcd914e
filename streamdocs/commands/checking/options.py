"""The options of ``streamdocs check`` and ``streamdocs schema``."""

from pathlib import Path
from typing import Annotated

import typer

from streamdocs._base.console import expanded

#: More than these are no run's, and make numbers that nobody could read.
_MOST_EPOCHS, _MOST_SPEED = 1e6, 1e12


def _epochs(value: float) -> float:
    return _positive(value, _MOST_EPOCHS)


def _speed(value: float | None) -> float | None:
    return value if value is None else _positive(value, _MOST_SPEED)


def _positive(value: float, most: float) -> float:
    if not 0 < value <= most:
        raise typer.BadParameter(f"{value:g}: above 0, and at most {most:,.0f}")
    return value


def check(
    run_file: Annotated[Path, typer.Argument(callback=expanded, help="The run file.")],
    ask: Annotated[bool, typer.Option(help="Have those who write answer a prompt of each stream.")] = True,
    speed: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Measure how fast they write, for so long; 60 is a minute.")
    ] = 0,
    deadline: Annotated[float, typer.Option(min=1, help="Seconds that each has to be there, and to answer.")] = 30,
    tokens_per_second: Annotated[
        float | None, typer.Option(callback=_speed, help="How fast they write, in place of measuring it.")
    ] = None,
    train_tokens_per_second: Annotated[
        float | None,
        typer.Option(callback=_speed, help="How fast training reads, over all ranks: says when it would wait."),
    ] = None,
    epochs: Annotated[float, typer.Option(callback=_epochs, help="That training reads.")] = 1.0,
    gpus: Annotated[int, typer.Option(min=1, help="That write, for GPU-hours.")] = 1,
    what_if: Annotated[
        bool, typer.Option("--what-if", help="Also with other speeds of the generator, and other G.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(callback=expanded, help="File for a plot, like check.png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check a run before it begins, and estimate it; exits with 1 where it could not go.

    Files, tokenizer, streams and shares, the store, room and memory, and whether those who write answer. Tokens to
    write, hours, GPU-hours, bytes of the store over time, when training would wait, how often each generation is read.
    """
    from streamdocs.checks.estimate import Pace  # noqa: PLC0415
    from streamdocs.commands.checking.report import check_run  # noqa: PLC0415

    pace = Pace(epochs, train_tokens_per_second, tokens_per_second, gpus)
    ok = check_run(
        run_file, pace, ask=ask, seconds=speed, deadline=deadline, what_if=what_if, plot=plot, as_json=as_json
    )
    raise typer.Exit(0 if ok else 1)


def schema() -> None:
    """Print the JSON schema of run files, by which editors check and complete them."""
    import json  # noqa: PLC0415

    from streamdocs.checks.schema import run_file_schema  # noqa: PLC0415

    typer.echo(json.dumps(run_file_schema(), indent=1))
