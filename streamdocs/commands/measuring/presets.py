"""``streamdocs presets``: the mixes that papers report, and where their numbers come from."""

import typer

from streamdocs.presets import MIXES


def show_presets() -> None:
    """Print each preset with the values that it stands for."""
    width = max(map(len, MIXES)) + 2
    for name, mix in MIXES.items():
        typer.echo(f"{name:{width}}{mix.regime}")
        for field, value in mix.values.items():
            typer.echo(f"{'':{width}}{field}: {value}    {mix.source[field]}")
        if mix.epochs:
            typer.echo(f"{'':{width}}web text was read {mix.epochs} times there")
