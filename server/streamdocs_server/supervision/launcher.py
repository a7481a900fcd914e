"""Runs a command that must not outlive its parent: ``python launcher.py COMMAND [ARGUMENT ...]``.

The parent holds the other end of standard input. The kernel closes that end however the parent dies, SIGKILL included;
then the whole process group of the command is killed. SIGTERM goes on to the command alone, which stops its own
children in order. Whatever of the group is left when the command ends is killed and reaped, so that when this process
is gone, so are all of them. Needs nothing but the standard library and imports nothing of the package: it starts in
some 20 ms, and a bug elsewhere cannot end it.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable

_POLL_SECONDS = 0.2
_REAP_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Run the command; its exit status, or 128 + the signal that ended it."""
    prctl: Callable[..., int] = ctypes.CDLL(None).prctl if sys.platform == "linux" else lambda *_: 0
    # Orphans of the command come here to be reaped: nobody else does that in a container without an init.
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        _become(sys.argv[1:], prctl)
    with contextlib.suppress(PermissionError):  # the child was faster, and has become the command
        os.setpgid(child, child)
    signal.signal(signal.SIGTERM, lambda *_: _send(child, signal.SIGTERM))
    status = None
    while status is None:
        # The parent never writes, so that readable means closed.
        if select.select([0], [], [], _POLL_SECONDS)[0]:
            break
        ended, code = os.waitpid(child, os.WNOHANG)
        status = code if ended else None
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _send(-child, signal.SIGKILL)
    _reap()
    if status is None:
        return 0
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _become(command: list[str], prctl: Callable[..., int]) -> None:
    try:
        os.setpgid(0, 0)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # should somebody SIGKILL this launcher
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(127)


def _send(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _reap() -> None:
    deadline = time.monotonic() + _REAP_SECONDS
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
