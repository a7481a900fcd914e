"""Supervision of a server that the sidecar starts itself: started, watched, restarted, stopped, and never orphaned."""

import asyncio
import contextlib
import logging
import math
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from streamdocs.errors import ConfigError, EngineError, StreamdocsError
from streamdocs_server._base.secrets import hide_arguments
from streamdocs_server.supervision import launcher

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_TAIL_BYTES = 4096
_TAIL_LINES = 12


class Probe(Protocol):
    """How to see that a server is alive."""

    async def healthy(self) -> bool:
        """Whether it answers that it works; never raises."""
        ...

    async def progress(self) -> object:
        """None while nothing is asked of it; otherwise a value that changes as it gets on. Never raises."""
        ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seconds, but for ``failures``.

    Args:
        start: From the start of the process to its first healthy answer; large models are read for a long time.
        hang: Without progress while something is asked of it, or else without a healthy answer, before it is restarted.
        probe: Between two looks.
        answer: For one look; SGLang itself gives up a health check after 20.
        stop: From SIGTERM to SIGKILL.
        back_off: Before the first restart; doubled for every further one, up to ``most_back_off``.
        failures: Restarts in a row before giving up.
        stable: Healthy for so long, it starts over counting those.
    """

    start: float = 1800.0
    hang: float = 120.0
    probe: float = 2.0
    answer: float = 25.0
    stop: float = 20.0
    back_off: float = 1.0
    most_back_off: float = 60.0
    failures: int = 5
    stable: float = 120.0


class Supervisor:
    """Keeps one server running.

    Args:
        command: What starts it.
        environment: All of its environment.
        log_file: Where its output goes, after what is there.
        limits: How long to wait for what.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log_file: Path, limits: Limits | None = None
    ) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._log_file = log_file
        self._limits = limits or Limits()
        self._process: Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._given_up: Exception | None = None
        self.restarts = 0

    async def start(self, probe: Probe) -> None:
        """Start the server, wait until it is healthy, and watch over it from then on. Only the first call does.

        Raises:
            ConfigError: The log file cannot be written.
            EngineError: No process could be started, or it ended (there may be no such command), or was not healthy by
                the deadline; the message has the end of its log.
        """
        if self._watching is not None:
            return
        try:
            await self._launch(probe)
        except BaseException:
            await self._end()
            raise
        self._watching = asyncio.create_task(self._watch_or_give_up(probe))

    async def ready(self) -> None:
        """Wait until the server can be asked; bounded by its restarts, each of which is.

        Raises:
            EngineError: It was given up, or stopped.
        """
        await self._settled.wait()
        if self._given_up:
            raise EngineError(str(self._given_up)) from self._given_up

    async def stop(self) -> None:
        """Stop the server in order, and by SIGKILL if it takes too long. It is gone when this returns."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        self._give_up(EngineError("the server was stopped"))
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            await self._gone(self._limits.stop)
        await self._end()

    async def _watch_or_give_up(self, probe: Probe) -> None:
        try:
            await self._watch(probe)
        except Exception as error:  # a bug; those who wait for the server should not do so for ever
            log.exception("the supervision of the server ended")
            self._give_up(EngineError(f"The server is not watched over any more, because of {error!r}"))

    async def _watch(self, probe: Probe) -> None:
        failures = 0
        while True:
            healthy_since = math.inf
            try:
                if not self._settled.is_set():
                    await self._launch(probe)
                healthy_since = time.monotonic()
                await self._until_broken(probe)
            except (StreamdocsError, OSError) as error:  # the system may have no memory or process to spare for a while
                self._settled.clear()
                await self._end()
                failures = 1 if time.monotonic() - healthy_since > self._limits.stable else failures + 1
                if failures > self._limits.failures:
                    log.error("gave up after %d restarts in a row: %s", failures - 1, error)
                    return self._give_up(error)
                delay = min(self._limits.back_off * 2 ** (failures - 1), self._limits.most_back_off)
                log.warning("%s\nStarting again in %g s (%d of %d).", error, delay, failures, self._limits.failures)
                await asyncio.sleep(delay)
                self.restarts += 1

    async def _launch(self, probe: Probe) -> None:
        """Start the process and wait until it is healthy."""
        try:
            output = self._log_file.open("ab")
        except OSError as error:
            raise ConfigError(f"The server's log file {self._log_file} cannot be written: {error}") from error
        with output:
            self._process = await self._start_process(output)
        log.info("starting %s; its log is %s", hide_arguments(self._command), self._log_file)
        deadline = time.monotonic() + self._limits.start
        while not await self._ask(probe.healthy(), False):
            self._check_alive()
            if time.monotonic() > deadline:
                raise self._broken(f"was not ready within {self._limits.start:g} s")
            await asyncio.sleep(_POLL_SECONDS)
        self._settled.set()

    async def _start_process(self, output: IO[bytes]) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",  # nothing in the environment can break it
                launcher.__file__,
                *self._command,
                stdin=PIPE,
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is for the sidecar, which then stops the server in order
            )
        except OSError as error:
            raise EngineError(
                f"No process could be started for the server: {error}. Check the machine's limits of memory, processes "
                "and open files."
            ) from error

    async def _until_broken(self, probe: Probe) -> None:
        """Look on until the server dies or hangs; raises EngineError then."""
        alive, seen = time.monotonic(), None
        while True:
            looking = asyncio.create_task(self._look(probe, seen))
            try:
                while not (await asyncio.wait({looking}, timeout=_POLL_SECONDS))[0]:
                    self._check_alive()
            finally:
                looking.cancel()
            healthy, progress = looking.result()
            # One that reads a long prompt gets on, and answers no health check meanwhile.
            if healthy if progress is None else progress != seen:
                alive = time.monotonic()
            elif time.monotonic() - alive > self._limits.hang:
                what = "got no further with what it was asked" if healthy else "was not healthy"
                raise self._broken(f"{what} for {self._limits.hang:g} s")
            seen = progress

    async def _look(self, probe: Probe, seen: object) -> tuple[object, object]:
        await asyncio.sleep(self._limits.probe)
        return await self._ask(probe.healthy(), False), await self._ask(probe.progress(), seen)

    async def _ask(self, question: Awaitable[object], otherwise: object) -> object:
        try:
            return await asyncio.wait_for(question, self._limits.answer)
        except TimeoutError:
            return otherwise

    def _check_alive(self) -> None:
        if self._process is not None and (status := self._process.returncode) is not None:
            raise self._broken(f"ended with status {status}")

    def _broken(self, what: str) -> EngineError:
        try:
            with self._log_file.open("rb") as output:
                output.seek(max(0, output.seek(0, 2) - _TAIL_BYTES))
                lines = output.read().decode(errors="replace").strip().splitlines()
        except OSError as error:  # somebody deleted it, say
            lines = [f"it cannot be read: {error}"]
        tail = "\n".join(lines[-_TAIL_LINES:])
        return EngineError(f"The server {what}. The end of its log, {self._log_file}:\n{tail}")

    def _give_up(self, error: Exception) -> None:
        self._given_up = self._given_up or error
        self._settled.set()

    async def _end(self) -> None:
        """Have the launcher kill the whole group, by closing its standard input, and wait for it."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        if not await self._gone(self._limits.stop):
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()  # and the kernel kills the server, whose launcher is gone
        await self._gone(self._limits.stop)

    async def _gone(self, seconds: float) -> bool:
        """Wait for the launcher to end; whether it did."""
        assert self._process is not None
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._process.wait(), seconds)
        return self._process.returncode is not None
