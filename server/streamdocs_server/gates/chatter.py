"""What a model says to whoever asked, around a text or in its place, and the document does not say itself."""

from streamdocs_server.gates import phrases
from streamdocs_server.gates.source import Source
from streamdocs_server.gates.words import Words

#: Characters at either end of a text that are looked at, and of a line that may be an introduction.
_HEAD, _LONGEST_LINE = 300, 250


def without_chatter(text: str, source: Source) -> str:
    """A text without what introduces it, labels it or follows it; "" where nothing else is there."""
    return _without_postscript(_without_introduction(text, source), source)


def is_refusal(text: str, source: Source) -> bool:
    """Whether a text says that there will be none."""
    found = phrases.REFUSAL.match(text)
    return found is not None and not source.says(found[0])


def asks_for_document(text: str, source: Source) -> bool:
    """Whether a text asks for what it should have been about."""
    head = text[:_HEAD].lower()
    found = phrases.REQUEST.search(head) if any(map(head.__contains__, phrases.REQUEST_HINTS)) else None
    return found is not None and not source.says(found[0])


def talks_to_itself(text: str, words: Words, source: Source, *, thought: bool) -> bool:
    """Whether a text is reasoning about the task, without any mark of it.

    ``thought``: it is meant to be somebody's thoughts, so that its tone says nothing.
    """
    start = phrases.TALKS.match(text)
    if start and not source.says(start[0]):
        return True
    if thought or len(words.distinct & phrases.TALK_WORDS) < 2:
        return False
    folded = text.lower()
    told = [phrase for phrase in phrases.TALK_PHRASES if phrase in folded and not source.says(phrase)]
    return len(told) >= 2 and sum(min(folded.count(phrase), 3) for phrase in told) >= 4


def speaks_of_the_text(text: str, words: Words, source: Source) -> bool:
    """Whether a text speaks of its document or of itself, as the document does not."""
    about = phrases.ABOUT.match(text[:_HEAD].lower())
    found = [about[0]] if about else []
    if not words.distinct.isdisjoint(phrases.META_WORDS):
        folded = text.lower()
        found += [*phrases.META.findall(folded), *filter(folded.__contains__, phrases.META_PHRASES)]
    return any(not source.says(each) for each in found)


def _without_introduction(text: str, source: Source) -> str:
    for _ in range(5):
        before = text
        text = _after_introduction(text, source)
        text = text[rule.end() :] if (rule := phrases.RULE.match(text)) else text
        if text == before:
            break
    if (fence := phrases.FENCE.fullmatch(text)) and "```" not in fence["inside"] and not source.says("```"):
        text = fence["inside"].strip()
    return text


def _after_introduction(text: str, source: Source) -> str:
    """The text without the first thing that introduces it."""
    line = text[:_LONGEST_LINE].partition("\n")[0]
    if source.asks(line):
        return text[len(line) :].lstrip()
    if phrases.INTRODUCTION.match(line) and phrases.TASK.search(line) and not source.says(line):
        head, colon, tail = line.partition(":" if ":" in line else "：")
        if colon and phrases.TASK.search(head):
            rest = text[len(head) + 1 :].removeprefix("**").removeprefix("*")
            # The space tells an introduction's colon from that of a URL or a time of day.
            if rest[:1].isspace() or colon == "：":
                return rest.strip()
        rest = text[len(line) :].strip()
        if rest and not tail.strip() and line.rstrip(" *_")[-1:] in (".", "!", "…") and phrases.CHAT.match(line):
            return rest
    return _after_label(text, source)


def _after_label(text: str, source: Source) -> str:
    label = phrases.LABEL.match(text)
    if label and not source.says(label[0].strip(' *#_\n"')):
        return text[label.end() :].lstrip()
    assent = phrases.ASSENT.match(text)
    # "Of course," may begin a sentence; with an exclamation mark, or alone on its line, it is an answer.
    if assent and not source.says(assent[0]) and any(mark in assent[0] for mark in "!！\n"):
        return text[assent.end() :]
    return text


def _without_postscript(text: str, source: Source) -> str:
    # In the last half: what stands before may be a remark that belongs to the text.
    folded = text.replace("İ", "i").lower()  # as long as the text
    for remark in phrases.POSTSCRIPT.finditer(folded, max(len(text) // 2 - 1, 0)):
        if not source.says(remark[0]):
            text = text[: remark.start()]
            break
    tail = max(len(text) - _HEAD, 0)
    hinted = any(map(folded[tail : len(text)].__contains__, phrases.CLOSING_HINTS))
    closing = phrases.CLOSING.search(text, tail) if hinted else None
    if closing and not source.says(closing["said"]):
        text = text[: closing.start()]
    text = text.rstrip()
    while "\n" in text and _is_no_line(text[text.rindex("\n") :].strip(), source):
        text = text[: text.rindex("\n")].rstrip()
    return text


def _is_no_line(line: str, source: Source) -> bool:
    """Whether the last line of a text is a rule, or the prompt's."""
    return (len(line) > 2 and line[0] in "-*_=" and len(set(line)) == 1) or source.asks(line)
