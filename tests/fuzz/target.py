"""A fuzz target: inputs, and a check that raises where one does harm. Run by pytest, and longer by ``make fuzz``."""

import contextlib
import functools
import gc
import inspect
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.strategies import SearchStrategy

#: No input may take longer, nor more memory than it would need a hundredfold.
MOST_SECONDS = 20.0


@dataclass
class Target:
    """What is fuzzed.

    Args:
        name: Of the function that checks.
        strategy, check: Inputs, and what is done with each.
        share: Examples against those of other targets, for those whose check takes long.
    """

    name: str
    strategy: SearchStrategy
    check: Callable
    share: float
    inputs: int = 0
    slowest: float = 0.0

    def __call__(self, value) -> None:
        """Check one input."""
        began = time.monotonic()
        self.inputs += 1
        self.check(value)
        seconds = time.monotonic() - began
        self.slowest = max(self.slowest, seconds)
        assert seconds < MOST_SECONDS, f"took {seconds:.1f} s"

    def run(self, examples: int, *, shrink: bool = True) -> None:
        """Check so many inputs; raises at the first that does harm."""
        phases = set(Phase) if shrink else {Phase.explicit, Phase.generate}
        options = settings(
            max_examples=max(1, int(examples * self.share)),
            deadline=None,
            database=None,
            phases=phases - {Phase.explain},
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        options(given(self.strategy)(lambda value: Target.__call__(self, value)))()


TARGETS: dict[str, Target] = {}


def target(strategy: SearchStrategy, share: float = 1.0) -> Callable[[Callable], Callable]:
    """Make a function that checks an input a target."""

    def add(check: Callable) -> Callable:
        module = inspect.getmodule(check)
        name = f"{(module.__name__ if module else '').rpartition('.')[2]}.{check.__name__}"
        TARGETS[name] = Target(name, strategy, check, share)
        return check

    return add


@contextlib.contextmanager
def little_memory(mebibytes: int = 512):
    """No more memory than so much on top of what there is: what wants it fails with a MemoryError, which is harm."""
    gc.collect()  # or what is garbage now may be room later
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (mebibytes << 20), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@functools.cache
def folder_of(name: str) -> Path:
    """The same folder for a name."""
    return folder()


def folder() -> Path:
    """A folder that goes with the process."""
    made = tempfile.TemporaryDirectory(prefix="streamdocs-fuzz-")
    _folders.append(made)
    return Path(made.name)


_folders: list[tempfile.TemporaryDirectory] = []
