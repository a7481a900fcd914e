"""The commands ``streamdocs ledger …``: what a run has sealed, kept as a file, checked, compared and mended."""

from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from streamdocs._base.console import expanded, plain_console
from streamdocs.auditing.looking import open_stored
from streamdocs.errors import ConfigError
from streamdocs.generations.heartbeat import register_generator
from streamdocs.ledger.file import LedgerFile, differences, export_ledger, import_ledger, is_ledger_file
from streamdocs.ledger.ledger import Ledger
from streamdocs.ledger.verification import RETIRED, WindowReport, reseal_lost
from streamdocs.ledger.verification import verify as verify_ledger
from streamdocs.recipes.keys import Generator

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="What a run has sealed: keep, check, compare, seal anew.",
)

_MOST_FAULTS = 20
_NO_PLANS = "the file does not hold the plans of rounds, which say what their generations are about"

RunPath = Annotated[Path, typer.Argument(callback=expanded, metavar="RUN_YAML", help="The run file.")]
LedgerPath = Annotated[Path, typer.Argument(callback=expanded, metavar="FILE", help="The exported ledger.")]
StreamName = Annotated[str | None, typer.Option("--stream", help="Which stream, of a run with several.")]
RunOrLedger = Annotated[Path, typer.Argument(callback=expanded, help="A run file or an exported ledger.")]


def open_ledgers(run_file: Path, stream: str | None, generator: Generator | None = None) -> list[Ledger]:
    """The ledgers of a run file's run, of all its streams or of one, as for ``open_stored``."""
    run, store = open_stored(run_file, generator)
    streams = run.synthetic if stream is None else [run.stream(stream)]
    return [Ledger(run, each, store, 5) for each in streams]


def open_ledger(run_file: Path, stream: str | None, generator: Generator | None = None) -> Ledger:
    """The one ledger of a run file's run, or of one of its streams.

    Raises:
        ConfigError: There are several.
    """
    ledgers = open_ledgers(run_file, stream, generator)
    if len(ledgers) > 1:
        raise ConfigError(f"say which stream, with --stream: {', '.join(each.stream.name for each in ledgers)}")
    return ledgers[0]


@app.command()
def export(run_file: RunPath, file: LedgerPath, stream: StreamName = None) -> None:
    """Write the sealed windows of a run into one small file, to keep beside a checkpoint."""
    ledger = open_ledger(run_file, stream)
    exported = export_ledger(ledger)
    exported.save(file)
    _say(f"{file}: {len(exported.windows)} windows, {file.stat().st_size:,} bytes, digest {exported.digest}")
    if ledger.scope.is_planned:
        _say(f"{_NO_PLANS}: it can be imported into this store, or a copy, alone")


@app.command("import")
def import_(run_file: RunPath, file: LedgerPath, stream: StreamName = None) -> None:
    """Put the sealed windows of a file into a run's store. What the store holds already stays."""
    exported = LedgerFile.load(file)
    ledger = open_ledger(run_file, stream or exported.stream or None, exported.generator)
    lacking = import_ledger(ledger, exported)
    register_generator(ledger.store, exported.generator)
    _say(f"{len(exported.windows)} windows are in store {ledger.store.location}, digest {exported.digest}")
    if ledger.scope.is_planned:
        _say(f"{_NO_PLANS}: what these windows read is looked up by those of the store")
    if lacking:
        _say(f"{len(lacking)} of them, the first {lacking[0].window}, lack generations: see streamdocs ledger verify")


@app.command()
def verify(run_file: RunPath, stream: StreamName = None) -> None:
    """Read all that the sealed windows refer to; exit with 1 where something is missing or damaged.

    Rounds that retired are told, and are no fault: no checkpoint that is kept needs them.
    """
    intact = [_verify(ledger) for ledger in open_ledgers(run_file, stream)]
    raise typer.Exit(0 if all(intact) else 1)


def _verify(ledger: Ledger) -> bool:
    """Print what is found of the windows of a stream; whether all are intact."""
    reports = list(verify_ledger(ledger))
    title = "sealed windows" if len(ledger.run.synthetic) == 1 else f"sealed windows of stream {ledger.stream.name}"
    plain_console().print(reports_table(reports, ledger.run.mixture.window, title))
    for reseal in ledger.reseals:
        _say(str(reseal))
    faults = [(report.window, *fault) for report in reports for fault in report.faults if fault.what != RETIRED]
    for window, document, round, number, what in faults[:_MOST_FAULTS]:
        _say(f"window {window}: document {document}, round {round}, generation {number}: {what}")
    if len(faults) > _MOST_FAULTS:
        _say(f"… and {len(faults) - _MOST_FAULTS:,} more")
    return all(report.intact for report in reports)


def reports_table(reports: list[WindowReport], size: int, title: str) -> Table:
    """Windows of ``size`` sequences; those one after another that are in the same state share a row."""
    table = Table("windows", "positions", "units", "generations", "state", title=title)
    for state, group in groupby(reports, key=str):
        same = list(group)
        first, last = same[0].window, same[-1].window
        counts = (sum(report.units for report in same), sum(report.generations for report in same))
        table.add_row(
            f"{first}-{last}" if last > first else str(first),
            f"{first * size}:{(last + 1) * size}",
            *(f"{n:,}" for n in counts),
            state,
        )
    return table


@app.command()
def diff(a: RunOrLedger, b: RunOrLedger, stream: StreamName = None) -> None:
    """Say where two runs part; exit with 1 where they do."""
    files = [
        LedgerFile.load(path) if is_ledger_file(path) else export_ledger(open_ledger(path, stream)) for path in (a, b)
    ]
    found = differences(*files)
    _say("\n".join(found) or f"the same {len(files[0].windows)} windows of the same run")
    raise typer.Exit(1 if found else 0)


@app.command()
def reseal(
    run_file: RunPath,
    window: Annotated[
        int | None,
        typer.Option("--from", help="First window; default the first that lacks more than what retired."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, to be noted in the ledger.")] = "asked for",
    stream: StreamName = None,
) -> None:
    """Seal a run anew from a window on, with what its store holds when it is next read. Stop training first."""
    for ledger in open_ledgers(run_file, stream):
        _reseal(ledger, window, reason)


def _reseal(ledger: Ledger, window: int | None, reason: str) -> None:
    done = reseal_lost(ledger, 0) if window is None else ledger.reseal(window, reason)
    if done is None:
        _say("every window replays, but for rounds that retired: nothing to seal anew")
        return
    position = done.window * ledger.run.mixture.window
    _say(f"{done}\nstates of positions up to {position:,} go on as they are, later ones with reseal=True only")


def _say(line: str) -> None:
    plain_console().print(line, highlight=False, soft_wrap=True)
