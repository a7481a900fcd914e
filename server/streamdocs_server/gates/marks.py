"""Markup that surrounds an answer and is no part of it: a model's own reasoning, and the tokens of chat templates.

Marks are told by their kind, not from a list of models: a bracket, and in it a word for thinking, answering or a turn.
Where the document has a mark itself, or a sentence merely mentions one, it is text.
"""

import re
from itertools import chain

from streamdocs_server.gates import phrases
from streamdocs_server.gates.source import Source

_OPENING, _CLOSING = r"(?:<\|?|\[|◁|＜[|｜]?|<｜|【)", r"(?:\|?>|\]|▷|[|｜]?＞|｜>|】)"
_THINKING = (
    r"(?:\w{1,8}:)?(?:think(?:ing)?(?:_\w{1,8})?|thoughts?(?:_process)?|reason(?:ing)?|reflection|ponder(?:ing)?"
    r"|scratch_?pad|(?:inner_|internal_)?monologue|chain_of_thought|cot|analysis|planning|deliberation|思考)"
)
_ANSWERING = (
    r"(?:(?:final_)?(?:answer|response|solution|output|result)|article|document|text|passage|summary|rewrite"
    r"|(?:rewritten|rephrased|revised)_\w{1,12}|begin_of_box|end_of_box)"
)
_BEGIN, _END = r"(?:begin_(?:of_)?|start_(?:of_)?)?", r"(?:/|end_(?:of_)?)"


def _mark(before: str, name: str) -> str:
    return rf"{_OPENING} ?{before}{name} ?{_CLOSING}"


_REASONING = re.compile(_mark(_BEGIN, _THINKING), re.IGNORECASE)
_REASONED = re.compile(_mark(_END, _THINKING), re.IGNORECASE)
_ANSWER = re.compile(_mark(_BEGIN, rf"(?P<name>{_ANSWERING})"), re.IGNORECASE)
_ANSWERED = re.compile(_mark(_END, _ANSWERING), re.IGNORECASE)
_LAST_TAG = re.compile(rf"\s*{_ANSWERED.pattern}\s*\Z", re.IGNORECASE)
# Reasoning in words alone, and the words behind which the answer is. The first kind is never anything else.
_HEADED = re.compile(
    r"(?P<surely>analysis(?=[a-z\"'])|[#*\s]{0,6}thinking(?: process\b|\.\.\.|…)"
    r"|here (?:is|are) my (?:thought process|reasoning(?: steps)?)\b)"
    r"|[#*\s]{0,6}(?:thinking|reasoning|chain of thought|thought process|analysis)[*\s]{0,4}(?::|\n)",
    re.IGNORECASE,
)
_FINAL = re.compile(
    r"assistant ?final\s*|\.\.\. ?done thinking\.?\s*|\[BEGIN FINAL RESPONSE\]\s*"
    r"|^[#*\s]{0,6}(?:here is my (?:response|answer)|(?:final|my) (?:answer|response|output|article|version|text))"
    r"[*\s]{0,4}(?::[*\s]{0,4}|\n\s*)",
    re.IGNORECASE | re.MULTILINE,
)
# What begins a channel and what it is for ("<|channel|>final<|message|>", "<|channel>thought"), or ends a nameless one.
_CHANNEL = re.compile(r"<\|channel\|?>\s?(?P<name>[a-z]*)(?:<\|message\|>|\n)?|<channel\|>")
_CONTROL = re.compile(
    r"<[|｜][\w▁:/ -]{2,40}[|｜]?>|<[\w▁-]{2,40}[|｜]>|</?(?:start|end)_of_(?:turn|text|image)>|</?s>"
    r"|<(?:eos|bos|pad|unk|sep|cls|mask|eod|eot)>|\[/?(?:INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS)\]|<</?SYS>>"
    r"|</?(?:user|assistant|system|human|bot|ai)>|<reserved_\d+>|\[(?:BEGIN|END) FINAL RESPONSE\]|<0x0A>"
)
# The same in words: somebody else begins to speak.
_SPEAKER = re.compile(r"\n\n(?:Human ?:|### ?(?:Instruction|Input|Human|User|Assistant|Response) ?:)")
_BRACKETS = ("<", "[", "◁", "＜", "【")
_BRACKET = re.compile(rf"[{''.join(map(re.escape, _BRACKETS))}]")
_ANY = re.compile(
    "|".join(
        re.sub(r"\(\?P<\w+>", "(?:", each.pattern)
        for each in (_REASONING, _REASONED, _ANSWER, _ANSWERED, _CHANNEL, _CONTROL)
    ),
    re.IGNORECASE,
)
# Those between the turns of a chat: what follows is another one.
_TURN = re.compile(r"end|eo[tsmd]|return|/s>|start|user|human|instruct|input|pad|inst\b|sys", re.IGNORECASE)
# Who speaks, as a template writes it after the mark that begins a turn.
_ROLE = re.compile(r"\s*(?:assistant|model|bot|ai|response)\b:?\s*", re.IGNORECASE)


