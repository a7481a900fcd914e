"""Having generations written."""

import logging
import subprocess
import sys
from collections.abc import Sequence

from runs import Study

log = logging.getLogger("study")


def generate(study: Study, endpoints: Sequence[str] | None) -> None:
    """Have all generations written that some run reads: first those of the least G, for all recipes.

    Recipes, G and seeds share one store, in which a text that two of them ask for is there for both.
    """
    study.prepare()
    cases = {(each.generations, each.recipe, each.seed): each for each in study.cases() if each.generations}
    for generations, recipe, seed in sorted(cases, key=lambda each: each[0]):
        log.info("%s, G = %d, seed %d", recipe, generations, seed)
        run_file = study.run_file(cases[generations, recipe, seed])
        command = [sys.executable, "-m", "streamdocs_server", str(run_file), "--fill"]
        for endpoint in endpoints or ():
            command += ["--endpoint", endpoint]
        with (study.out / "server.log").open("ab") as log_file:
            subprocess.run(command, check=True, stdout=log_file, stderr=subprocess.STDOUT)
