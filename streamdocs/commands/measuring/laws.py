"""``streamdocs efficiency`` and ``streamdocs scaling``: laws of measured runs, as tables, JSON and plots."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from streamdocs._base.console import plain_console
from streamdocs.commands.measuring.plots import plot_efficiency, plot_scaling
from streamdocs.errors import ConfigError
from streamdocs.measure.efficiency import Efficiencies, Efficiency, Ends, efficiencies
from streamdocs.measure.intervals import COVERAGE, Chance
from streamdocs.measure.laws import Fit, Known
from streamdocs.measure.runs import grouped, load_runs
from streamdocs.measure.scaling import Scaling, scaling

_INTERVAL = f"{COVERAGE:.0%} interval"


def show_efficiency(
    runs: Path,
    web: str,
    asymptote: float | None,
    exponent: float | None,
    draws: int,
    noise: float | None,
    plot: Path | None,
    *,
    extrapolate: bool,
    as_json: bool,
) -> None:
    """Print what each recipe's runs are worth in web text.

    Args:
        runs: File of them (``load_runs``).
        web: The recipe that is web text alone.
        asymptote, exponent: Constants of the law that are known.
        draws, noise: Of the intervals (``Chance``).
        plot: File for a plot.
        extrapolate: Whether the law is believed beyond the web-only runs.
        as_json: Print one JSON object.

    Raises:
        ConfigError: The file cannot be read, or its runs determine no law.
    """
    known = Known(exponent, asymptote)
    found = efficiencies(
        grouped(load_runs(runs)), web=web, known=known, chance=Chance(draws, noise), extrapolate=extrapolate
    )
    if plot:
        plot_efficiency(found, plot)
    if as_json:
        print(json.dumps(efficiency_told(found)))
        return
    _print(efficiency_table(found), (law_line(found.fit, found.constants, ("A", "a", "E")), *_notes(found)))


def show_scaling(
    runs: Path,
    hold_out: int,
    at: Sequence[float],
    draws: int,
    noise: float | None,
    plot: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print the rectified scaling law of each recipe and G.

    Args:
        runs: File of them (``load_runs``).
        hold_out, at: As for ``scaling``.
        draws, noise: Of the intervals (``Chance``).
        plot: File for a plot.
        as_json: Print one JSON object.

    Raises:
        ConfigError: The file cannot be read, or a recipe has too few amounts of tokens.
    """
    if any(not each > 0 for each in at):
        raise ConfigError("--at: a number of tokens is above 0")
    chance = Chance(draws, noise)
    found = [scaling(each, hold_out=hold_out, at=at, chance=chance) for each in grouped(load_runs(runs))]
    if plot:
        plot_scaling(found, plot)
    if as_json:
        print(json.dumps({each.points.name: scaling_told(each) for each in found}))
        return
    for each in found:
        errors = (f"{form} {error:.4g}" for form, error in each.errors.items())
        told = f"error on what was held out, by law: {', '.join(errors)}" if each.errors else ""
        lines = (law_line(each.fit, each.ends, ("B", "D_l", "b", "E")), told, *_warned(each.warnings))
        _print(scaling_table(each), lines)


def _print(table: Table, lines: Iterable[str]) -> None:
    console = plain_console()
    console.print(table)
    console.print(*filter(None, lines), sep="\n", highlight=False, soft_wrap=True)


def constants_told(fit: Fit, ends: dict[str, tuple[float, float]] | None, names: Sequence[str]) -> dict[str, Any]:
    """A law, as JSON has it: its constants with D in tokens, their intervals, and the noise around it."""
    law = fit.law
    values = {"A": law.scale, "a": law.exponent, "B": law.scale, "b": law.exponent, "E": law.floor, "D_l": law.shift}
    return {
        **{name: values[name] for name in names},
        "intervals": {name: list(each) for name, each in ends.items()} if ends else None,
        "noise": fit.noise,
    }


