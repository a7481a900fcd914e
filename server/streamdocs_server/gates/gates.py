"""Gates on a generation: what is plainly no rewriting of its document, or no thought, never becomes training text."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pydantic
from pydantic import Field, InstanceOf

from streamdocs._base.sentences import last_sentence_end
from streamdocs.recipes import Request
from streamdocs_server.gates import chatter, marks
from streamdocs_server.gates.likeness import is_another_language, is_copy, is_off_topic, repeats_instructions
from streamdocs_server.gates.overlap import Protected
from streamdocs_server.gates.repetition import end_before_loop, repeats, repeats_lines
from streamdocs_server.gates.source import Source, source_of
from streamdocs_server.gates.words import NGRAM, Words

Cause = Literal[
    "invalid text",
    "empty",
    "only reasoning",
    "cut off",
    "chat markup",
    "refusal",
    "asks for the document",
    "speaks of the text",
    "prompt echo",
    "too short",
    "too long",
    "repetition",
    "copy",
    "another language",
    "off topic",
    "duplicate",
    "not as asked",
    "too few",
    "judged unfit",
    "contaminated",
    "asked before",
]
Share = Annotated[float, Field(ge=0, le=1)]

# With three characters to a token, more than this cannot be expected of `max_tokens`.
_CHARS_PER_TOKEN = 3


@dataclass(frozen=True)
class Accepted:
    """A text to keep: a stripped part of what was generated."""

    text: str


@dataclass(frozen=True)
class Rejected:
    """A text to record as rejected, and why."""

    cause: Cause


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class Gates:
    """Limits for a generation. Lengths are in characters; a limit out of range raises ``pydantic.ValidationError``.

    - ``chat``: whether a model's reasoning, chat tokens, labels and remarks are taken off, and what refuses, asks for
      the document, speaks of it or repeats the prompt is rejected. What the document says itself is never touched.
    - ``speaks_of_text``: whether a text may all the same speak of its document or of itself, as a critique does.
    - ``cut_off``: a text that ran into ``max_tokens`` is trimmed to its last whole sentence, rejected, or kept.
    - ``min_ratio``, ``max_ratio``, ``slack``: length of a rephrase against its document; None switches a limit off. The
      lower one looks at no more of the document than ``max_tokens`` can hold; to the upper one ``slack`` is added, so
      that a rephrase of one line may be a paragraph.
    - ``min_thought``: a thought is not compared with anything, it only has to be this long.
    - ``max_repeated_lines``: share of the characters that are in lines seen before.
    - ``max_repeated_ngrams``: share of the 10-word sequences that were seen before. Both defaults are limits of
      Rae et al. 2021 (Gopher, arXiv:2112.11446, table A1), where the second counts characters; 1 switches off. A line
      or clause that comes twice is no repetition, however short the text. What ends in a loop is kept up to it.
    - ``max_copied``: share of the 10-word sequences that are the document's own; 1 switches off.
    - ``same_language``: whether a text has to be in the language of its document.
    - ``min_shared``: share of a rephrase's words of four letters and more (each once, by their beginnings) that the
      document has, too: below it is off topic. 0 switches off.
    - ``distinct``: whether the generations of a document have to differ from each other; who asks for them compares.

    ``protected`` are texts with which none may have words in common: what overlaps with them is "contaminated".
    """

    chat: bool = True
    speaks_of_text: bool = False
    cut_off: Literal["trim", "reject", "keep"] = "trim"
    min_ratio: Annotated[float, Field(ge=0)] | None = 0.2
    max_ratio: Annotated[float, Field(gt=0)] | None = 3.0
    slack: Annotated[int, Field(ge=0)] = 300
    min_thought: Annotated[int, Field(ge=0)] = 20
    max_repeated_lines: Share = 0.20
    max_repeated_ngrams: Share = 0.10
    max_copied: Share = 0.80
    same_language: bool = True
    min_shared: Share = 0.15
    distinct: bool = True
    protected: InstanceOf[Protected] | None = field(default=None, repr=False, metadata={"in_file": False})

    def __post_init__(self) -> None:
        if self.max_ratio is not None and (self.min_ratio or 0) > self.max_ratio:
            raise ValueError(f"min_ratio {self.min_ratio} is more than max_ratio {self.max_ratio}: nothing can be both")

    def check(self, text: str, finish_reason: str, request: Request, *, reasoned: bool = False) -> Accepted | Rejected:
        """Accept the text, or the part of it that is a rewriting, or say why not.

        Never raises, and takes time linear in the text.

        Args:
            text: What was generated.
            finish_reason: ``"length"`` where it ran into ``max_tokens``.
            request: What was asked for.
            reasoned: Whether the model reasoned elsewhere, so that a text without content is no accident.
        """
        try:
            text.encode()
        except UnicodeEncodeError:
            return Rejected("invalid text")
        source = source_of(request)
        whole = text = text.strip()
        words, fault, ended = Words(text), None, False
        if self.chat:
            text, fault, ended = self._answer(text, words, source, request, reasoned)
            words = words if text == whole else Words(text)
        if not fault:
            text, words, fault = self._whole(text, words, cut=finish_reason == "length" and not ended)
        fault = fault or self._fault(text, words, source, request)
        return Rejected(fault) if fault else Accepted(text)

    def without_reasoning(self, text: str, request: Request) -> str:
        """A text without a model's own reasoning, stripped; "" where nothing else is there, or it is none at all."""
        try:
            text.encode()
        except UnicodeEncodeError:
            return ""
        return marks.without_reasoning(text.strip(), source_of(request)) if self.chat else text.strip()

    def _answer(
        self, text: str, words: Words, source: Source, request: Request, reasoned: bool
    ) -> tuple[str, Cause | None, bool]:
        """A text without what surrounds it, what is wrong with that, and whether it was ended by a mark.

        ``words``: those of the whole text.
        """
        answer = marks.without_reasoning(text, source)
        if (text or reasoned) and not answer:
            return "", "only reasoning", False
        answer, ended = marks.without_markup(answer, source)
        answer = chatter.without_chatter(answer, source)
        if self.max_copied < 1 and (rest := source.cut_from(answer)) != answer:
            answer = chatter.without_chatter(rest, source)
        thought = request.kind == "thought"
        faults: tuple[tuple[Cause, bool], ...] = (
            ("chat markup", marks.left_over(answer, source)),
            ("refusal", chatter.is_refusal(answer, source)),
            ("asks for the document", chatter.asks_for_document(answer, source)),
            ("only reasoning", chatter.talks_to_itself(answer, words, source, thought=thought)),
            ("speaks of the text", not self.speaks_of_text and chatter.speaks_of_the_text(answer, words, source)),
        )
        return answer, next((cause for cause, found in faults if found), None), ended

    def _whole(self, text: str, words: Words, *, cut: bool) -> tuple[str, Words, Cause | None]:
        """As much of a text as is whole, its words, and what is wrong with it."""
        if repeats(words, self.max_repeated_ngrams):
            end = end_before_loop(text, words)
            if end == len(text):
                return text, words, "repetition"
            text, words = text[:end], words.up_to(text, end)
            said = len(words.listed) > NGRAM and not repeats(words, self.max_repeated_ngrams)
            return text, words, None if said else "repetition"
        if cut and self.cut_off != "keep":
            end = last_sentence_end(text)
            text, words = text[:end], words.up_to(text, end)
            return text, words, "cut off" if self.cut_off == "reject" or not text else None
        return text, words, None

    def _fault(self, text: str, words: Words, source: Source, request: Request) -> Cause | None:
        document = len(request.fields.get("document", ""))
        if request.kind != "rephrase":
            shortest, longest, shared = float(self.min_thought if request.kind == "thought" else 1), math.inf, 0.0
        else:
            shortest = (self.min_ratio or 0) * min(document, _CHARS_PER_TOKEN * request.max_tokens)
            longest = math.inf if self.max_ratio is None else self.max_ratio * document + self.slack
            shared = self.min_shared
        checks: tuple[tuple[Cause, Callable[[], bool]], ...] = (
            ("empty", lambda: not any(map(str.isalnum, text))),
            ("too short", lambda: len(text) < shortest),
            ("too long", lambda: len(text) > longest),
            ("repetition", lambda: repeats_lines(text, self.max_repeated_lines)),
            ("prompt echo", lambda: self.chat and repeats_instructions(words, source)),
            ("copy", lambda: is_copy(text, words, source, self.max_copied)),
            ("another language", lambda: self.same_language and is_another_language(words, source)),
            ("off topic", lambda: is_off_topic(words, source, shared)),
            ("contaminated", lambda: self.protected is not None and self.protected.overlap(words) is not None),
        )
        return next((cause for cause, found in checks if found()), None)
