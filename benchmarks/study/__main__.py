"""What recipes are worth on a corpus: generate, train students with and without, and measure them as the paper does.

    python benchmarks/study benchmarks/study/small.yaml --text real-text --out results/small generate
    python benchmarks/study benchmarks/study/small.yaml --text real-text --out results/small train --processes 2
    python benchmarks/study benchmarks/study/small.yaml --text real-text --out results/small table

Each step goes on where it was stopped, and each may be repeated: a generation is asked for once, a run that has a
result is not trained again, and the table is made of the runs' folders alone. Settings are ``small.yaml``, for two
cores, and ``paper.yaml``. `examples/corpora/` makes the text, `docs/evidence.md` says what comes of it.
"""

import argparse
import json
import logging
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from generating import generate
from results import write_table
from runs import Study
from setting import Setting
from training import train

log = logging.getLogger("study")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", type=Path)
    parser.add_argument("--text", type=Path, default=Path("real-text"), help="folder of examples/corpora/")
    parser.add_argument("--out", type=Path, help="folder of the study; default results/NAME beside the setting")
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("generate", help="have all generations written")
    step.add_argument("--endpoint", action="append", help="of the generator; default what the setting says")
    step = steps.add_parser("train", help="train and measure all students")
    step.add_argument("--processes", type=int, default=1, help="students at once, each on one thread")
    step.add_argument("--only", default="", help="those whose folder's name begins so")
    step = steps.add_parser("table", help="put together what there is")
    step.add_argument("--json", action="store_true", help="print the summary as one object")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    out = options.out or options.setting.parent / "results" / options.setting.stem
    study = Study(Setting.load(options.setting), options.text.absolute(), out.absolute())
    if options.step == "generate":
        generate(study, options.endpoint)
    elif options.step == "train":
        left = [case for case in study.cases() if case.name.startswith(options.only) and not study.has_result(case)]
        log.info("%d runs to train", len(left))
        study.prepare()
        with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
            for case, result in zip(left, pool.map(train, [study] * len(left), left), strict=True):
                log.info("%s: loss %.4f", case.name, result["loss"])
    else:
        summary = write_table(study)
        if options.json:
            print(json.dumps(summary))


if __name__ == "__main__":
    main()
