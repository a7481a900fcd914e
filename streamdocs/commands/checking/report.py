"""``streamdocs check``: what was found, and what is to be expected, as tables, as JSON and as a plot."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from streamdocs._base.console import plain_console, printable
from streamdocs.checks.check import Checked, check
from streamdocs.checks.estimate import Estimate, Pace, what_if
from streamdocs.checks.findings import size, worst
from streamdocs.errors import ConfigError

#: What is tried of the generator's speed, and of G, in relation to what they are.
_SPEEDS, _GENERATIONS = (0.25, 0.5, 1.0, 2.0, 4.0), (0.25, 0.5, 1.0, 2.0)
_LEVELS = {"ok": "ok", "warning": "!", "fault": "FAULT"}
_MOST_WAITS = 6


def check_run(
    run_file: Path,
    pace: Pace,
    *,
    ask: bool,
    seconds: float,
    deadline: float,
    what_if: bool,
    plot: Path | None,
    as_json: bool,
) -> bool:
    """Print what checks find, and the estimate; whether the run could go.

    Raises:
        ConfigError: ``what_if`` or ``plot`` is asked for and no speed is known, or a plot cannot be written.
    """
    if plot:
        from streamdocs.commands.checking.plot import check_plot  # noqa: PLC0415

        check_plot(plot, known=bool(seconds or pace.tokens_per_second))
    found = check(run_file, pace, ask=ask, seconds=seconds, deadline=deadline)
    rows = _what_if(found, pace) if what_if and found.estimate else []
    if as_json:
        print(json.dumps(told(found, rows)))
    else:
        console = plain_console()
        for each in found.findings:
            console.print(
                printable(f"{_LEVELS[each.level]:>5}  {each.what}: {each.said}"), highlight=False, soft_wrap=True
            )
        if found.estimate:
            console.print(streams_table(found.estimate))
            console.print(*lines(found.estimate, pace), sep="\n", highlight=False, soft_wrap=True)
            if found.estimate.over_time():
                console.print(time_table(found.estimate))
        if rows:
            console.print(what_if_table(rows))
    if plot and found.estimate:
        from streamdocs.commands.checking.plot import plot_estimate  # noqa: PLC0415

        plot_estimate(found.estimate, rows, plot)
    return worst(found.findings) != "fault"


def _what_if(found: Checked, pace: Pace) -> list[dict[str, Any]]:
    """The estimate with other speeds and other G; those that a recipe cannot have are left out."""
    assert found.file and found.run and found.estimate
    speed = pace.tokens_per_second or found.probe.tokens_per_second
    if not speed:
        raise ConfigError("--what-if: how fast is the generator? Give --speed 60 to measure it, or --tokens-per-second")
    speeds = [speed * each for each in _SPEEDS]
    own = max(stream.recipe.generations for stream in found.run.synthetic)
    counts = sorted({max(round(own * each), 1) for each in _GENERATIONS})
    rows = []
    for count in counts:
        try:
            rows += what_if(found.file, found.run.writers, found.expected, pace, speeds, [count])
        except ConfigError:
            continue
    return rows


def told(found: Checked, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """All that was found, as JSON has it."""
    return {
        "level": worst(found.findings),
        "findings": [each._asdict() for each in found.findings],
        "tokens_per_second": found.probe.tokens_per_second or None,
        "estimate": found.estimate.told() if found.estimate else None,
        "what_if": rows,
    }


def streams_table(found: Estimate) -> Table:
    """What is written for each stream."""
    table = Table("stream", "generations", "tokens", "to ask for", "store", "read", "known", title="what is written")
    for name, each in found.streams.items():
        numbers = (f"{number:,}" for number in (each.generations, each.tokens, each.left))
        reads = f"{each.reads:.2f}x" if each.reads else ""
        table.add_row(name, *numbers, size(each.bytes), reads, each.known)
    return table


def lines(found: Estimate, pace: Pace) -> Iterator[str]:
    """The estimate of all streams together, in sentences."""
    yield f"training reads {found.sequences:,} sequences in {found.windows:,} windows"
    if guessed := {name: each for name, each in found.streams.items() if each.known == "most"}:
        said = f"of {', '.join(guessed)} no lengths are known yet: each text is taken to be as long as it may be"
        read = [each for each in guessed.values() if each.tokens]
        rates = dict.fromkeys(f"{each.tokens / each.completion_tokens:.2f}" for each in read)
        yield said + (f", a token of its writer making {' or '.join(rates)} of the corpus's" if rates else "")
    yield f"{found.completion_tokens:,} tokens are left to be written; the store will have {size(found.bytes)}"
    if found.hours is None:
        yield "how long that takes is not known: --speed 60 measures it for a minute, or say --tokens-per-second"
        return
    yield f"that takes {_hours(found.hours)}, {_hours(found.gpu_hours or 0)} of {pace.gpus} GPU(s) together"
    if found.begins is not None:
        yield f"training can begin after {_hours(found.begins / 3600)}"
    if found.train_hours is None or found.wait_hours is None:
        yield "when training would wait is known with --train-tokens-per-second; below it takes as long as writing"
        return
    waits = ", ".join(map(str, found.waits[:_MOST_WAITS])) + (", …" if len(found.waits) > _MOST_WAITS else "")
    where = f"for windows {waits} of {found.window:,} sequences" if found.waits else "for none but the first window"
    yield f"it takes {_hours(found.train_hours)} and waits {_hours(found.wait_hours)} beside that, {where}"


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{hours * 60:.1f} min" if hours * 60 >= 1 else f"{hours * 3600:.1f} s"


def time_table(found: Estimate) -> Table:
    """What is there, and read, as time goes on."""
    names = [name for name, each in found.streams.items() if each.reads]
    table = Table("time", "window", "store", "waited", *(f"{name}: G, read" for name in names), title="over time")
    for row in found.over_time():
        begin = (
            _hours(row["seconds"] / 3600),
            str(row["window"]),
            size(row["bytes"]),
            _hours(row["waited_seconds"] / 3600),
        )
        table.add_row(*begin, *(f"{row['generations'][name]:.2f}, {row['reads'][name]:.2f}x" for name in names))
    return table


def what_if_table(rows: list[dict[str, Any]]) -> Table:
    """Other speeds and other G."""
    table = Table("G", "tokens/s", "to write", "store", "begins", "waits", "read", title="what if")
    for row in rows:
        waits = "" if row["wait_hours"] is None else _hours(row["wait_hours"])
        begins = "never" if row["begins"] is None else _hours(row["begins"] / 3600)
        reads = ", ".join(f"{name} {value:.2f}x" for name, value in row["reads"].items())
        cells = (f"{row['tokens_per_second']:,.0f}", _hours(row["hours"]), size(row["bytes"]), begins, waits, reads)
        table.add_row(str(row["generations"]), *cells)
    return table
