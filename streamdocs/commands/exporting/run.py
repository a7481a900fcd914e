"""``streamdocs export``: what is exported, how, and what is said of it."""

from pathlib import Path

from streamdocs._base.console import plain_console, positions_of
from streamdocs.auditing.looking import open_run
from streamdocs.config import RunFile
from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.errors import ConfigError
from streamdocs.export.card import Licences, make_card
from streamdocs.export.generated import GeneratedRows
from streamdocs.export.job import Exported, export
from streamdocs.export.read import ReadRows
from streamdocs.export.replay import ledgers_of
from streamdocs.export.rows import Rows
from streamdocs.ledger.file import LedgerFile
from streamdocs.ledger.ledgers import chosen_positions


def export_run(
    run_file: Path,
    format: str,
    out: Path,
    positions: str | None,
    ledgers: list[Path],
    licences: Licences,
    *,
    generated: bool,
    stream: str | None,
    sources: bool,
) -> None:
    """Write what was read at ``positions`` (default all that is sealed), or what was generated; go on where that ended.

    Raises:
        StreamdocsError: The run file, the corpus, the store or a ledger cannot be read, or ``out`` not be written.
        ConfigError: Options that contradict each other.
    """
    if generated and (positions or ledgers):
        raise ConfigError("--positions and --ledger say what was read, and --generated is all that was generated")
    if not generated and (stream or sources):
        raise ConfigError("--stream and --sources are of what was generated: give --generated too")
    files = [LedgerFile.load(path) for path in ledgers]
    named = RunFile.load(run_file).who_writes()
    dataset = open_run(run_file, files[0].generator if files and named is None else None)
    known = Exported.read(out)
    if generated:
        resolved = known.identity.get("resolved") if known else None
        rows: Rows = GeneratedRows(dataset, stream, sources=sources, resolved=resolved)
    else:
        rows = _read(dataset, files, positions, known)
    exported = export(rows, format, out, lambda exported: make_card(rows, exported, licences))
    counts = exported.counts
    plain_console().print(
        f"{out}: {counts['rows']:,} {rows.unit}, {counts['tokens']:,} tokens in {len(exported.slices)} slices",
        highlight=False,
        soft_wrap=True,
    )


def _read(
    dataset: StreamingMegadocDataset, files: list[LedgerFile], positions: str | None, known: Exported | None
) -> ReadRows:
    """What was read; where nobody says which positions, those of the export that goes on."""
    begun = known.identity.get("positions") if known else None
    start, stop = begun if begun and positions is None else positions_of(positions or ":")
    ledgers = ledgers_of(dataset, files)
    chosen = chosen_positions(ledgers, dataset.run.mixture.window, start, stop, dataset.epoch_size)
    return ReadRows(dataset, ledgers, chosen)
