"""Having generations written."""

import logging
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

from runs import Case, Study

log = logging.getLogger("study")


def generate(study: Study, endpoints: Sequence[str] | None) -> None:
    """Have all generations written that some run reads: first those of the least G, for all recipes.

    Recipes and G share one store, in which a text that two of them ask for is there for both.
    """
    study.prepare()
    cases: dict[tuple[int, str], Case] = {}
    for case in study.cases():
        if case.generations:
            cases.setdefault((case.generations, case.recipe), case)
    for generations, recipe in sorted(cases, key=lambda each: each[0]):
        case = replace(cases[generations, recipe], share="1/2")
        log.info("%s, G = %d", recipe, generations)
        command = [sys.executable, "-m", "streamdocs_server", str(study.run_file(case)), "--fill"]
        for endpoint in endpoints or ():
            command += ["--endpoint", endpoint]
        with (study.out / "server.log").open("ab") as log_file:
            subprocess.run(command, check=True, stdout=log_file, stderr=subprocess.STDOUT)
