"""Runs the table of faults and prints a line for each; the last line is one JSON object.

python -m tests.faults [--only kill] [--share 0.1] [--seed 0]
"""

import argparse
import json
import logging
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from faults.table import Fault, Outcome, all_faults  # noqa: E402

WIDTHS = "{:44} {:>6} {:>5} {:>6} {:>9} {:>7}  {}"


def main() -> int:
    """Exit status 1 where anything was lost, wrong, or not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults whose name contains this")
    parser.add_argument("--share", type=float, default=1.0, help="of the tries")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    print(WIDTHS.format("fault", "tries", "lost", "wrong", "again in", "took", ""), flush=True)
    outcomes = [run(each, arguments.share, arguments.seed) for each in all_faults() if arguments.only in each.name]
    done = [outcome for outcome in outcomes if outcome]
    totals = {name: sum(getattr(outcome, name) for outcome in done) for name in ("tried", "lost", "wrong")}
    print(json.dumps({"faults": len(done), **totals}))
    return int(len(done) < len(outcomes) or totals["lost"] > 0 or totals["wrong"] > 0)


def run(fault: Fault, share: float, seed: int) -> Outcome | None:
    """Try a fault and print its line; None where a try did not end as it should."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="streamdocs-faults-") as folder:
        try:
            outcome = fault.function(Path(folder), max(1, round(fault.tries * share)), random.Random(seed))
        except Exception:
            print(f"{fault.name}: FAILED\n{traceback.format_exc()}", flush=True)
            return None
    took = f"{time.monotonic() - began:.0f} s"
    cells = (outcome.tried, outcome.lost, outcome.wrong, f"{outcome.seconds:.2f} s", took, outcome.note)
    print(WIDTHS.format(fault.name, *cells), flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
