"""Recorded reports: what there was to know for the decision on each window, in a run's store and as a file."""

import errno
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from streamdocs._base.arrays import Count
from streamdocs._base.unfinished import write_whole
from streamdocs._base.untrusted import faults
from streamdocs.errors import ConfigError, reason
from streamdocs.schedule.mixture import Mixture
from streamdocs.steering.controllers import Arms
from streamdocs.steering.decisions import Decisions
from streamdocs.steering.reports import HeldOut, Reports, is_loss
from streamdocs.steering.rewards import Lost
from streamdocs.steering.sealed import Consult, arms_of, lost_in, nothing_sealed, synthetic_in

#: Where nobody decided by reports: windows between the last whose reports are known and the one that knows them.
_LAG = 1
_MOST_BYTES = 1 << 26
_MOST_WINDOWS = 1 << 20

Fingerprint = Mapping[str, str | int]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was new to the decision on one window.

    Args:
        window: Which.
        counts: Sequences of each arm in it.
        lost, held_out: What was reported since the decision before.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    window: Count
    counts: tuple[Count, ...]
    lost: tuple[Lost, ...] = ()
    held_out: tuple[HeldOut, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Header:
    """The first line of a file."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    streamdocs_reports: Annotated[int, Field(ge=1, le=1)]
    arms: tuple[str, ...]
    run: dict[str, str | int]


_ROW, _HEADER = TypeAdapter(Row), TypeAdapter(_Header)
_AGAIN = "write it again, by `streamdocs simulate RUN_YAML --export FILE`"


@dataclass(frozen=True)
class Recorded:
    """The reports of a run, by the decisions that knew them.

    Args:
        arms: Between which shares move, with those that the run begins with.
        window: Sequences a window.
        seed: Of what controllers draw.
        rows: Of windows 0, 1, 2, …
    """

    arms: Arms
    window: int
    seed: int
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, mixture: Mixture, rows: Iterable[Row]) -> "Recorded":
        """Those of a run that is mixed so."""
        return cls(arms_of(mixture)[1], mixture.window, mixture.seed, tuple(rows))


def rows_of(
    mixture: Mixture, decisions: Decisions | None, reports: Reports, sealed: Consult = nothing_sealed
) -> list[Row]:
    """What a store has of a run: what its decisions took, or where they take nothing, all reports as soon as may be.

    Args:
        mixture: Of the run.
        decisions: By which its shares move, if they do.
        reports: What training reported.
        sealed: What is sealed of windows, where decisions take nothing: what fills a stream's place says nothing of it.

    Raises:
        ConfigError: An evaluation was reported where no run comes.
        StoreError: A decision is damaged.
    """
    if decisions and decisions.lag is not None:
        return [
            Row(window=made.window, counts=made.counts, lost=made.lost, held_out=made.held_out)
            for made in decisions.made()
        ]
    streams, _ = arms_of(mixture)
    lost: dict[int, Lost] = {}
    for window in reports.windows():
        losses = reports.losses(window)
        if losses is not None and (found := lost_in(mixture, window, losses, sealed(window))):
            lost[window] = found
    evaluated = reports.held_out(-1, 1 << 62)
    last = max(lost) if lost else max((each.position // mixture.window - 1 for each in evaluated), default=-1)
    if last > _MOST_WINDOWS:
        raise ConfigError(
            f"an evaluation was reported at position {evaluated[-1].position:,}, {last:,} windows into the run: "
            "positions are sequences, not tokens"
        )
    rows: list[Row] = []
    for window in range(last + 1):
        start = window * mixture.window
        counts = tuple(mixture.before(each, start + mixture.window) - mixture.before(each, start) for each in streams)
        known = lost.get(window - 1 - _LAG)
        held_out = reports.held_out(start - mixture.window if window else -1, start)
        rows.append(Row(window=window, counts=counts, lost=(known,) if known else (), held_out=tuple(held_out)))
    return rows


def save_rows(path: Path, fingerprint: Fingerprint, arms: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a file of JSON lines: whose reports they are, and then a line for each window.

    Raises:
        ConfigError: It cannot be written.
    """
    header = _Header(streamdocs_reports=1, arms=tuple(arms), run=dict(fingerprint))
    lines = [json.dumps(vars(each)) for each in (header, *rows)]
    try:
        write_whole(path, ("\n".join(lines) + "\n").encode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {reason(error)}") from error


def load_rows(path: Path, fingerprint: Fingerprint, arms: Sequence[str], mixture: Mixture) -> list[Row]:
    """The rows of a file that ``save_rows`` wrote, of the run of this fingerprint by whatever controller.

    Args:
        path: The file.
        fingerprint, arms, mixture: Of the run.

    Raises:
        ConfigError: It cannot be read, is damaged, or of another run; the message names the line.
    """
    line = 1
    try:
        first, *lines = _read(path).splitlines() or [b""]
        header = _HEADER.validate_json(first, strict=True)
        theirs, ours = ({**each, "controller": ""} for each in (header.run, fingerprint))
        if fields := [each for each in sorted({*theirs, *ours}) if theirs.get(each) != ours.get(each)]:
            raise ValueError(f"these are the reports of another run, which differs in {', '.join(fields)}")
        if header.arms != tuple(arms):
            raise ValueError(f"its arms are not {', '.join(arms)}")
        rows, told, evaluated = list[Row](), set[int](), -1
        for each in lines:
            line += 1
            rows.append(_ROW.validate_json(each, strict=True))
            _check(rows[-1], len(rows) - 1, len(arms), mixture)
            evaluated = _check_order(rows[-1], told, evaluated)
    except ValidationError as error:
        raise ConfigError(f"{path}, line {line}: {faults(error, 3)}: {_AGAIN}") from error
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}): name a file that `streamdocs simulate RUN_YAML --export FILE` "
            "wrote; without --reports, those of the run's store are taken"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path}, line {line}: {error}: {_AGAIN}") from error
    return rows


