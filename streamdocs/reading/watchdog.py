"""A DataLoader worker ends with its trainer, whatever it is doing.

PyTorch's worker looks for its trainer every five seconds. But where a sibling was killed while it wrote to their common
queue, it then waits for ever for the lock that died with it, and keeps its memory.
"""

import multiprocessing
import os
import threading
import time

from streamdocs._base.unfinished import is_alive

_POLL_SECONDS = 1.0

_watched = 0  # the process in which a thread looks out; another one after a fork


def end_with_parent() -> None:
    """From now on, end this process within a second or two of the one that started it. Once a process is enough."""
    global _watched  # noqa: PLW0603
    if _watched != os.getpid():
        _watched = os.getpid()
        threading.Thread(target=_watch, args=(os.getppid(),), name="watchdog", daemon=True).start()


def _watch(parent: int) -> None:
    # With "forkserver" the parent is a server of forks, which may outlive the trainer.
    starter = multiprocessing.parent_process()
    while os.getppid() == parent and (starter is None or starter.pid is None or is_alive(starter.pid)):
        time.sleep(_POLL_SECONDS)
    os._exit(1)  # nothing here may hold it up any more
