"""Tries inputs of every target for some minutes: ``python -m fuzz [--seconds N] [NAME ...]``, in ``tests``.

Prints a line for each target; the last line is one JSON object.
"""

import argparse
import json
import logging
import sys
import time
import traceback

from fuzz import decoders, documents, files, programs, servers, shared  # noqa: F401  (which add their targets)
from fuzz.target import TARGETS, Target

_BATCH = 100


def fuzz(target: Target, seconds: float) -> bool:
    """Whether nothing did harm."""
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            target.run(_BATCH)
    except Exception:
        print(f"FAILED {target.name}", flush=True)
        traceback.print_exc()
        return False
    return True


def main() -> int:
    """Run, and say what was found; 1 where something did harm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="targets; default all")
    parser.add_argument("--seconds", type=float, default=270.0, help="for all targets together")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    chosen = [target for name, target in TARGETS.items() if not arguments.names or name in arguments.names]
    failures = 0
    for target in chosen:
        failed = not fuzz(target, arguments.seconds / len(chosen))
        failures += failed
        print(
            f"{target.name:32} {target.inputs:8,} inputs  {int(failed)} failures  slowest {target.slowest:.2f} s",
            flush=True,
        )
    inputs = sum(target.inputs for target in chosen)
    print(json.dumps({"targets": len(chosen), "inputs": inputs, "failures": failures}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
