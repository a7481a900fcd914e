"""The live view: what the server has done, how far ahead of the trainer it is, and how long it will take."""

import asyncio
import logging
import time
from collections import deque
from datetime import timedelta

from rich.live import Live
from rich.table import Table

from streamdocs._base.console import plain_console
from streamdocs_server.engines.writer import Writer
from streamdocs_server.work.lanes import Lane
from streamdocs_server.work.loop import GenerationLoop

log = logging.getLogger(__name__)

_REFRESH_SECONDS = 0.5
_LOG_SECONDS = 10.0
#: Rates, and with them the time left, are those of the last minutes: documents come in blocks.
_RATE_SECONDS = 300.0


def waits_for(loop: GenerationLoop) -> str:
    """What a server can do nothing without; "" while it can."""
    if loop.finished:
        return ""
    if server := loop.desk.waits_for:
        return f"a server: {server}"
    if not loop.waits_for_trainer:
        return ""
    if loop.lead is None:
        return "a trainer, of which there is none yet: what it needs to begin with is written"
    return f"the trainer, {loop.lead:,} documents x rounds behind (server.max_lead)"


def _of(watermark: int, total: int | None) -> str:
    return f"{watermark:,}" + ("" if total is None else f" of {total:,}")


def _lead(lane: Lane) -> str:
    return "" if lane.lead is None else f", {lane.lead:+,} before the trainer"


def _writing(writer: Writer) -> str:
    how = "up" if writer.up else f"down ({writer.fault or 'no server'})"
    return f"{how}, {writer.answers:,} requests answered, {writer.owes:,} owed"


class View:
    """Shows a loop while it runs: a table on a terminal, a line in the log now and then elsewhere.

    Args:
        loop: The loop.
    """

    def __init__(self, loop: GenerationLoop) -> None:
        self._loop = loop
        self._seen: deque[tuple[float, int, int]] = deque()

    async def show(self) -> None:
        """Show until cancelled."""
        console = plain_console(stderr=True)
        if not console.is_terminal:
            while True:
                await asyncio.sleep(_LOG_SECONDS)
                log.info("%s", "; ".join(f"{name} {value}" for name, value in self.rows()))
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(self._table(), refresh=True)
                await asyncio.sleep(_REFRESH_SECONDS)

    def rows(self) -> list[tuple[str, str]]:
        """Names and values."""
        loop, written = self._loop, self._loop.statistics.written
        items_rate, tokens_rate = self._rates()
        total = loop.total_items
        left = None if total is None else total - loop.watermark
        several = loop.lanes if len(loop.lanes) > 1 else []
        rejected = ", ".join(f"{cause} {count:,}" for cause, count in written.rejected.most_common()) or "none"
        return [
            ("state", loop.state),
            ("waits for", waits_for(loop) or "-"),
            ("documents x rounds", _of(loop.watermark, total)),
            *((f"stream {lane.name}", _of(lane.watermark, lane.order.total_items) + _lead(lane)) for lane in several),
            *(
                (f"writer {each.name}", _writing(each))
                for each in loop.desk.writers
                if each.name and each.answers + each.owes
            ),
            ("written here", f"{written.generations:,} generations, {written.tokens:,} tokens"),
            ("found in the store", f"{loop.statistics.found:,} documents x rounds"),
            ("tokens/s", f"{tokens_rate:,.0f}"),
            ("lead over the trainer", "-" if loop.lead is None else f"{loop.lead:+,} documents x rounds"),
            ("in flight", f"{loop.in_flight:,} documents, {loop.queued:,} queued"),
            ("rejected", rejected),
            ("time left", str(timedelta(seconds=round(left / items_rate))) if left and items_rate else "-"),
        ]

    def _rates(self) -> tuple[float, float]:
        """Items and tokens a second, lately."""
        now = (time.monotonic(), self._loop.watermark, self._loop.statistics.written.tokens)
        if not self._loop.statistics.asked:
            self._seen.clear()  # what was there before was not written in these minutes
        self._seen.append(now)
        while now[0] - self._seen[0][0] > _RATE_SECONDS:
            self._seen.popleft()
        seconds = now[0] - self._seen[0][0]
        return tuple((now[i] - self._seen[0][i]) / seconds if seconds else 0.0 for i in (1, 2))  # type: ignore[return-value]

    def _table(self) -> Table:
        table = Table(show_header=False, title="streamdocs-server")
        for name, value in self.rows():
            table.add_row(name, value)
        return table