def efficiency_told(found: Efficiencies) -> dict[str, Any]:
    """All that was found, as JSON has it."""
    return {
        "web": {
            "recipe": found.web.recipe,
            "amounts": found.web.amounts.tolist(),
            **constants_told(found.fit, found.constants, ("A", "a", "E")),
            "given": [
                name for name, value in (("a", found.known.exponent), ("E", found.known.floor)) if value is not None
            ],
        },
        "recipes": [_efficiency_told(each) for each in found.recipes],
        "coverage": COVERAGE,
        "warnings": list(found.warnings),
    }


def _efficiency_told(each: Efficiency) -> dict[str, Any]:
    said = asdict(each)
    ratio, ends = said.pop("ratio"), said.pop("ends")
    return {**said, "G": said.pop("generations"), "efficiency": ratio, "interval": list(ends)}


def scaling_told(found: Scaling) -> dict[str, Any]:
    """A recipe's law, as JSON has it."""
    return {
        "recipe": found.points.recipe,
        "G": found.points.generations,
        **constants_told(found.fit, found.ends, ("B", "D_l", "b", "E")),
        "points": [
            {**asdict(each), "ends": list(each.ends) if each.ends else None, "covered": each.covered}
            for each in found.predicted
        ],
        "held_out_errors": found.errors,
        "coverage": COVERAGE,
        "warnings": list(found.warnings),
    }


def law_line(fit: Fit, ends: dict[str, tuple[float, float]] | None, names: Sequence[str]) -> str:
    """A law in a line."""
    said = constants_told(fit, ends, names)
    formula = "A / D^a + E" if fit.form == "power" else "B / (D_l + D^b) + E"
    parts = (
        f"{name} = {said[name]:.4g}" + (" ({:.4g} to {:.4g})".format(*ends[name]) if ends else "") for name in names
    )
    noise = f"; a run is {fit.noise:.3g} from it" if fit.noise is not None else ""
    return f"{formula}, D in tokens: {', '.join(parts)}{noise}"


def efficiency_table(found: Efficiencies) -> Table:
    """What recipes are worth."""
    table = Table("recipe", "web tokens", "runs", "loss", "D'", "D'/D", _INTERVAL, title="data efficiency")
    for each in found.recipes:
        data = f"{each.data:,.0f}" if each.data else ""
        table.add_row(
            *(each.name, f"{each.tokens:,.0f}", str(each.runs), f"{each.loss:.4f}", data),
            *(_ratio_told(each), _ends_told(each.ends)),
        )
    return table


def _ratio_told(each: Efficiency) -> str:
    if each.ratio is not None:
        return f"{each.ratio:.2f}"
    for sign, limit in ((">", each.at_least), ("<", each.at_most)):
        if limit is not None:
            return f"{sign} {limit:.2f}"
    return "?"


def _ends_told(ends: Ends) -> str:
    low, high = (f"{each:.2f}" if each is not None else "beyond" for each in ends)
    return "" if ends == (None, None) else f"{low} to {high}"


def _notes(found: Efficiencies) -> list[str]:
    return [*(f"{each.name}: {each.why}" for each in found.recipes if each.why), *_warned(found.warnings)]


def _warned(warnings: Sequence[str]) -> list[str]:
    return [f"warning: {each}" for each in warnings]


def scaling_table(found: Scaling) -> Table:
    """What the law says of each amount, beside what was measured."""
    table = Table("tokens", "measured", "by the law", _INTERVAL, "", title=found.points.name)
    for each in found.predicted:
        measured = "" if each.measured is None else f"{each.measured:.4f}"
        ends = "{:.4f} to {:.4f}".format(*each.ends) if each.ends else ""
        verdict = {True: "", False: "outside", None: ""}[each.covered]
        notes = ", ".join(filter(None, ("held out" if each.held_out else "", verdict)))
        table.add_row(f"{each.tokens:,.0f}", measured, f"{each.loss:.4f}", ends, notes)
    return table
