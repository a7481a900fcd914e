"""The programs that come with the package, each a style of training text; docs/styles.md has where limits come from."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from streamdocs.errors import ConfigError
from streamdocs.recipes.programs.program import Kind, Program, Step
from streamdocs.recipes.prompts import load_prompt

#: Characters of a token, roughly, in what limits were published for.
_TOKEN = 4
#: Gates: texts that are as long as they have to be, or as short; such as quote what they were made of; and rules, which
#: repeat terms besides, each character of which is a word in scripts without spaces.
_ANY_LENGTH: Mapping[str, Any] = {"min_ratio": None, "max_ratio": None}
_SHORT: Mapping[str, Any] = {"min_ratio": 0.02}
_QUOTES: Mapping[str, Any] = {"max_copied": 1.0}
_RULES: Mapping[str, Any] = {**_QUOTES, "max_repeated_ngrams": 0.3}


class Style(NamedTuple):
    """A program, and what is after."""

    aim: str
    program: Program


def _step(name: str, prompt: str, max_tokens: int, kind: Kind = "rephrase", **others: Any) -> Step:
    return Step(name=name, prompt=load_prompt(prompt), max_tokens=max_tokens, kind=kind, **others)


def _program(name: str, *steps: Step, chunk: int | None = None, least: int = 50, **others: Any) -> Program:
    """A program with its limits in tokens."""
    cap = None if chunk is None else _TOKEN * chunk
    return Program(name=name, steps=steps, chunk=cap, least=_TOKEN * least, **others)


def _one(name: str, chunk: int, max_tokens: int, gates: Mapping[str, Any] | None = None, **others: Any) -> Program:
    """A program of one step, whose prompt has its name."""
    return _program(name, _step("text", name, max_tokens, gates=gates or {}, **others), chunk=chunk)


def _rule(name: str) -> Program:
    """A program that the built-in engine writes by a rule; it has room for all of a chunk."""
    step = _step(name, name, 1280, "free", writer="template", gates=_RULES)
    return _program(f"template-{name}", step, chunk=1000, least=10)


def _styles() -> Iterator[Style]:
    encyclopedia = _step("text", "rephrase", 2048)
    yield Style(
        "an article of an encyclopedia that carries all of the document: the plain rephrase",
        _program("encyclopedia", encyclopedia, chunk=2000),
    )
    yield Style("the same content for beginners: short sentences, everyday words", _one("easy", 300, 512))
    yield Style("the same content for specialists: dense, precise, scholarly", _one("hard", 300, 512))
    yield Style(
        "the whole content as questions and answers that stand by themselves",
        _program("question-answer", _step("pairs", "question-answer", 512), chunk=300),
    )
    yield Style("a shorter, clearer version without what carries no content", _one("distil", 2000, 1600, _SHORT))
    yield Style(
        "a page of a textbook with what can be learned, without opinion, news and talk",
        _one("extract-knowledge", 1400, 1400, _SHORT),
    )
    yield Style(
        "facts, one a line, each understood alone, the most important first",
        _one("knowledge-list", 1000, 600, _SHORT),
    )
    yield Style(
        "a page of frequently asked questions, from a newcomer's to a user's", _one("faq", 6000, 2048, _ANY_LENGTH)
    )
    yield Style(
        "what is compared, dated or listed as tables, with what they show", _one("table", 6000, 2048, _ANY_LENGTH)
    )
    yield Style(
        "a lesson step by step, with reasons, examples and an exercise", _one("tutorial", 6000, 2048, _ANY_LENGTH)
    )
    yield Style(
        "a problem of several steps about the document's quantities, and its solution",
        _one("mathematics", 6000, 2048, kind="free"),
    )
    yield Style(
        "two people talk it all through, one who knows and one who asks", _one("dialogue", 1000, 1600, _ANY_LENGTH)
    )
    yield Style(
        "the thoughts of an expert who has read to the end: reasons, gaps, consequences",
        _one("after-thoughts", 2000, 1024, kind="thought"),
    )
    yield Style(
        "questions of many kinds with short answers, to be read after the document",
        _program("append", _step("pairs", "append", 600, gates=_ANY_LENGTH), chunk=1000, least=100),
    )
    yield Style(
        "questions that a document leads to, each answered in detail, by another writer where one is named",
        _program(
            "answer",
            _step("question", "question", 600, "free", parser="list", most=4),
            _step("answer", "answer", 1600, "free"),
            chunk=2000,
            template="{question}\n\n{answer}",
        ),
    )
    yield Style(
        "an article, what is wrong with it, and the article without that",
        _program(
            "correct",
            _step("draft", "rephrase", 2048),
            _step("critique", "critique", 1024, "thought", gates={"min_thought": 0, "speaks_of_text": True}),
            _step("corrected", "corrected", 2048, gates=_QUOTES),
            chunk=2000,
        ),
    )
    yield Style(
        "an article that goes on only if it is faithful to the document, and once more where it can be mended",
        _program(
            "judge",
            _step("text", "judged", 2048),
            _step("verdict", "verdict", 512, "free", parser="verdict", back="text"),
            chunk=2000,
        ),
    )
    yield Style("by rule, without a model: sentences with a term left out, and the term", _rule("cloze"))
    yield Style("by rule, without a model: headings and what each part begins with", _rule("outline"))
    yield Style("by rule, without a model: sentences with numbers, dates and names", _rule("facts"))


_STYLES = {each.program.name: each for each in _styles()}
#: The packaged programs by name, and what each is after.
STYLES: Mapping[str, Program] = {name: each.program for name, each in _STYLES.items()}
AIMS: Mapping[str, str] = {name: each.aim for name, each in _STYLES.items()}


def style(name: str) -> Program:
    """The packaged program of a name.

    Raises:
        ConfigError: There is none; the message names those that there are.
    """
    if name not in STYLES:
        raise ConfigError(f"style {name!r}: it is one of {', '.join(STYLES)}, or the name of a file with a program")
    return STYLES[name]
