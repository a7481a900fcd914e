"""Having generations written."""

import asyncio
import logging
from collections.abc import Sequence

from runs import Study

from streamdocs.config import RunFile
from streamdocs_server.cli import serve_run, with_options, without_lead

log = logging.getLogger("study")


def generate(study: Study, endpoints: Sequence[str] | None) -> None:
    """Have all generations written that some run reads: first those of the least G, for all recipes.

    Recipes, G and seeds share one store, in which a text that two of them ask for is there for both.
    """
    study.prepare()
    given = {"endpoint": tuple(endpoints)} if endpoints else {}
    cases = {(each.generations, each.recipe, each.seed): each for each in study.cases() if each.generations}
    for generations, recipe, seed in sorted(cases, key=lambda each: each[0]):
        log.info("%s, G = %d, seed %d", recipe, generations, seed)
        file = without_lead(RunFile.load(study.run_file(cases[generations, recipe, seed])))
        generator = with_options(file.generator, given)
        asyncio.run(serve_run(file.model_copy(update={"generator": generator})))
