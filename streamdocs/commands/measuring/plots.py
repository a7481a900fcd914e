"""Plots of laws and of what recipes are worth by them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamdocs.errors import ConfigError
from streamdocs.measure.efficiency import Efficiencies
from streamdocs.measure.scaling import Scaling


def plot_efficiency(found: Efficiencies, path: Path) -> None:
    """The web-only law with each recipe's loss where it meets it; and D'/D over generations a document.

    Raises:
        ConfigError: matplotlib is not installed, or writes no such files.
    """
    figure = _figure((11, 4.5))
    left, right = figure.subplots(1, 2)
    left.plot(found.web.tokens, found.web.losses, "o", color="black", label="web text alone")
    known = [each.data for each in found.recipes if each.data]
    span = np.geomspace(found.web.amounts[0], max([found.web.amounts[-1], *known]), 200)
    left.plot(span, found.fit.law.loss(span), color="black", linewidth=0.8)
    recipes = list(dict.fromkeys(each.recipe for each in found.recipes))
    for number, recipe in enumerate(recipes):
        here = [each for each in found.recipes if each.recipe == recipe]
        left.plot([each.tokens for each in here], [each.loss for each in here], "s", color=f"C{number}", label=recipe)
        for each in here:
            if each.data:
                left.plot([each.tokens, each.data], [each.loss] * 2, ":", color=f"C{number}")
        told = [each for each in here if each.ratio is not None]
        right.plot(
            [each.generations for each in told], [each.ratio for each in told], "o-", color=f"C{number}", label=recipe
        )
        for each in told:
            low, high = each.ends
            if low is not None and high is not None:
                right.plot([each.generations] * 2, [low, high], color=f"C{number}", linewidth=0.8)
    left.set(xscale="log", xlabel="web tokens", ylabel="held-out loss (nats a token)")
    right.axhline(1, color="black", linewidth=0.8, linestyle=":")
    right.set(xlabel="generations a document", ylabel="data efficiency D'/D")
    left.legend()
    if recipes:
        right.legend()
    _save(figure, path)


def plot_scaling(found: Sequence[Scaling], path: Path) -> None:
    """Each law with its interval, and the points; those that were kept out of the fit are hollow.

    Raises:
        ConfigError: matplotlib is not installed, or writes no such files.
    """
    figure = _figure((8, 5))
    axes = figure.subplots()
    for number, each in enumerate(found):
        colour = f"C{number}"
        tokens = np.array([one.tokens for one in each.predicted])
        span = np.geomspace(tokens[0], tokens[-1], 200)
        axes.plot(span, each.fit.law.loss(span), color=colour, label=each.points.name)
        ends = [one.ends for one in each.predicted if one.ends]
        if ends:
            axes.fill_between(tokens, *np.array(ends).T, color=colour, alpha=0.15, linewidth=0)
        for one in each.predicted:
            if one.measured is not None:
                axes.plot(one.tokens, one.measured, "o", color=colour, fillstyle="none" if one.held_out else "full")
    axes.set(xscale="log", xlabel="tokens", ylabel="loss")
    axes.legend()
    _save(figure, path)


def _figure(size: tuple[float, float]) -> Any:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "--plot needs matplotlib: install streamdocs with its extra `measure`, like '.[measure]' in a checkout"
        ) from error
    return Figure(figsize=size, layout="constrained")


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=110)
    except (ValueError, OSError) as error:
        raise ConfigError(f"--plot {path}: {error}: name a file like efficiency.png") from error