def _read(path: Path) -> bytes:
    """The bytes of a plain file, which is never waited for.

    Raises:
        OSError: It is none, or cannot be read.
        ValueError: It is too large.
    """
    path.stat()  # says best what is not there
    if not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "it is no plain file")
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"larger than {_MOST_BYTES:,} bytes")
    return data


def _check(row: Row, window: int, arms: int, mixture: Mixture) -> None:
    """Raise ValueError where a row, which is to be of this window, cannot be."""
    due = synthetic_in(mixture, window)
    if row.window != window:
        raise ValueError(f"window {row.window}, where {window} is due")
    if len(row.counts) != arms or sum(row.counts) != due:
        raise ValueError(f"counts of {arms} arms are due, of {due} sequences in all")
    for lost in row.lost:
        if lost.window >= window or {len(lost.sums), len(lost.counts), len(lost.dealt)} != {arms}:
            raise ValueError(f"what was lost in window {lost.window}: it is not over yet, or is not of {arms} arms")
        if sum(lost.dealt) != synthetic_in(mixture, lost.window):
            raise ValueError(f"what was lost in window {lost.window}: it is not of as many sequences as there were")
        if any(had > of for had, of in zip(lost.counts, lost.dealt, strict=True)):
            raise ValueError(f"what was lost in window {lost.window}: it is of more sequences than there were")
        if any(loss and not had for loss, had in zip(lost.sums, lost.counts, strict=True)):
            raise ValueError(f"what was lost in window {lost.window}: losses of an arm of which nothing was reported")
    if any(each.position > window * mixture.window for each in row.held_out):
        raise ValueError("an evaluation that is still to come")
    losses = [each.loss for each in row.held_out]
    losses += [sums / max(count, 1) for lost in row.lost for sums, count in zip(lost.sums, lost.counts, strict=True)]
    if not is_loss(np.array(losses, np.float64)).all():
        raise ValueError("a loss that is no number, or too large for one")


def _check_order(row: Row, told: set[int], evaluated: int) -> int:
    """Raise ValueError where a row tells a window again, or evaluations not after those before: the newest position.

    Args:
        row: Which.
        told: Windows that rows before it told; those of this one are added.
        evaluated: The newest position before it, -1 for none.
    """
    for lost in row.lost:
        if lost.window in told:
            raise ValueError(f"what was lost in window {lost.window} is told twice")
        told.add(lost.window)
    for each in row.held_out:
        if each.position <= evaluated:
            raise ValueError(f"an evaluation at position {each.position} after that at {evaluated}: they are in order")
        evaluated = each.position
    return evaluated
