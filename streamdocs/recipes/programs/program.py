"""What a program is: steps that a writer is asked for one after another, and the text that is made of their outputs."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, JsonValue

from streamdocs._base.hashing import digest128, fingerprint
from streamdocs._base.typed import check_types
from streamdocs.errors import ConfigError
from streamdocs.recipes.prompts import fill_prompt, placeholders

#: How a step's answer is read: see ``parsing``.
Parser = Literal["text", "list", "record", "verdict", "concepts"]
#: What a text is held against: its document's rewriting, a thought about it, or neither.
Kind = Literal["rephrase", "thought", "free"]

#: Of the text that was written before a chunk; and of the key concepts that a program chooses.
PREVIOUS, CHOSEN = "previous", "chosen"
#: Of sources: of a document, of what stands around a place in one, and of a walk and its two documents.
FIELDS = ("document", "before", "after", "walk", "first", "second")
MOST_STEPS, MOST_OUTPUTS, MOST_ROWS, MOST_TOKENS = 16, 64, 256, 1 << 24
LEAST_CHUNK, MOST_CHARS = 200, 1 << 30
_NAME = re.compile(r"[a-z]{1,24}")
_RESERVED = {*FIELDS[:3], PREVIOUS}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One prompt, filled and asked of a writer, and how its answer is read.

    What it gives fills ``{name}`` in the prompts after it and in the program's template; a record gives a field for
    each of its tags instead.

    Args:
        name: Lower-case letters.
        prompt: Text of the prompt, with placeholders; in a file, the name of a file with it.
        parser: ``text`` is the answer as it is, ``list`` an output for each ``<tag>…</tag>``, ``record`` one text for
            each of several tags, ``verdict`` accepts, rejects, or sends back once, and ``concepts`` is what a document
            is about.
        tags: Of a list one (default the step's name), of a record all.
        kind: What gates hold a text against: a ``rephrase`` its document, a ``thought`` no length, ``free`` nothing.
        n: Answers to each input; each goes on by itself.
        most: Outputs of one list that go on; further ones are left out.
        once: Whether all that fill the prompt alike share one answer, whatever their slots, rounds and streams.
        deal: Of a list, whether its outputs are dealt, one to each of ``most`` slots, instead of all going on in each.
        max_tokens: Most new tokens of one answer.
        temperature, top_p: Of this step; default as its writer has it.
        writer: Who is asked; default whoever has the slot.
        back: Of a verdict, the earlier step that is done once more where it says ``revise``.
        gates: Limits for its texts in place of the server's (``server.gates``); they are no part of a key.

    Raises:
        ConfigError: A value of another type, or one that cannot be.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    prompt: str = field(repr=False)
    parser: Parser = "text"
    tags: tuple[str, ...] = ()
    kind: Kind = "rephrase"
    n: int = 1
    most: int = 8
    once: bool = False
    deal: bool = False
    max_tokens: int = 1024
    temperature: float | None = None
    top_p: float | None = None
    writer: str | None = None
    back: str | None = None
    gates: Mapping[str, JsonValue] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        what = f"step {self.name}"
        check_types(self, what)
        if self.parser == "list" and not self.tags:
            object.__setattr__(self, "tags", (self.name,))
        faults = {
            "name: 1 to 24 lower-case letters, and no word of its own": not _is_name(self.name),
            "tags: 1 to 24 lower-case letters each, and no two alike": not (
                all(map(_is_name, self.tags)) and len(set(self.tags)) == len(self.tags)
            ),
            f"tags: {len(self.tags)}; a list has one, a record at least one, and others none": (
                len(self.tags) != 1 if self.parser == "list" else (self.parser == "record") != bool(self.tags)
            ),
            f"n={self.n}, most={self.most}; from 1 to {MOST_OUTPUTS}": not (
                1 <= self.n <= MOST_OUTPUTS and 1 <= self.most <= MOST_OUTPUTS
            ),
            f"max_tokens={self.max_tokens}; from 1 to {MOST_TOKENS:,}": not 1 <= self.max_tokens <= MOST_TOKENS,
            f"temperature={self.temperature}; at least 0": self.temperature is not None and self.temperature < 0,
            f"top_p={self.top_p}; above 0, up to 1": self.top_p is not None and not 0 < self.top_p <= 1,
            "back: only a verdict sends back": self.back is not None and self.parser != "verdict",
            "n: one verdict for each input": self.parser == "verdict" and self.n != 1,
            "deal: only a list has outputs to deal": self.deal and self.parser != "list",
            f"n={self.n}; one answer is shared by several slots": (self.once or self.deal) and self.n != 1,
            "once, deal: what all share cannot be dealt to them": self.once and self.deal,
        }
        if found := [fault for fault, there in faults.items() if there]:
            raise ConfigError(f"{what}: {found[0]}")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what it gives."""
        return self.tags if self.parser == "record" else (self.name,)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of what its prompt is filled with, in the order of the alphabet."""
        return tuple(sorted(placeholders(self.prompt)))

    @property
    def fanout(self) -> int:
        """Most outputs that one input gives."""
        return self.n * (self.most if self.parser == "list" and not self.deal else 1)

    def answer(self, ordinal: int) -> int:
        """The number of the answer that a row goes on with, by its ordinal among those that ask the same."""
        return 0 if self.once else ordinal // self.most if self.deal else ordinal

    @cached_property
    def request_part(self) -> list[Any]:
        """All of it that can change the text of an answer, or what is read from it; without its writer."""
        sampling = [self.temperature, self.top_p]
        most = self.most if self.parser == "list" else 1
        return [digest128(self.prompt.encode()), self.parser, list(self.tags), most, self.max_tokens, sampling]


@dataclass(frozen=True, kw_only=True)
class Program:
    """Steps, and what training reads of their outputs.

    Args:
        steps: In the order in which they are done; the first reads the source.
        template: The training text of one row of outputs, with placeholders; default what the last that writes gives.
        join: Text between several of these: of the outputs of one source, and of its chunks.
        chunk: Most characters of a source that are read at once: longer ones are read chunk by chunk, each with the
            end of what was written before it as ``{previous}``. None for the whole of it.
        least: Fewest characters of a training text.
        choose: Name of a step of key concepts; behind it ``{chosen}`` is two or three of these, one a line.
        name: What it is called where it is counted; no part of a key.

    Raises:
        ConfigError: A value of another type, or a step that reads what is not there yet.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    steps: tuple[Step, ...]
    template: str = ""
    join: str = "\n\n"
    chunk: int | None = None
    least: int = 1
    choose: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        check_types(self, "program")
        if not 1 <= len(self.steps) <= MOST_STEPS:
            raise ConfigError(f"program: {len(self.steps)} steps; from 1 to {MOST_STEPS}")
        if self.chunk is not None and not LEAST_CHUNK <= self.chunk <= MOST_CHARS:
            raise ConfigError(f"program: chunk={self.chunk}; from {LEAST_CHUNK} to {MOST_CHARS:,} characters")
        if not 1 <= self.least <= MOST_CHARS:
            raise ConfigError(f"program: least={self.least}; from 1 to {MOST_CHARS:,} characters")
        texts = [step for step in self.steps if step.parser != "verdict"]
        if not texts or self.steps[0].parser == "verdict":
            raise ConfigError("program: the first step writes; a verdict comes after what it judges")
        if not self.template:
            object.__setattr__(self, "template", "\n\n".join(f"{{{name}}}" for name in texts[-1].outputs))
        if self.choose and self.choose not in {step.name for step in self.steps if step.parser == "concepts"}:
            raise ConfigError(f"program: choose={self.choose!r}; it is the name of a step with the parser concepts")
        self._check_names()
        if self.fanout > MOST_ROWS:
            raise ConfigError(f"program: up to {self.fanout} rows of outputs of one source; at most {MOST_ROWS}")

    def _check_names(self) -> None:
        """Raise ConfigError where a step or the template reads what is not there."""
        outputs = [name for step in self.steps for name in step.outputs]
        given = [*outputs, CHOSEN] if self.choose else outputs
        if len(set(given)) < len(given):
            raise ConfigError(f"program: two steps give {max(given, key=given.count)!r}: give one another name")
        there = {*FIELDS, PREVIOUS} - {*given}
        for number, step in enumerate(self.steps):
            before = [each.name for each in self.steps[:number] if each.parser != "verdict"]
            if step.back is not None and step.back not in before:
                raise ConfigError(f"step {step.name}: back={step.back!r}; it is one of {', '.join(before)}")
            if unknown := set(step.inputs) - there - self._remarks(number):
                raise ConfigError(
                    f"step {step.name}: its prompt has {{{min(unknown)}}}, and there is no such thing yet: "
                    f"{', '.join(sorted(there))}"
                )
            there |= {*step.outputs, *([CHOSEN] if step.name == self.choose else [])}
        if unknown := placeholders(self.template) - {*outputs}:
            raise ConfigError(f"program: its template has {{{min(unknown)}}}; the steps give {', '.join(outputs)}")
        if not placeholders(self.template):
            raise ConfigError("program: its template has no placeholder, and so nothing that a step gave")

    def _remarks(self, number: int) -> set[str]:
        """What those who send back to a step, or to one before it, may have remarked; "" before they have."""
        earlier = {step.name for step in self.steps[: number + 1]}
        return {step.name for step in self.steps if step.back in earlier}

    @property
    def reads(self) -> set[str]:
        """Of a source's fields, those that some step reads."""
        inputs = {name for step in self.steps for name in step.inputs}
        return inputs & {*FIELDS} - {name for step in self.steps for name in step.outputs}

    @property
    def read_names(self) -> set[str]:
        """Names of the outputs that training reads."""
        return placeholders(self.template)

    @property
    def fanout(self) -> int:
        """Most rows of outputs of one chunk, those with them that a verdict sends back."""
        names, product = [step.name for step in self.steps], 1
        for number, step in enumerate(self.steps):
            product *= step.fanout
            if step.back is not None:
                product *= math.prod(each.fanout for each in self.steps[names.index(step.back) : number])
        return product

    @property
    def max_tokens(self) -> int:
        """Of the largest of its steps."""
        return max(step.max_tokens for step in self.steps)

    @cached_property
    def request_part(self) -> list[Any]:
        """All of it that can change a training text, without its writers."""
        shared = {step.name: ["once"] * step.once + ["deal"] * step.deal for step in self.steps}
        steps = [[*step.request_part, step.name, step.n, step.back, *shared[step.name]] for step in self.steps]
        return [steps, self.template, self.join, self.chunk, *([self.choose] if self.choose else [])]

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal digits of that."""
        return fingerprint(self.request_part)

    @property
    def style(self) -> str:
        """What it is called where it is counted: its name, or the beginning of its digest."""
        return self.name or self.digest[:8]

    def choice_of(self, ordinal: int) -> int:
        """The number of the choice of key concepts of a row: rows that one answer is dealt to have the same one."""
        names = [step.name for step in self.steps]
        dealt = (step for step in self.steps[names.index(self.choose or "") :] if step.deal)
        return ordinal // next((step.most for step in dealt), 1)

    @cached_property
    def rewrites(self) -> tuple[tuple[str, str], ...]:
        """Names of two outputs, the second of which is the first written anew."""
        written = [step for step in self.steps if step.parser == "text" and step.kind == "rephrase"]
        pairs = combinations(written, 2)
        return tuple((before.name, after.name) for before, after in pairs if before.name in after.inputs)

    def text(self, rows: Sequence[Mapping[str, str]]) -> str:
        """The training text of some rows of outputs."""
        return self.join.join(fill_prompt(self.template, row) for row in rows)


def _is_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and name not in _RESERVED
