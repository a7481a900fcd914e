"""Work beside the event loop."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")


def in_thread(work: Callable[[], _T]) -> "asyncio.Future[_T]":
    """What ``work`` returns, however long it takes: neither the event loop nor the end of the process waits for it."""
    # asyncio.to_thread has few threads, which heartbeats and leases need too, and all are waited for in the end.
    done: Future[_T] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return asyncio.wrap_future(done)
