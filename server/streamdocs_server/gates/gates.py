"""First gates on a generation: what is plainly no rephrase or thought never becomes training text."""

import math
import re
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from streamdocs.recipes import Request
from streamdocs_server._base.sentences import sentence_ends

Cause = Literal["invalid text", "empty", "cut off", "refusal", "too short", "too long", "repetition"]
Share = Annotated[float, Field(ge=0, le=1)]

_NGRAM = 10
# With three characters to a token, more than this cannot be expected of `max_tokens`.
_CHARS_PER_TOKEN = 3

# Every pattern is anchored, or bounded after its first character, so that the time is linear in the text.
_CHATTY = re.compile(
    r"\W*(?:(?:sure|certainly|of course|absolutely|okay|ok)\W+)?"
    r"(?:here(?:['’]s| is| are)|below is|the following is|I(?: have|['’]ve) (?:rewritten|rephrased))\b",
    re.IGNORECASE,
)
_TASK = re.compile(r"rewrit|rephras|encyclop|article\b|version\b|thoughts\b|rationale\b", re.IGNORECASE)
_CANNOT = r"I(?: can(?:['’]t|not| not)|(?:['’]m| am) (?:unable|not able)| won['’]t| will not| must decline)\b"
_REFUSAL = re.compile(
    rf"(?:I['’]m sorry|I am sorry|sorry|my apologies|I apologi[sz]e|unfortunately)\b[^\n]{{0,80}}?\b{_CANNOT}"
    rf"|{_CANNOT} (?:to )?(?:assist|comply|fulfil|help (?:you|with)|provide|create|generate|produce|rewrite|rephrase)"
    r"|As an AI(?: model| assistant)?, I\b|As an AI language model\b",
    re.IGNORECASE,
)
# Chinese, Japanese and Korean have no spaces to go by: there, a character is a word.
_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힣]|[^\W぀-ヿ㐀-鿿가-힣]+")


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

    - ``cut_off``: a text that ran into ``max_tokens`` is trimmed to its last whole sentence, rejected, or kept.
    - ``min_ratio``, ``max_ratio``, ``slack``: length of a rephrase against its document; None switches a limit off. The
      lower one looks at no more of the document than ``max_tokens`` can hold; to the upper one ``slack`` is added, so
      that a rephrase of one line may be a paragraph.
    - ``min_thought``: a thought is not compared with anything, it only has to be this long.
    - ``max_repeated_lines``: share of the characters that are in lines seen before.
    - ``max_repeated_ngrams``: share of the 10-word sequences that were seen before. Both defaults are limits of
      Rae et al. 2021 (Gopher, arXiv:2112.11446, table A1), where the second counts characters; 1 switches off.
    """

    cut_off: Literal["trim", "reject", "keep"] = "trim"
    min_ratio: Annotated[float, Field(ge=0)] | None = 0.2
    max_ratio: Annotated[float, Field(gt=0)] | None = 3.0
    slack: Annotated[int, Field(ge=0)] = 300
    min_thought: Annotated[int, Field(ge=0)] = 20
    max_repeated_lines: Share = 0.20
    max_repeated_ngrams: Share = 0.10

    def check(self, text: str, finish_reason: str, request: Request) -> Accepted | Rejected:
        """Accept the text, without chat before it, or say why not. Never raises, and takes time linear in the text.

        A leading ``<think>…</think>`` is dropped, for it talks about the task; from thoughts too, whose own marks are
        the recipe's business. A leading "Here is the rewritten article:" is dropped if more follows.
        """
        try:
            text.encode()
        except UnicodeEncodeError:
            return Rejected("invalid text")
        text = _without_chat(text.strip())
        if _REFUSAL.match(text):
            return Rejected("refusal")
        if finish_reason == "length" and self.cut_off != "keep":
            end = max(sentence_ends(text), default=0)
            if self.cut_off == "reject" or not end:
                return Rejected("cut off")
            text = text[:end]
        fault = self._fault(text, request)
        return Rejected(fault) if fault else Accepted(text)

    def _fault(self, text: str, request: Request) -> Cause | None:
        if not any(map(str.isalnum, text)):
            return "empty"
        document = len(request.fields.get("document", ""))
        if request.kind == "thought":
            shortest, longest = float(self.min_thought), math.inf
        else:
            shortest = (self.min_ratio or 0) * min(document, _CHARS_PER_TOKEN * request.max_tokens)
            longest = math.inf if self.max_ratio is None else self.max_ratio * document + self.slack
        if len(text) < shortest:
            return "too short"
        if len(text) > longest:
            return "too long"
        if _repeated_lines(text) > self.max_repeated_lines or _repeated_ngrams(text) > self.max_repeated_ngrams:
            return "repetition"
        return None


def _without_chat(text: str) -> str:
    if text.startswith("<think>"):
        text = text.partition("</think>")[2].strip()
    head, colon, _ = text[:200].partition(":")
    if colon and "\n" not in head and _CHATTY.match(head) and _TASK.search(head):
        rest = text[len(head) + 1 :].removeprefix("**")
        # The space tells a preamble's colon from that of a URL or a time of day.
        if rest[:1].isspace() and rest.strip():
            return rest.strip()
    return text


def _repeated_lines(text: str) -> float:
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    return 1 - sum(map(len, set(lines))) / sum(map(len, lines))


def _repeated_ngrams(text: str) -> float:
    words = _WORD.findall(text)
    # Hashes, for the tuples themselves would take a hundred times the memory of the text.
    ngrams = [hash(ngram) for ngram in zip(*(islice(words, i, None) for i in range(_NGRAM)), strict=False)]
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0
