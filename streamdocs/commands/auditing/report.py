"""``streamdocs audit``: the account as tables, as JSON and as a plot."""

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from streamdocs._base.console import plain_console, positions_of, printable
from streamdocs._base.unfinished import write_whole
from streamdocs.auditing.audit import WEB, Audit, audit, losses_of, rejected_causes
from streamdocs.auditing.looking import open_run
from streamdocs.commands.diversity import collapse_lines, diversity_table
from streamdocs.dataset import StreamingMegadocDataset
from streamdocs.errors import ConfigError
from streamdocs.generations.diversity import diversity_rows
from streamdocs.generations.newest import stored_diversity
from streamdocs.steering.decision import PARTS

_MOST_POSITIONS = 12
#: At either end of a run.
_MOST_WINDOWS = 8


def audit_run(
    run_file: Path,
    positions: str,
    document: int | None,
    as_json: Path | None,
    plot: Path | None,
    diversity: bool = False,
) -> None:
    """Account for the sequences of a run at ``positions``, as ``A:B``; either may be left out.

    With ``diversity``, also say how different the newest generations are, and no more where nothing is sealed yet.

    Raises:
        ConfigError: These are no positions, not all of them are sealed, or a file cannot be written.
    """
    start, stop = positions_of(positions)
    dataset = open_run(run_file)
    told: dict[str, Any] = {}
    if diversity:
        measured = stored_diversity(dataset.run, dataset.store) if dataset.store else {}
        told["diversity"] = diversity_rows(measured)
        plain_console().print(diversity_table(measured), *collapse_lines(measured), sep="\n", highlight=False)
    found = None
    if not diversity or all(ledger.count() for ledger in dataset.ledgers.values()):
        found = audit(dataset, start, stop)
        told = {**_account(found, dataset, document), **told, "sources": list(found.rows())}
    try:
        if as_json:
            write_whole(as_json, (json.dumps(told) + "\n").encode())
        if plot and found:
            plot_audit(found, plot)
    except OSError as error:
        raise ConfigError(f"what --json or --plot names cannot be written: {error}") from error


def _account(found: Audit, dataset: StreamingMegadocDataset, document: int | None) -> dict[str, Any]:
    """Print the account as tables and lines; returns its summary, and what was rejected."""
    summary, rejected = found.summary(), rejected_causes(dataset)
    console = plain_console()
    console.print(tokens_table(found), rounds_table(found))
    if not all(stream.recipe.is_plain for stream in found.run.synthetic):
        console.print(authors_table(summary["authors"]))
    console.print(windows_table(summary["windows"]))
    if lost := losses_of(found, dataset):
        console.print(losses_table(lost))
    read, asked, (before, after) = summary["sequences"], summary["asked"], summary["web_passes"]
    reuse = ", ".join(f"{count:,} {f'{times}x' if times else 'in part'}" for times, count in found.reuse().items())
    lines = [
        f"mixture {summary['synthetic_fraction']}: {asked:,} of {len(found.positions):,} sequences asked for; "
        f"{sum(read[stream.name] for stream in found.run.synthetic):,} are synthetic, "
        f"{sum(read[stream.filler.label] for stream in found.run.synthetic):,} filled with web text",
        *(
            f"  {name} {each['share']}: {each['asked']:,} asked for, "
            + (f"{each['decided']:,} decided, " if "decided" in each else "")
            + f"{each['read']:,} read"
            for name, each in summary["streams"].items()
            if len(summary["streams"]) > 2
        ),
        f"passes over the web tokens: from {before:.4f} to {after:.4f}",
        f"generations read: {reuse or 'none'}",
        *(
            f"rejected so far, {name}: {', '.join(f'{cause} {count:,}' for cause, count in causes.items())}"
            for name, causes in rejected.items()
            if causes
        ),
        *(str(reseal) for ledger in dataset.ledgers.values() for reseal in ledger.reseals),
    ]
    console.print("\n".join(lines), highlight=False)
    if document is not None:
        console.print(document_table(found, document))
    return {**summary, "rejected": rejected, **({"losses": lost} if lost else {})}


def tokens_table(found: Audit) -> Table:
    """Tokens by kind and stream."""
    positions, whole = found.positions, found.tokens.total()
    streams = found.streams
    table = Table("tokens", *streams, "all", "share", title=f"positions {positions.start:,}:{positions.stop:,}")
    for kind in [*dict.fromkeys(kind for (_, kind), _ in found.tokens.most_common()), None]:
        row = [sum(n for (s, k), n in found.tokens.items() if s == stream and kind in (k, None)) for stream in streams]
        table.add_row(kind or "all", *(f"{n:,}" for n in (*row, sum(row))), f"{sum(row) / whole:.2%}")
    return table


def rounds_table(found: Audit) -> Table:
    """What was read of each round of generation, and of the documents themselves, and when."""
    table = Table("round", "read", "tokens", "times each", "first position", "last position")
    sources = found.sources()
    for round in np.unique(sources.round).tolist():
        here, positions = sources.round == round, found.reads.position[found.reads.round == round]
        tokens = int(sources.tokens[here].sum())
        counts = (f"{here.sum():,}", f"{tokens:,}", f"{tokens / sources.length[here].sum():.2f}")
        table.add_row("web" if round == WEB else str(round), *counts, f"{positions.min():,}", f"{positions.max():,}")
    return table