def without_reasoning(text: str, source: Source) -> str:
    """The answer, behind the reasoning that stands before it; "" where there is reasoning alone."""
    if has_marks(text):
        if channels := [each for each in _CHANNEL.finditer(text) if not source.says(each[0])]:
            last = channels[-1]
            return text[last.end() :].lstrip() if last["name"] in (None, "final", "response", "answer") else ""
        opened = _REASONING.match(text)
        opens = opened is not None and not source.says(opened[0])
        end = _last_close(text, source, opened_at_start=opens)
        if end or opens:
            return text[end:].lstrip() if end else ""
    if (headed := _HEADED.match(text)) and not source.says(headed[0]):
        if finals := [each for each in _FINAL.finditer(text) if not source.says(each[0])]:
            return text[finals[-1].end() :].lstrip()
        if headed["surely"]:
            return ""
    return text


def _last_close(text: str, source: Source, *, opened_at_start: bool) -> int:
    """Where the last reasoning ends, 0 where none does."""
    end = 0
    for match in _REASONED.finditer(text):
        alone = _begins_line(text, match.start()) and _ends_line(text, match.end())
        if source.says(match[0]):
            # Its own mark, unless what stands before is plainly not the document's.
            closes = alone and (opened_at_start or bool(phrases.TALKS.match(text)))
        else:
            closes = alone or not is_mention(text, match)
        end = match.end() if closes else end
    return end


def without_markup(text: str, source: Source) -> tuple[str, bool]:
    """The text between the tokens of a chat template, and whether it ended at one.

    A mark that is left in it could not be told from text.
    """
    marked = has_marks(text)
    if marked:
        text = _after_tokens(_inside_tags(text, source), source)
    for mark in chain(_CONTROL.finditer(text) if marked else (), _SPEAKER.finditer(text)):
        turns = mark.re is _SPEAKER or (_TURN.search(mark[0]) and not is_mention(text, mark))
        if turns and not source.says(mark[0]):
            return text[: mark.start()].rstrip(), True
    return text, False


def _inside_tags(text: str, source: Source) -> str:
    """A text without the tags of an answer around it."""
    if (answer := _ANSWER.match(text)) and not source.says(answer[0]):
        ends = [match.start() for match in _ANSWERED.finditer(text) if not source.says(match[0])]
        inside = text[answer.end() : ends[-1] if ends else None].strip()
        # The end of an answer is the last that was said, or at least most of it.
        return inside if not is_mention(text, answer) and len(inside) > len(text) // 2 else text
    tag = _LAST_TAG.search(text, max(len(text) - 40, 0)) if text.endswith((">", "]")) else None
    return text[: tag.start()] if tag and not source.says(tag[0]) else text


def _after_tokens(text: str, source: Source) -> str:
    """A text behind the tokens that it begins with, and behind the role they name."""
    while (mark := _CONTROL.match(text)) and not source.says(mark[0]):
        rest = text[mark.end() :]
        text = (rest[role.end() :] if (role := _ROLE.match(rest)) else rest).lstrip()
    return text


def left_over(text: str, source: Source) -> bool:
    """Whether a text still holds reasoning, or a mark that is not its document's and that no sentence speaks of."""
    return has_marks(text) and any(
        not source.says(mark[0]) and not is_mention(text, mark)
        for pattern in (_REASONING, _REASONED, _CONTROL)
        for mark in pattern.finditer(text)
    )


def has_marks(text: str) -> bool:
    """Whether there may be any: one look at a text spares most of them the others."""
    # Most texts have no brackets at all, which is known much faster still.
    return any(map(text.__contains__, _BRACKETS)) and any(
        _ANY.match(text, bracket.start()) for bracket in _BRACKET.finditer(text)
    )


def is_mention(text: str, mark: re.Match[str]) -> bool:
    """Whether a sentence speaks of a mark: it is quoted, or stands between its words."""
    before, after = text[max(mark.start() - 2, 0) : mark.start()], text[mark.end() : mark.end() + 2]
    if before[-1:] in ("`", '"', "'", "“", "‘", "«", "(") and after and not after[0].isspace():
        return True
    if before[-1:] != " " or not after or before[0] in ".!?…:。\n ":
        return False
    return (after[0] == " " and not after[1:].isupper()) or after[0] in ".,;:)"


def _begins_line(text: str, at: int) -> bool:
    return text[max(at - 8, 0) : at].rstrip(" \t")[-1:] in ("", "\n")


def _ends_line(text: str, at: int) -> bool:
    return text[at : at + 8].lstrip(" \t")[:1] in ("", "\n")
