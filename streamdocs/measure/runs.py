"""Measured runs: JSON lines of how much data a run had, and what it lost on held-out text."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamdocs._base.arrays import Floats
from streamdocs._base.untrusted import faults
from streamdocs.errors import ConfigError

_MOST_BYTES = 1 << 26


class Measured(BaseModel):
    """One run, a line of a file. Fields that are not named here may stand beside these, and say nothing.

    Args:
        tokens: For data efficiency, distinct web tokens that the run was made from; for scaling, tokens it was
            trained on.
        loss: On held-out text, in nats a token; for scaling also an error rate.
        recipe: By which runs are told apart; ``web`` is web text alone.
        G: Generations a document.
        seed: Of the run.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, hide_input_in_errors=True, extra="ignore")

    tokens: Annotated[float, Field(gt=0, strict=True)]
    loss: Annotated[float, Field(gt=0, strict=True)]
    recipe: Annotated[str, Field(min_length=1, max_length=256)]
    G: Annotated[int, Field(ge=0, strict=True)] = 0
    seed: Annotated[int, Field(strict=True)] = 0

    @property
    def name(self) -> str:
        """The recipe, with its generations a document where it has some."""
        return f"{self.recipe}, G = {self.G}" if self.G else self.recipe


@dataclass(frozen=True)
class Points:
    """Runs of one recipe and one G.

    Args:
        name: Of them.
        recipe, generations: What they have in common.
        tokens, losses: Of each run, float64 (runs,), by tokens and seed.
    """

    name: str
    recipe: str
    generations: int
    tokens: Floats
    losses: Floats

    @property
    def amounts(self) -> Floats:
        """The different numbers of tokens, in order."""
        return np.unique(self.tokens)

    def only(self, amounts: Floats) -> "Points":
        """Those of these amounts."""
        here = np.isin(self.tokens, amounts)
        return Points(self.name, self.recipe, self.generations, self.tokens[here], self.losses[here])

    def at(self, amount: float) -> Floats:
        """The losses of the runs of this many tokens."""
        return self.losses[self.tokens == amount]


def load_runs(path: Path) -> list[Measured]:
    """The runs of a file of JSON lines; empty lines are none.

    Raises:
        ConfigError: It cannot be read, has no runs, says what is none, or has two of one seed; the message names the
            line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): name a file of JSON lines, a run each") from error
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"{path} is larger than {_MOST_BYTES:,} bytes: name a file of JSON lines, a run each")
    found: dict[Any, tuple[int, Measured]] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            run = Measured.model_validate_json(line)
        except ValidationError as error:
            raise ConfigError(f"{path}, line {number}: {faults(error, 3)}") from error
        key = run.recipe, run.G, run.tokens, run.seed
        if key in found:
            # A sweep over learning rates is no set of seeds, and its mean is nobody's recipe.
            raise ConfigError(
                f"{path}, line {number}: {run.name} at {run.tokens:,.0f} tokens with seed {run.seed} stands in line "
                f"{found[key][0]} too: of a sweep keep the best run; runs that differ by chance have different seeds"
            )
        found[key] = number, run
    if not found:
        raise ConfigError(f"{path} has no runs: a line is like " + json.dumps(_EXAMPLE))
    return [run for _, run in found.values()]


_EXAMPLE = {"tokens": 203867748, "loss": 3.5544, "recipe": "web", "G": 0, "seed": 1}


def grouped(runs: Iterable[Measured]) -> list[Points]:
    """Runs by recipe and G, in the order in which they come first, recipes together and G ascending."""
    by_name: dict[tuple[str, int], list[Measured]] = {}
    for run in runs:
        by_name.setdefault((run.recipe, run.G), []).append(run)
    recipes = list(dict.fromkeys(recipe for recipe, _ in by_name))
    found = []
    for (recipe, generations), group in sorted(
        by_name.items(), key=lambda each: (recipes.index(each[0][0]), each[0][1])
    ):
        group.sort(key=lambda run: (run.tokens, run.seed))
        tokens, losses = (np.array([getattr(run, of) for run in group]) for of in ("tokens", "loss"))
        found.append(Points(group[0].name, recipe, generations, tokens, losses))
    return found
