"""The commands ``streamdocs evaluate``, ``efficiency``, ``scaling`` and ``presets``, as they are typed."""

from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from streamdocs._base.console import expanded
from streamdocs.errors import ConfigError

_RUNS = "JSON lines, each a run: tokens, loss, recipe, G (generations a document) and seed."
_JSON = "One JSON object with all of it."
_PLOT = "File for a plot, like efficiency.png."
_DRAWS = "Laws that are fitted for the intervals; 0 for none."
_NOISE = "Standard deviation of a run around the law, where it is known; default what the runs say."

RunsFile = Annotated[Path, typer.Argument(callback=expanded, help=_RUNS)]
AsJson = Annotated[bool, typer.Option("--json", help=_JSON)]
Plot = Annotated[Path | None, typer.Option(callback=expanded, help=_PLOT)]
DrawCount = Annotated[int, typer.Option(min=0, max=100_000, help=_DRAWS)]
Noise = Annotated[float | None, typer.Option(help=_NOISE)]


def evaluate(
    model: Annotated[
        str,
        typer.Argument(help="A folder of transformers, a checkpoint (with --model), or FILE.py:NAME of a function."),
    ],
    run_file: Annotated[Path, typer.Argument(callback=expanded, help="The run file.")],
    builder: Annotated[
        str | None,
        typer.Option(
            "--model", help="FILE.py:NAME of what builds a checkpoint's model, given the size of the vocabulary."
        ),
    ] = None,
    domain: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER of a corpus of another domain; may be repeated.")
    ] = None,
    split_at: Annotated[
        int | None, typer.Option(min=2, help="Tokens from which on a document is long; default the median.")
    ] = None,
    max_seq_len: Annotated[
        int | None, typer.Option(min=2, help="Tokens that are read of each document; default as the run file has it.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Documents at once.")] = 8,
    device: Annotated[str | None, typer.Option(help="Such as cuda:1; default the first GPU, or the CPU.")] = None,
    record: Annotated[
        Path | None, typer.Option(callback=expanded, help="File to which a line for `efficiency` is added.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The recipe in that line; default that of the run file.")] = None,
    seed: Annotated[int, typer.Option(help="The run's seed in that line.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure a model's loss on held-out documents, each by itself, in nats a token; short, long, other domains."""
    from streamdocs.commands.measuring.evaluate import evaluate_model  # noqa: PLC0415

    evaluate_model(
        *(model, run_file, builder, domain or [], batch_size),
        split_at=split_at,
        max_seq_len=max_seq_len,
        device=device,
        record=record,
        name=name,
        seed=seed,
        as_json=as_json,
    )


def efficiency(
    runs: RunsFile,
    web: Annotated[str, typer.Option(help="The recipe that is web text alone.")] = "web",
    asymptote: Annotated[float | None, typer.Option(help="E of A / D^a + E, where it is known.")] = None,
    exponent: Annotated[float | None, typer.Option(help="a of A / D^a + E, where it is known.")] = None,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Believe the law beyond the web-only runs, too.")
    ] = False,
    draws: DrawCount = 400,
    noise: Noise = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Say how much more web text alone would do as well as each recipe: D'/D, by a power law of the web-only runs.

    A run's tokens are the distinct web tokens that it was made from.
    """
    measuring = _measuring()
    measuring.show_efficiency(
        runs, web, asymptote, exponent, draws, noise, plot, extrapolate=extrapolate, as_json=as_json
    )


def scaling(
    runs: RunsFile,
    hold_out: Annotated[
        int, typer.Option(min=0, help="So many of the largest amounts are kept out of the fit, and compared.")
    ] = 0,
    at: Annotated[list[float] | None, typer.Option(help="Tokens of which to say the loss; may be repeated.")] = None,
    draws: DrawCount = 400,
    noise: Noise = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Fit the rectified scaling law B / (D_l + D^b) + E to each recipe's runs, and say how sure it is.

    A run's tokens are those that it was trained on.
    """
    _measuring().show_scaling(runs, hold_out, at or [], draws, noise, plot, as_json=as_json)


def presets() -> None:
    """List the mixes that papers report (`mix.preset`): what each stands for, and where its numbers come from."""
    from streamdocs.commands.measuring.presets import show_presets  # noqa: PLC0415

    show_presets()


def _measuring() -> ModuleType:
    try:
        from streamdocs.commands.measuring import laws  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "scipy":
            raise
        raise ConfigError(
            "fitting a law needs scipy: install streamdocs with its extra `measure`, like '.[measure]' in a checkout"
        ) from error
    return laws
