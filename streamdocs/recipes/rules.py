"""What recipes want beyond their documents: a graph of concepts, or rounds that say more of hard documents."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from streamdocs._base.typed import ShareOf, check_types, exact_fraction
from streamdocs.errors import ConfigError

if TYPE_CHECKING:
    from streamdocs.recipes.base import Recipe


@dataclass(frozen=True, kw_only=True)
class GraphRule:
    """How a graph of concepts is made, and how many of its walks an item has.

    Args:
        concepts: What extracts the concepts of a document.
        editions: Shares of the documents that have to have concepts before an edition is sealed, rising.
        min_documents: Names that fewer documents have are left out.
        max_share: And those that more than this share of them have.
        walks: Of an item in each round.
        chars: Most characters that prompts show of each document that is nearest to a walk.
    """

    concepts: "Recipe"
    editions: tuple[Fraction, ...]
    min_documents: int
    max_share: Fraction
    walks: int
    chars: int

    @property
    def identity(self) -> list[Any]:
        """What decides its editions beside the concepts."""
        return [list(map(str, self.editions)), self.min_documents, str(self.max_share)]


@dataclass(frozen=True, kw_only=True)
class ErrorRule:
    """How rounds say more of hard documents, those on which the student errs most: see docs/errors.md.

    Args:
        share: Exact part of a round's items that are about these, beside the items that they have anyway; up to 1/2.
        cap: Most items of a document in a round, its own among them; from 2 to 256.
        reference: What the student's loss on a document is compared with: the ``mean`` loss of what is read beside it,
            or how far above that it was ``earlier``.

    Raises:
        ConfigError: A value of another type, or one that cannot be.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    share: ShareOf = "1/4"
    cap: Annotated[int, Field(json_schema_extra={"minimum": 2, "maximum": 256})] = 4
    reference: Literal["mean", "earlier"] = "mean"

    def __post_init__(self) -> None:
        check_types(self, "errors")
        share = exact_fraction(self.share, "errors: share")
        if not 0 < share <= Fraction(1, 2):
            raise ConfigError(f"errors: share={self.share}; above 0, and at most 1/2: the others need a place, too")
        if not 2 <= self.cap <= 256:
            raise ConfigError(f"errors: cap={self.cap}; from 2, a document's own item and one more, to 256")
        object.__setattr__(self, "share", str(share))

    @property
    def identity(self) -> list[Any]:
        """All that it says."""
        return [self.share, self.cap, self.reference]

    def repeats(self, sources: int) -> int:
        """Items of a round about hard documents, of so many ``sources``."""
        return int(Fraction(self.share) * sources)

    def check(self, recipe: "Recipe") -> None:
        """Raise ConfigError where a unit of a recipe could not be about another document than its own."""
        faults = {
            "its items are about walks, and not about documents: take another level": recipe.graph is not None,
            "its units hold tokens of their documents, and a text about another one cannot stand beside these: "
            "take web: false (rephrase), web: none (stitch), or pairs or megadoc (synthllm)": recipe.reads_documents,
            "a unit has generations of several rounds, which would be about several documents: leave per_round out": (
                recipe.cycle > 1 and recipe.sweeps < recipe.generations
            ),
            "it has one round, and only those after the first can be about hard documents: raise rounds": (
                recipe.total_rounds == 1
            ),
        }
        if found := [fault for fault, there in faults.items() if there]:
            raise ConfigError(f"{recipe.name}: errors: {found[0]}")
