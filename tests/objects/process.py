"""Servers that run as a process of their own, and end when whoever started them does."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

DEADLINE = 60.0


class Served:
    """A server: one of the programs of this folder, on a free port of the loopback.

    Args:
        program: Its file.
        arguments: Of its command line.

    Raises:
        RuntimeError: It does not say its port in time.
    """

    def __init__(self, program: Path, *arguments: str) -> None:
        command = [sys.executable, str(program), *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        said: list[bytes] = []
        listening = threading.Thread(target=lambda: said.append(self.process.stdout.readline()), daemon=True)
        listening.start()
        listening.join(DEADLINE)
        if not said or not said[0].strip():
            self.kill()
            raise RuntimeError(f"{program.name} did not start within {DEADLINE:.0f} s; its error output says why")
        self.url = f"http://127.0.0.1:{int(said[0])}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def tell_port(port: int) -> None:
    """Called by a server that listens: say where, and end with the process that reads it."""

    def wait_for_the_end() -> None:
        while os.read(0, 1024):
            time.sleep(0.1)
        os._exit(0)

    print(port, flush=True)
    threading.Thread(target=wait_for_the_end, daemon=True).start()
