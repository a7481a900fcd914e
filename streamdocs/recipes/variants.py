"""Recipes that are one of the three with a program of their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from streamdocs.recipes.layout import Layout, Part
from streamdocs.recipes.programs.program import Program
from streamdocs.recipes.rephrase import Rephrase
from streamdocs.recipes.stitch import Stitch


@dataclass(frozen=True, kw_only=True)
class Append(Stitch):
    """The document, then questions about it with their answers."""

    name: ClassVar[str] = "append"
    default_styles: ClassVar[Mapping[str | Program, int] | None] = {"append": 1}

    web: Literal["last", "first", "none"] = "first"


@dataclass(frozen=True, kw_only=True)
class Think(Stitch):
    """The document, then what an expert thinks who has read it.

    Args:
        open_mark: Text before each of these thoughts; where it is a special token of the tokenizer, that token.
        close_mark: Text after it, likewise.
    """

    name: ClassVar[str] = "think"
    kind: ClassVar[Literal["rephrase", "thought"]] = "thought"
    default_styles: ClassVar[Mapping[str | Program, int] | None] = {"after-thoughts": 1}

    web: Literal["last", "first", "none"] = "first"
    open_mark: str = ""
    close_mark: str = ""

    @property
    def unit_layout(self) -> Layout:
        """That of ``stitch``, with marks around each thought."""
        whole = super().unit_layout
        marked = {Part.GENERATION: (Part.OPEN, Part.GENERATION, Part.CLOSE)}
        each = tuple(part for one in whole.each for part in marked.get(one, (one,)))
        return Layout(whole.before, each, whole.after, whole.skip_first)


@dataclass(frozen=True, kw_only=True)
class Answer(Rephrase):
    """A question about the document, then its answer, which another writer may give."""

    name: ClassVar[str] = "answer"
    default_styles: ClassVar[Mapping[str | Program, int] | None] = {"answer": 1}


@dataclass(frozen=True, kw_only=True)
class Correct(Rephrase):
    """A rewriting that was criticised and corrected before it is read."""

    name: ClassVar[str] = "correct"
    default_styles: ClassVar[Mapping[str | Program, int] | None] = {"correct": 1}


@dataclass(frozen=True, kw_only=True)
class Judge(Rephrase):
    """A rewriting that was judged to be true to its document."""

    name: ClassVar[str] = "judge"
    default_styles: ClassVar[Mapping[str | Program, int] | None] = {"judge": 1}


@dataclass(frozen=True, kw_only=True)
class Template(Rephrase):
    """Texts that rules make of the document, without any model."""

    name: ClassVar[str] = "template"
    default_styles: ClassVar[Mapping[str | Program, int] | None] = {
        "template-cloze": 2,
        "template-facts": 1,
        "template-outline": 1,
    }
