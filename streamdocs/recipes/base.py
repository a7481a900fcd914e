"""Recipes: what a document becomes.

A recipe says which generations it needs of a document and how a *unit* (one document of the training stream) is laid
out from them. The three are those of "Data-efficient pre-training by scaling synthetic megadocs" (arXiv 2603.18534).

Generations come in rounds of ``per_round`` a document. Every generation has a *slot*, 0 to ``generations`` - 1; round r
fills ``per_round`` of them, and after ``cycle`` rounds all are filled. Later rounds fill the same slots anew, so a unit
always uses the newest ``generations`` there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field

from streamdocs._base.arrays import Ints
from streamdocs._base.hashing import digest128
from streamdocs._base.typed import check_types
from streamdocs.errors import ConfigError
from streamdocs.recipes.layout import Layout
from streamdocs.recipes.programs.program import MOST_TOKENS, Program, Step
from streamdocs.recipes.programs.styles import style
from streamdocs.recipes.programs.tasks import DEFAULT_WRITER, Task, deal, make_tasks
from streamdocs.recipes.prompts import load_prompt, placeholders
from streamdocs.recipes.request import Request
from streamdocs.recipes.rules import ErrorRule, GraphRule

#: In ``slots_of_sweep``: this sweep reads the web document itself.
WEB_UNIT = -1

#: Most generations of a document, and rounds: what is worked out for a document has to fit in memory, and the number of
#: a round in 32 bits.
MOST_GENERATIONS, MOST_ROUNDS = 4096, 1 << 31
#: Of an answer.
MostTokens = Annotated[int, Field(ge=1, le=MOST_TOKENS)]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all recipes have in common.

    Args:
        generations: Generations a unit draws on, G.
        per_round: Generations asked for at once, a divisor of G; default G.
        rounds: Rounds in all; ``"enough"`` (default) is as many as G needs, ``None`` endless: always fresh ones.
        prompt: Text of the prompt, with its placeholders; in a run file, the name of a file with it.
        max_tokens: Most new tokens of one generation.
        styles: In place of the two, the weights of the programs by which slots are written: names of packaged ones, or
            programs; in a run file, also names of files with one.
        writers: Who writes, where that is not the default writer: names of writers with their weights, which deal the
            slots; names of steps with the name of their writer.
        errors: How rounds after the first say more of the documents on which the student errs most; default not at all.

    Raises:
        ConfigError: A value of another type, a number that cannot be, or a prompt without its placeholder.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")  # where a run file is read

    name: ClassVar[str]
    kind: ClassVar[Literal["rephrase", "thought"]] = "rephrase"
    #: Whether what a corpus holds out is kept out of a run's texts, also where nobody asks for it.
    protects: ClassVar[bool] = False
    #: The styles of a recipe that has some by default, and whether it takes others.
    default_styles: ClassVar[Mapping[str | Program, int] | None] = None
    takes_styles: ClassVar[bool] = True

    generations: Annotated[int, Field(ge=1, le=MOST_GENERATIONS)]
    per_round: Annotated[int, Field(ge=1)] | None = None
    rounds: Annotated[int, Field(ge=1, le=MOST_ROUNDS)] | Literal["enough"] | None = "enough"
    prompt: str = field(default_factory=lambda: load_prompt("rephrase"), repr=False)
    max_tokens: MostTokens = 1024
    styles: Mapping[str | Program, int] | None = None
    writers: Mapping[str, int | str] | None = None
    errors: ErrorRule | None = None

    def __post_init__(self) -> None:
        check_types(self, f"recipe {self.name}")
        if self.generations % self.round_size:
            raise ConfigError(f"{self.name}: per_round={self.per_round} does not divide generations={self.generations}")
        if isinstance(self.rounds, int) and self.rounds < self.cycle:
            raise ConfigError(
                f"{self.name}: rounds={self.rounds}, but {self.cycle} are needed to fill {self.generations} slots"
            )
        if not self.programs and (missing := set(self.fields) - placeholders(self.prompt)):
            raise ConfigError(f"{self.name}: the prompt lacks the placeholder {{{sorted(missing)[0]}}}")
        if not self.is_plain:
            self._check_programs()
        if self.errors:
            self.errors.check(self)

    def _check_programs(self) -> None:
        for each in (each for each in fields(self) if self.programs and each.name in ("prompt", "max_tokens")):
            if getattr(self, each.name) != (
                each.default if each.default_factory is MISSING else each.default_factory()
            ):
                raise ConfigError(f"{self.name}: {each.name}: that of the styles' steps is taken: leave it out")
        for task in self.tasks:
            program = task.team.program
            if not program.reads or not program.reads <= {*self.fields}:
                there = " and ".join(f"{{{each}}}" for each in self.fields)
                raise ConfigError(
                    f"{self.name}: style {task.style} reads {', '.join(sorted(program.reads)) or 'nothing'} of a "
                    f"source, and of this recipe's there is {there}"
                )
            if program.chunk and self.fields != ("document",):
                what = f"{self.name}: style {task.style}"
                raise ConfigError(f"{what} reads chunks, of which only whole documents have any")

    @property
    def fields(self) -> tuple[str, ...]:
        """What prompts read of a source."""
        return ("document",)

    @property
    def streams(self) -> Mapping[str, tuple[Fraction, "Recipe"]]:
        """The recipes that it is short for, each with its part of the share, by the end of their streams' names."""
        return {}

    @property
    def compared(self) -> str | None:
        """The output of its programs that no two texts of a stream may share, or nearly; None where they may."""
        return None

    @property
    def graph(self) -> GraphRule | None:
        """The graph through which the walks go that its items are about; None where these are about documents."""
        return None

    @property
    def is_plain(self) -> bool:
        """Whether there is one prompt for all slots, and one call each, of the default writer."""
        return self.programs is None and self.writers is None

    @property
    def programs(self) -> Mapping[str | Program, int] | None:
        """The styles that share its slots, with their weights; None where one prompt is for all of them."""
        return self.default_styles if self.styles is None else self.styles

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """How the text of each slot comes to be."""
        if self.programs is None:
            own = Step(name="text", prompt=self.prompt, kind=self.kind, max_tokens=self.max_tokens)
            programs = {self.name: Program(steps=(own,))}
            names = [self.name] * self.generations
        else:
            found = [style(each) if isinstance(each, str) else each for each in self.programs]
            programs = {each.style: each for each in found}
            if len(programs) < len(found):
                raise ConfigError(f"{self.name}: styles: two of them have one name: {', '.join(programs)}")
            weights = dict(zip(programs, self.programs.values(), strict=True))
            names = deal(weights, self.generations, f"{self.name}: styles")
        return make_tasks([(name, programs[name]) for name in names], self.writers or {})

    @property
    def steps(self) -> list[Step]:
        """Every step of its programs; none where there is one prompt for all."""
        return [] if self.is_plain else [step for task in self.tasks for step in task.team.program.steps]

    def tasks_of_round(self, round: int) -> list[Task]:
        """Those of the slots that a round fills."""
        return [self.tasks[slot].of_cycle(round // self.cycle) for slot in self.slots_of_round(round)]

    def writers_of_round(self, round: int) -> list[str]:
        """The names of those who write a round, by slot and step; of one prompt for all slots, the default writer."""
        if self.is_plain:
            return [DEFAULT_WRITER]
        return [writer for task in self.tasks_of_round(round) for writer in task.team.writers]

    @property
    def writer_names(self) -> list[str]:
        """The names of all who write for it, each once."""
        rounds = range(self.cycle)
        return list(dict.fromkeys(name for round in rounds for name in self.writers_of_round(round)))

    @property
    def most_tokens(self) -> int:
        """Most new tokens that a slot takes, of each chunk."""
        if self.is_plain:
            return self.max_tokens
        return max(sum(step.max_tokens for step in task.team.program.steps) for task in self.tasks)

    @property
    def round_size(self) -> int:
        """Generations a document in one round."""
        return self.generations if self.per_round is None else self.per_round

    @property
    def cycle(self) -> int:
        """Rounds that fill every slot once."""
        return self.generations // self.round_size

    @property
    def total_rounds(self) -> int | None:
        """Rounds in all, None for endless."""
        return self.cycle if self.rounds == "enough" else self.rounds

    @property
    def unit_layout(self) -> Layout:
        """How a unit is laid out."""
        raise NotImplementedError

    @property
    def reads_documents(self) -> bool:
        """Whether a pass over all units also reads every web document once."""
        return True

    @property
    def sweeps(self) -> int:
        """Units a document, and so how often a pass over all units goes over the documents."""
        return 1

    def slots_of_sweep(self, sweep: int, documents: Ints, seed: int) -> Ints | None:
        """The slot that sweep ``sweep`` of a pass reads of each document; None where it reads all together."""
        return None

    def order_of_round(self, round: int) -> int:
        """The sweep in whose order of documents a round is generated: the first that can want it."""
        return round

    def last_round_wanted(self, sweep: int) -> int:
        """The newest round that sweep ``sweep`` (counted from the start of the run) wants."""
        return sweep + self.cycle - 1

    def slots_of_round(self, round: int) -> range:
        """The slots that a round fills."""
        first = round % self.cycle * self.round_size
        return range(first, first + self.round_size)

    @property
    def identity(self) -> dict[str, Any]:
        """Its fields as far as the batches depend on them: all but how long it goes on, and its writers."""
        omitted = {"rounds", "styles", "writers", "errors", *(("prompt", "max_tokens") if self.programs else ())}
        said = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in omitted}
        said |= {"errors": self.errors.identity} if self.errors else {}
        return said if self.is_plain else {**said, "tasks": self._tasks_part(range(self.generations), 0)}

    def request_part(self, round: int, tokenizer_digest: str) -> list[Any]:
        """What goes into the key of a generation: everything about the request that can change the text."""
        if not self.is_plain:
            return ["program", self.round_size, self._tasks_part(self.slots_of_round(round), round // self.cycle)]
        return [self.kind, digest128(self.prompt.encode()), self.max_tokens, self.round_size]

    def _tasks_part(self, slots: range, cycle: int) -> list[Any]:
        tasks = [self.tasks[slot].of_cycle(cycle) for slot in slots]
        return [[task.team.program.digest, task.ordinal] for task in tasks]

    def scope(self, tokenizer_digest: str) -> list[Any]:
        """What of it decides which generations are asked for, and in which order."""
        requests = [self.request_part(round, tokenizer_digest) for round in range(self.cycle)]
        errors = [self.errors.identity] if self.errors else []
        return [requests, self.generations, self.sweeps, *errors]

    def requests(self, text: str, places: Sequence[int], round: int) -> list[Request]:
        """The requests of one round for a document of ``text``; ``places`` are its characters at the round's cuts."""
        return [self._request({"document": text}, self.round_size)]

    def sources(self, text: str, places: Sequence[int]) -> list[dict[str, str]]:
        """What the program of each slot of a round reads of a document; the arguments are those of ``requests``."""
        return [{"document": text}] * self.round_size

    def cuts(self, tokens: Ints, slots: Ints) -> Ints:
        """Token index at which the generation of each slot goes into its document of ``tokens`` tokens."""
        return np.zeros(np.broadcast(tokens, slots).shape, np.int64)

    @property
    def cuts_at_boundaries(self) -> bool:
        """Whether a cut is moved to where a word or a character begins: see ``TokenBoundaries.nearest``."""
        return False

    def place_of_slot(self, slot: int) -> int:
        """Where a slot's generation stands among the others of its unit."""
        return slot

    def _request(self, fields: dict[str, str], n: int) -> Request:
        return Request(kind=self.kind, template=self.prompt, fields=fields, n=n, max_tokens=self.max_tokens)
