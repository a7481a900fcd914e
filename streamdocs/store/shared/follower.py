"""The thread in which a process looks now and then for what is new in a shared store."""

import atexit
import logging
import os
import random
import threading
import time
import weakref
from typing import Protocol

from streamdocs.errors import StreamdocsError
from streamdocs.store.shared.cache import POLL

log = logging.getLogger(__name__)


class Looks(Protocol):
    """What has something to do now and then.

    Args:
        process: Of which it is: a child that was forked has to begin a thread of its own.
    """

    process: int

    def look(self) -> None:
        """Do it."""

    def end(self) -> None:
        """Do what is left, when the process ends."""


def follow(node: Looks) -> None:
    """Have a node look about once a second, for as long as somebody has it, and at the end of the process."""
    ours = weakref.ref(node)
    threading.Thread(target=_follow, args=(ours,), name="streamdocs-follower", daemon=True).start()
    atexit.register(_end, ours)


def _follow(ours: "weakref.ref[Looks]") -> None:
    told = False
    while True:
        time.sleep(POLL * random.uniform(0.8, 1.2))
        if (node := ours()) is None or node.process != os.getpid():
            return
        try:
            node.look()
            told = False
        except Exception as error:  # whatever it is, the next look may go well
            if not told:
                log.warning("not seen what is new: %s", error)
            told = True
        del node


def _end(ours: "weakref.ref[Looks]") -> None:
    if (node := ours()) is not None and node.process == os.getpid():
        try:
            node.end()
        except StreamdocsError as error:
            log.warning("not written: %s", error)
