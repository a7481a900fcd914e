"""Questions and answers: about documents, about what they have in common, and about walks through all their concepts.

After "Scaling laws of synthetic data for language models" (arXiv 2503.19551), with prompts of our own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from streamdocs._base.arrays import Ints
from streamdocs._base.typed import ShareOf, exact_fraction
from streamdocs.errors import ConfigError
from streamdocs.recipes.base import MostTokens, Recipe
from streamdocs.recipes.layout import Layout
from streamdocs.recipes.programs.chunks import head
from streamdocs.recipes.programs.program import LEAST_CHUNK, MOST_CHARS, Program, Step
from streamdocs.recipes.programs.tasks import Task, make_tasks
from streamdocs.recipes.prompts import fill_prompt, load_prompt
from streamdocs.recipes.rephrase import Rephrase
from streamdocs.recipes.rules import GraphRule
from streamdocs.recipes.stitch import Stitch

Level = Literal[1, 2, 3]
#: That are read of a text.
Characters = Annotated[int, Field(ge=LEAST_CHUNK, le=MOST_CHARS)]
#: Questions of one call by level, at most, where nobody says how many.
_QUESTIONS: Mapping[int, int] = {1: 5, 2: 1, 3: 1}
#: Most new tokens of a question, and fewest characters of one with its answer.
_TOKENS, _LEAST = 384, 100

_CONCEPTS = Step(
    name="concepts", prompt=load_prompt("concepts"), parser="concepts", once=True, kind="free", max_tokens=1536
)
#: The steps whose writers may be named, whichever of them a level has.
_STEPS = {"concepts", "question", "answer"}


@dataclass(frozen=True, kw_only=True)
class _Reading(Recipe):
    """What reads the beginning of a document, by one program of its own.

    Args:
        document_chars: Most characters that are read of a document.
    """

    takes_styles: ClassVar[bool] = False

    document_chars: Characters = 12_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.styles is not None:
            raise ConfigError(f"{self.name}: styles: it has a program of its own: leave them out")

    @property
    def program(self) -> Program:
        """By which every slot is written."""
        raise NotImplementedError

    @property
    def programs(self) -> Mapping[str | Program, int]:
        """That alone."""
        return {self.program: 1}

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """All by its program; writers may be named also for steps that only other levels have."""
        others = _STEPS - {step.name for step in self.program.steps}
        named = (self.writers or {}).items()
        writers = {name: each for name, each in named if isinstance(each, int) or name not in others}
        return make_tasks([(self.program.name, self.program)] * self.generations, writers)

    def request_part(self, round: int, tokenizer_digest: str) -> list[Any]:
        """With how much is read of a document."""
        return [*super().request_part(round, tokenizer_digest), self.document_chars]

    def sources(self, text: str, places: Sequence[int]) -> list[dict[str, str]]:
        """The beginning of the document."""
        return [{"document": head(text, self.document_chars)}] * self.round_size


@dataclass(frozen=True, kw_only=True)
class Extract(_Reading):
    """The concepts of documents, for the graph of them."""

    name: ClassVar[str] = "concepts"

    generations: int = 1

    @cached_property
    def program(self) -> Program:
        """One step, which level 2 has, too."""
        return Program(name=self.name, steps=(_CONCEPTS,))


@dataclass(frozen=True, kw_only=True)
class SynthLLM(_Reading):
    """Questions with their answers: a slot is one pair.

    Args:
        level: What questions are about: a document (1), two or three of its key concepts (2), or a walk through the
            graph of the concepts of all documents (3).
        levels: In its place parts of the stream's share by level, which add up to one: each is a stream of its own.
        questions: Of one call, a divisor of ``per_round``; default 5 at level 1, as far as that goes, and 1 at others.
        layout: What a unit is: one pair (``pairs``), all pairs of a document (``megadoc``), or the document, then its
            pairs (``append``, not at level 3).
        separator: Text between the parts of a unit.
        choose: At level 2, whether key concepts are chosen equally often (``even``) or by the ``model``.
        answer_tokens: Most new tokens of an answer.
        reference_chars: At level 3, most characters that are read of each of the two documents.
        editions: At level 3, rising shares of the documents: as soon as each has concepts, the graph is made of these.
        min_documents: At level 3, names that fewer documents have are not in the graph.
        max_share: At level 3, nor are those that more than this share of them have.
        dedupe: Whether questions that were asked before in the stream are left out.
    """

    name: ClassVar[str] = "synthllm"
    protects: ClassVar[bool] = True

    level: Level = 1
    levels: Mapping[Level, ShareOf] | None = None
    questions: Annotated[int, Field(ge=1)] | None = None
    layout: Literal["pairs", "megadoc", "append"] = "pairs"
    separator: str = "\n\n"
    choose: Literal["even", "model"] = "even"
    answer_tokens: MostTokens = 2048
    reference_chars: Characters = 6_000
    editions: tuple[ShareOf, ...] = ("1/10", "2/5", "1")
    min_documents: Annotated[int, Field(ge=1)] = 2
    max_share: ShareOf = "1/20"
    dedupe: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        shares = [exact_fraction(each, f"{self.name}: editions") for each in self.editions]
        most = exact_fraction(self.max_share, f"{self.name}: max_share")
        object.__setattr__(self, "editions", tuple(map(str, shares)))
        object.__setattr__(self, "max_share", str(most))
        if self.levels is not None:
            parts = {level: str(exact_fraction(part, "levels")) for level, part in self.levels.items()}
            object.__setattr__(self, "levels", parts)
        faults = {
            f"questions={self.questions} does not divide per_round={self.round_size}": (
                self.round_size % self.per_call
            ),
            "layout: append: a walk has no document of its own: take pairs or megadoc, or another level": (
                self.layout == "append" and self.level == 3
            ),
            "editions: shares above 0, each larger than the one before": (
                not shares or shares != sorted({*shares}) or not shares[0]
            ),
            "max_share is above 0": not most,
            "levels: the level is theirs to say: leave it out": self.levels is not None and self.level != 1,
        }
        if found := [fault for fault, there in faults.items() if there]:
            raise ConfigError(f"{self.name}: {found[0]}")
        if self.levels is not None and (total := sum(share for share, _ in self.streams.values())) != 1:
            told = " + ".join(map(str, self.levels.values())) or "none"
            raise ConfigError(f"{self.name}: the parts of levels are {told} = {total}, and have to add up to 1")

    @property
    def streams(self) -> Mapping[str, tuple[Fraction, Recipe]]:
        """One for each of ``levels``."""
        parts = [(level, exact_fraction(part, "levels")) for level, part in sorted((self.levels or {}).items())]
        return {f"_{level}": (part, replace(self, level=level, levels=None)) for level, part in parts if part}

    @property
    def per_call(self) -> int:
        """Questions of one call."""
        most = min(_QUESTIONS[self.level], self.round_size)
        return self.questions or next(each for each in range(most, 0, -1) if not self.round_size % each)

    @cached_property
    def program(self) -> Program:
        """At level 2 the concepts; questions, dealt to slots; and the answer to each."""
        prompt = load_prompt(f"synthllm-{self.level}")
        chosen, steps = None, tuple[Step, ...]()
        if self.level == 2:
            steps = (_CONCEPTS,)
            chosen = _CONCEPTS.name if self.choose == "even" else None
            prompt = prompt if chosen else load_prompt("synthllm-2-model")
        question = Step(
            name="question",
            prompt=fill_prompt(prompt, {"count": "one problem" if self.per_call == 1 else f"{self.per_call} problems"}),
            parser="list",
            most=self.per_call,
            deal=True,
            kind="free",
            max_tokens=_TOKENS * (1 + self.per_call),
            gates={"max_copied": 1.0},  # also those that the document has
        )
        answer = Step(name="answer", prompt=load_prompt("synthllm-answer"), kind="free", max_tokens=self.answer_tokens)
        pair = "{question}\n\n{answer}"
        name = f"{self.name}-{self.level}"
        return Program(name=name, steps=(*steps, question, answer), template=pair, choose=chosen, least=_LEAST)

    @property
    def fields(self) -> tuple[str, ...]:
        """A document; or a walk, and the two documents that are nearest to it."""
        return ("walk", "first", "second") if self.level == 3 else ("document",)

    @property
    def compared(self) -> str | None:
        """The question, as ``dedupe`` says."""
        return "question" if self.dedupe else None

    @property
    def graph(self) -> GraphRule | None:
        """At level 3."""
        if self.level != 3:
            return None
        writer = (self.writers or {}).get(_CONCEPTS.name)
        return GraphRule(
            concepts=Extract(
                document_chars=self.document_chars,
                writers={_CONCEPTS.name: writer} if isinstance(writer, str) else None,
            ),
            editions=tuple(exact_fraction(each) for each in self.editions),
            min_documents=self.min_documents,
            max_share=exact_fraction(self.max_share),
            walks=self.round_size // self.per_call,
            chars=self.reference_chars,
        )

    def request_part(self, round: int, tokenizer_digest: str) -> list[Any]:
        """With how much is read of documents."""
        asked = super().request_part(round, tokenizer_digest)
        return [*asked, self.reference_chars] if self.level == 3 else asked

    def scope(self, tokenizer_digest: str) -> list[Any]:
        """Those of its streams, where it is short for some."""
        parts = [recipe.scope(tokenizer_digest) for _, recipe in self.streams.values()]
        return parts or super().scope(tokenizer_digest)

    @cached_property
    def _shape(self) -> Recipe:
        """A recipe whose units are like these."""
        rounds: Mapping[str, Any] = {each: getattr(self, each) for each in ("generations", "per_round", "rounds")}
        if self.layout == "pairs":
            return Rephrase(web=False, **rounds)
        return Stitch(web="first" if self.layout == "append" else "none", separator=self.separator, **rounds)

    @property
    def unit_layout(self) -> Layout:
        """As ``layout`` says."""
        return self._shape.unit_layout

    @property
    def reads_documents(self) -> bool:
        """Only where pairs are appended to them."""
        return self._shape.reads_documents

    @property
    def sweeps(self) -> int:
        """One, or as many as there are pairs."""
        return self._shape.sweeps

    def slots_of_sweep(self, sweep: int, documents: Ints, seed: int) -> Ints | None:
        """The sweep's own, or all."""
        return self._shape.slots_of_sweep(sweep, documents, seed)

    def order_of_round(self, round: int) -> int:
        """That of the sweep which first wants it."""
        return self._shape.order_of_round(round)

    def last_round_wanted(self, sweep: int) -> int:
        """That of the sweep's own pair, or of all."""
        return self._shape.last_round_wanted(sweep)