def authors_table(authors: list[dict[str, Any]]) -> Table:
    """What was read of each style and writer, and of those about walks of each edition of the graph."""
    columns = ("stream", "style", "writer", *(["edition"] if any("edition" in row for row in authors) else []))
    table = Table(*columns, "generations", "tokens", "share")
    whole = sum(row["tokens"] for row in authors)
    for row in authors:
        names = (printable(str(row.get(name, ""))) for name in columns)
        table.add_row(*names, f"{row['generations']:,}", f"{row['tokens']:,}", f"{row['tokens'] / whole:.2%}")
    return table


def losses_table(losses: list[dict[str, Any]]) -> Table:
    """Mean loss in nats a token, as training reported it, of each kind of text, style and writer."""
    table = Table("stream", "kind", "style", "writer", "tokens", "loss", title="loss")
    for row in losses:
        names = (printable(row[name]) for name in ("stream", "kind", "style", "writer"))
        table.add_row(*names, f"{row['tokens']:,}", f"{row['loss']:.4f}")
    return table


def windows_table(windows: list[dict[str, Any]]) -> Table:
    """How much there was to read in each window, and how often it was; of many windows the first and the last."""
    table = Table("window", "documents", "generations", "tokens", "times each")
    many = len(windows) > 2 * _MOST_WINDOWS
    for at, row in enumerate([*windows[:_MOST_WINDOWS], *windows[-_MOST_WINDOWS:]] if many else windows):
        if many and at == _MOST_WINDOWS:
            table.add_row("…")
        counts = (f"{row[name]:,}" for name in ("window", "documents", "generations", "tokens"))
        table.add_row(*counts, f"{row['times']:.2f}")
    return table


def document_table(found: Audit, document: int) -> Table:
    """What was read of one document and its generations."""
    table = Table("round/n", "tokens", "of", "times", "positions", title=f"document {document}")
    for row in found.rows(document):
        tokens, length, positions = row["tokens"], row["length"], row["positions"]
        name = f"{row['round']}/{row['number']}" if "round" in row else "web"
        more = f" … {len(positions):,} in all" if len(positions) > _MOST_POSITIONS else ""
        shown = ", ".join(map(str, positions[:_MOST_POSITIONS])) + more
        table.add_row(name, f"{tokens:,}", f"{length:,}", f"{tokens / length:.2f}", shown)
    return table


def plot_audit(found: Audit, path: Path) -> None:
    """Plot the mixture so far, what was read when, and how often.

    Raises:
        ConfigError: matplotlib is not installed, or writes no such files.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("--plot needs matplotlib: pip install matplotlib") from error
    panels = 4 if found.decisions else 3
    figure = Figure(figsize=(8, 8 / 3 * panels), layout="constrained")
    top, middle, bottom, *steered = figure.subplots(panels)
    ends = np.array([*list(found.sequences)[1:], found.positions.stop])
    for stream in found.streams:
        so_far = np.array(list(accumulate(counts[stream] for counts in found.sequences.values())))
        top.plot(ends, so_far / (ends - found.positions.start), label=stream)
    top.axhline(float(found.run.mixture.fraction), color="black", linewidth=0.8, linestyle=":", label="asked for")
    top.set(ylabel="share of the sequences so far")
    top.legend()
    by_round = {round: found.reads.round == round for round in np.unique(found.reads.round).tolist()}
    middle.hist(
        [found.reads.position[here] for here in by_round.values()],
        weights=[found.reads.tokens[here] for here in by_round.values()],
        bins=min(len(ends), 100),
        stacked=True,
        label=["web" if round == WEB else f"round {round}" for round in by_round],
    )
    middle.set(xlabel="position", ylabel="tokens read")
    middle.legend()
    reuse = found.reuse()
    bottom.bar([str(times) if times else "in part" for times in reuse], list(reuse.values()), color="tab:purple")
    bottom.set(xlabel="times read in whole", ylabel="generations")
    for panel in steered:
        plot_shares(found, panel)
    try:
        figure.savefig(path, dpi=110)
    except ValueError as error:
        raise ConfigError(f"--plot {path}: {error}: name a file like audit.png") from error


def plot_shares(found: Audit, panel: Any) -> None:
    """Plot the shares that were decided, and the rewards that these decisions knew, both from 0 to 1."""
    assert found.run.decisions
    names, size = found.run.decisions.arms.names, found.run.mixture.window
    begins = [made.window * size for made in found.decisions]
    judgements = found.judgements()
    for arm, name in enumerate(names):
        shares = [made.shares[arm] / PARTS for made in found.decisions]
        panel.step([*begins, begins[-1] + size], [*shares, shares[-1]], where="post", color=f"C{arm}", label=name)
        alone = [each for each in judgements if not each.seen.together and not np.isnan(each.seen.rewards[arm])]
        at = [each.window * size for each in alone]
        panel.plot(at, [each.seen.rewards[arm] for each in alone], ".", color=f"C{arm}", markersize=4)
    together = [each for each in judgements if each.seen.together]
    at = [each.window * size for each in together]
    panel.plot(at, [each.seen.rewards[0] for each in together], "k.", markersize=4, label="reward of all together")
    panel.set(xlabel="position", ylabel="share of the synthetic part;\ndots: rewards", ylim=(0, 1))
    panel.legend()
