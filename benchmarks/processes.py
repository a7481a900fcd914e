"""Processes of their own: for one measurement, or for what runs beside it; and what a process takes of memory."""

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

#: Forked from one that has imported everything and opened nothing.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "streamdocs.dataset",
        "streamdocs.corpus.write",
        "streamdocs_server.work.loop",
        "streamdocs_server.engines.template",
        "streamdocs_server.cli",
        "boto3",
        "datasets",  # what we are compared with: no loader's process has more to begin with than another's
        "litdata",
    ]
)
_DEADLINE = 1800.0


class Beside:
    """A process that runs a function beside this one, until it returns or is killed."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._receiver, sender = _CONTEXT.Pipe(duplex=False)
        self.process = _CONTEXT.Process(target=_answer, args=(sender, partial(function, *arguments)))
        self.process.start()
        sender.close()

    def result(self) -> Any:
        """What the function returns; waits for it.

        Raises:
            RuntimeError: It raised something, its process died, or it takes too long.
        """
        try:
            answer, error = self._receiver.recv() if self._receiver.poll(_DEADLINE) else (None, "it takes too long")
        except EOFError:
            answer, error = None, "its process died"
        self.kill()
        if error:
            raise RuntimeError(error)
        return answer

    def kill(self) -> None:
        """End it."""
        self.process.kill()
        self.process.join()

    def __enter__(self) -> "Beside":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def in_fresh_process(work: Callable[[], Any]) -> Any:
    """What ``work`` returns, in a process that has imported everything and opened nothing."""
    return Beside(work).result()


def _end_with_parent() -> None:
    """A child of the fork server outlives who asked for it, and would train for ever."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _answer(sender: Connection, work: Callable[[], Any]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    multiprocessing.set_start_method("fork", force=True)  # of DataLoader workers: the usual one
    try:
        result = work()
        for worker in multiprocessing.active_children():  # they would share the next one's memory for seconds
            worker.kill()
            worker.join()
        sender.send((result, None))
    except BaseException:
        sender.send((None, traceback.format_exc()))


class Memory(NamedTuple):
    """Megabytes of a process: what is its own (USS), and that with its part of what it shares (PSS).

    ``mapped`` is the part of the PSS that the system takes back when it needs memory: files, as they lie in its cache.
    """

    uss: float
    pss: float
    mapped: float


def memory_of(pid: int) -> Memory:
    """What a process takes now."""
    lines = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]]
    kilobytes = {name: int(amount) for name, amount, *_ in lines}
    own = kilobytes["Private_Clean:"] + kilobytes["Private_Dirty:"]
    return Memory(*(each / 1024 for each in (own, kilobytes["Pss:"], kilobytes["Pss_File:"])))
