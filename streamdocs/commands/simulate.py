"""``streamdocs simulate``: what other controllers would have done over the reports of a run."""

import json
from pathlib import Path

from rich.table import Table

from streamdocs._base.console import plain_console
from streamdocs.auditing.looking import open_stored
from streamdocs.config import RunFile
from streamdocs.errors import ConfigError
from streamdocs.ledger.ledgers import Ledgers
from streamdocs.run import Run
from streamdocs.steering.controllers import Learner, Ucb
from streamdocs.steering.controllers.base import Controller, Floats, Reward
from streamdocs.steering.recorded import Recorded, load_rows, rows_of, save_rows
from streamdocs.steering.reports import Reports
from streamdocs.steering.sealed import arms_of
from streamdocs.steering.simulation import Replayed, candidates, replay

#: Of the windows, at either end of a run.
_MOST_WINDOWS = 8


def simulate_run(
    run_file: Path, reports: Path | None, export: Path | None, reward: Reward | None, *, as_json: bool
) -> None:
    """Print what each controller would have done; ``export`` the reports to a file as well.

    Args:
        run_file: Says which run.
        reports: File of its reports; default what its store has.
        export: File to write them into.
        reward: By which controllers go, and are compared; default that of the run's controller, or ``auto``.
        as_json: Print all of it as one JSON object.

    Raises:
        StreamdocsError: The run file, its corpus or its store cannot be read, or the file is damaged or of another run.
        ConfigError: There are no arms, or no reports.
    """
    file = RunFile.load(run_file)
    who = file.who_writes() if reports else None  # with both, no store is needed
    run, store = (Run.of(file, who), None) if who else open_stored(run_file)
    own, mixture = file.mix.controller, run.mixture
    arms = arms_of(mixture)[1]
    if len(arms.names) < 2:
        raise ConfigError(f"{run_file}: shares move between synthetic streams, and it has {len(arms.names)}")
    if reports:
        rows = load_rows(reports, run.fingerprint, arms.names, mixture)
    else:
        assert store
        reported = Reports(store, run.id, mixture.window, mixture.max_seq_len)
        rows = rows_of(mixture, run.decisions, reported, Ledgers(run, store, wait_timeout=0).sealed)
    if not rows:
        raise ConfigError(
            f"nothing was reported of the run of {run_file}: train with dataset.report, or give --reports FILE, also "
            "of a run with another controller"
        )
    if export:
        save_rows(export, run.fingerprint, arms.names, rows)
    by: Reward = reward or (run.decisions.reward if run.decisions else "auto")
    found = replay(Recorded.of(mixture, rows), candidates(arms, own), by, _floor(own, arms.shares))
    if as_json:
        print(json.dumps(told(found, arms.names)))
        return
    console = plain_console()
    console.print(controllers_table(found, arms.names), windows_table(found, arms.names))
    console.print(*_lines(found, arms.names, by), sep="\n", highlight=False, soft_wrap=True)


def _floor(own: Controller | None, begun: Floats) -> float:
    """Of the best fixed shares: that of the run's controller, or of one by default."""
    return own.floor if isinstance(own, Learner) else min(Ucb().floor, float(begun.min()))


def told(found: Replayed, arms: tuple[str, ...]) -> dict[str, object]:
    """All that was found, as JSON has it."""
    return {
        "judgements": found.judgements,
        "arms": {name: float(each) for name, each in zip(arms, found.rewards, strict=True)},
        "best": {name: float(each) for name, each in zip(arms, found.best, strict=True)},
        "controllers": {
            name: {"reward": each.reward, "regret": each.regret, "shares": each.shares.round(6).tolist()}
            for name, each in found.controllers.items()
        },
    }


def controllers_table(found: Replayed, arms: tuple[str, ...]) -> Table:
    """What came of each controller, with the shares that it gave the arms on average."""
    table = Table("controller", "mean reward", "regret", *arms, title="what each controller would have done")
    for name, each in found.controllers.items():
        table.add_row(name, f"{each.reward:.4f}", f"{each.regret:.2f}", *(f"{s:.1%}" for s in each.shares.mean(axis=0)))
    shares = (f"{share:.1%}" for share in found.best)
    table.add_row("best fixed", f"{float(found.best @ found.rewards):.4f}", "0.00", *shares)
    return table


def windows_table(found: Replayed, arms: tuple[str, ...]) -> Table:
    """The shares by window, of many windows the first and the last."""
    table = Table("window", *found.controllers, title=f"shares of {', '.join(arms)}, in percent")
    windows = len(next(iter(found.controllers.values())).shares)
    shown = [*range(min(_MOST_WINDOWS, windows)), *range(max(windows - _MOST_WINDOWS, _MOST_WINDOWS), windows)]
    for before, window in zip([-1, *shown], shown, strict=False):
        if window > before + 1:
            table.add_row("…")
        cells = (each.shares[window] for each in found.controllers.values())
        table.add_row(str(window), *(" ".join(f"{share:.0%}"[:-1] for share in cell) for cell in cells))
    return table


def _lines(found: Replayed, arms: tuple[str, ...], reward: Reward) -> list[str]:
    """What rewards are, and what is taken for granted."""
    means = ", ".join(f"{name} {each:.4f}" for name, each in zip(arms, found.rewards, strict=True))
    lines = [f"mean reward of each arm, by {found.judgements:,} reports ({reward}; 1/2 is as good as usual): {means}"]
    if not found.apart:
        lines.append(
            "these reports do not tell the arms apart: shares never moved while what is held out was evaluated; "
            "--reward progress goes by the arms' own losses"
        )
    return [*lines, "taken for granted: an arm's reward does not depend on how much of it is read"]
