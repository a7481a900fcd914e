"""What a probe of those who write found: it is the server that asks them, in a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from streamdocs.checks.lengths import Lengths
from streamdocs.errors import EngineError

#: Seconds that it takes beside asking: to start, and to stop; and that a server may take that has to load its model.
_MORE_SECONDS, START_SECONDS = 60.0, 900.0


@dataclass(frozen=True)
class Asked:
    """What came of the first prompts of a stream.

    Args:
        stream: Its name.
        accepted: Generations that were accepted.
        causes: Why the others were rejected.
        seconds: That it took.
        completion_tokens: Of all that was answered, as the engine counts them.
        tokens: Of the same texts, as the corpus does.
    """

    stream: str
    accepted: int
    causes: list[str]
    seconds: float
    completion_tokens: int
    tokens: int


@dataclass(frozen=True)
class Measured:
    """What was written of one scope while the speed was measured.

    Args:
        items: (document, round) items that were written, whether their blocks were resolved or not.
        completion_tokens: That the engine says it wrote for these, rejected texts and steps included.
        bytes: That an item takes in a store, with all that goes with it.
        lengths: Of what was resolved.
    """

    items: int
    completion_tokens: int
    bytes: float
    lengths: Lengths


@dataclass(frozen=True)
class Probe:
    """What was found.

    Args:
        models: What each writer serves, by its name.
        faults: What is wrong with a writer, by its name.
        skipped: Why a writer was not asked, by its name.
        asked: By stream.
        written: By stream, where the speed was measured.
        tokens_per_second: Completion tokens of all writers together; 0 where that was not measured.
    """

    models: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    written: dict[str, Measured] = field(default_factory=dict)
    tokens_per_second: float = 0.0


PROBE = TypeAdapter(Probe)


def probe(run_file: Path, seconds: float, deadline: float) -> Probe:
    """Ask those who write for a run file for something, and for ``seconds`` measure how fast they are.

    Args:
        run_file: Says who they are.
        seconds: How long; 0 for one prompt of each stream alone.
        deadline: Seconds that a writer has to be there, and to answer its first prompt.

    Raises:
        EngineError: The server cannot be used: it says why.
    """
    command = [sys.executable, "-m", "streamdocs_server", "probe", str(run_file)]
    command += [f"--seconds={seconds}", f"--deadline={deadline}"]
    limit = seconds + 4 * deadline + _MORE_SECONDS + (START_SECONDS if seconds else 0)
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"those who write did not answer in {limit:.0f} s: see `{' '.join(command[1:])}`") from error
    if done.returncode:
        raise EngineError(_said(done.stderr))
    try:
        return PROBE.validate_python(json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError, ValidationError) as error:
        raise EngineError(f"streamdocs-server probe cannot be understood: {error}") from error


def _said(stderr: str) -> str:
    """The error that a command ended with: its last line."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    if any("No module named streamdocs_server" in line for line in lines):
        return "those who write are asked by the server: install streamdocs with its extra [server]"
    return lines[-1].removeprefix("error: ") if lines else "the server ended without a word"
