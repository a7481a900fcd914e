"""The plot of ``streamdocs check``."""

import os
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from streamdocs.checks.estimate import Estimate
from streamdocs.errors import ConfigError, reason

_UNKNOWN = "--plot: nothing is known over time: give --speed 60, or --tokens-per-second"


def check_plot(path: Path, *, known: bool) -> None:
    """Make sure that there will be something to draw, and that it can be written, before anything takes time.

    Raises:
        ConfigError: There will not, matplotlib is not installed, or the file cannot be written.
    """
    if not known:
        raise ConfigError(_UNKNOWN)
    try:
        from matplotlib.backend_bases import FigureCanvasBase  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("--plot needs matplotlib: install it beside streamdocs") from error
    kinds = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in kinds:
        raise ConfigError(f"--plot {path}: its name has to end with one of .{', .'.join(sorted(kinds))}")
    there = path if path.exists() else path.parent
    if path.is_dir() or not there.exists() or not os.access(there, os.W_OK):
        raise ConfigError(f"--plot {path} cannot be written: name a file in a folder that is there and can be written")


def plot_estimate(found: Estimate, rows: list[dict[str, Any]], path: Path) -> None:
    """The store and the waits over time, what is read how often, and what would be with other speeds and other G.

    Args:
        found: The estimate.
        rows: Of ``what_if``; none leave their panels out.
        path: The file.

    Raises:
        ConfigError: Nothing is known over time, or the file cannot be written.
    """
    if found.course is None:
        raise ConfigError(_UNKNOWN)
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, panels = plt.subplots(1, 4 if rows else 2, figsize=(14 if rows else 8, 3.6), layout="constrained")
    course, hours = found.course, found.course.ready / 3600
    panels[0].plot(hours, course.stored / 1e6, label="store, MB")
    panels[0].plot(hours, np.cumsum(course.waited), label="waited, s")
    panels[0].set(xlabel="hours", title="store, and what training waited")
    panels[0].legend()
    for name, reads in course.reuse.items():
        panels[1].plot(hours, reads, label=name)
    panels[1].set(xlabel="hours", title="times that what exists was read")
    panels[1].legend()
    for count, group in groupby(rows, key=lambda row: row["generations"]):
        some = list(group)
        speeds = [row["tokens_per_second"] for row in some]
        panels[2].plot(speeds, [row["hours"] for row in some], "o-", label=f"G {count}")
        waits = [row["begins"] / 3600 if row["wait_hours"] is None else row["wait_hours"] for row in some]
        panels[3].plot(speeds, waits, "o-", label=f"G {count}")
    for panel, title in zip(panels[2:], ("hours to write all", "hours that training waits"), strict=False):
        panel.set(xscale="log", xlabel="tokens a second that are written", title=title)
        panel.legend()
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--plot {path} cannot be written: {reason(error)}") from error
    finally:
        plt.close(figure)
