"""What a study is to compare, as a YAML file says."""

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from streamdocs.errors import ConfigError

Share = Annotated[str, BeforeValidator(lambda value: str(Fraction(str(value))))]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Grid(_Part):
    """Runs of a recipe: each G with each number of web epochs and each synthetic share, the best of which counts."""

    generations: list[Annotated[int, Field(ge=1)]]
    epochs: list[Annotated[int, Field(ge=1)]]
    shares: list[Share]


class Recipe(_Part):
    """A recipe, as in a run file, without its G."""

    recipe: dict[str, Any]
    grids: list[Grid]


class Web(_Part):
    """Runs on web text alone, of several amounts, each with each number of epochs."""

    documents: list[Annotated[int, Field(ge=1)]]
    epochs: list[Annotated[int, Field(ge=1)]]


class Student(_Part):
    """The model that is trained, and how; ``at_once`` are the sequences that fit into memory, default a batch."""

    width: int
    layers: int
    heads: int
    max_seq_len: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    at_once: int | None = None
    warmup: float = 0.02
    checkpoint_every: int = 100


class Setting(_Part):
    """A study.

    Args:
        documents: Web documents that recipes have: the first of the corpus, in an order by their digests.
        split_at: Tokens from which on a held-out document is long.
        run: What all run files say of generator and server.
        student: That is trained.
        seeds: Of weights and order, a run each.
        web: Runs on web text alone.
        recipes: By the name in the table.
    """

    documents: int
    split_at: int
    run: dict[str, Any]
    student: Student
    seeds: list[int]
    web: Web
    recipes: dict[str, Recipe]

    @classmethod
    def load(cls, path: Path) -> "Setting":
        """Read a file.

        Raises:
            ConfigError: It says what cannot be.
        """
        try:
            return cls.model_validate(yaml.safe_load(path.read_text()))
        except (OSError, yaml.YAMLError, ValidationError) as error:
            raise ConfigError(f"{path}: {error}") from error
