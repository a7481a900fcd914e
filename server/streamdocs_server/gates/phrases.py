"""What models say to whoever asked them, as patterns over the lists in ``languages/``, a file for each language.

Each pattern is anchored, or bounded after its first character, so that the time is linear in a text.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

from streamdocs._base.untrusted import load_yaml


class Language(BaseModel, extra="forbid", frozen=True):
    """What is said in one language: regular expressions, or plain text in lower case (hints, letters, phrases, words).

    Args:
        words: Lists by name, which others have in braces.
        assents: With which an answer begins, up to the punctuation that follows.
        introductions: With which a line begins that introduces a text.
        tasks: Of such a line, what tells it from the first sentence of a text.
        adjectives, nouns: Of labels, as in "revised version:".
        labels: Labels of another form, whole.
        postscripts: With which a line begins that is no part of the text above it; in lower case.
        closings: With which the last sentence of a text begins that is no part of it.
        closing_hints: One of these is in all that ``closings`` find.
        refusals: With which a text begins that refuses.
        requests: What asks for the document, in lower case.
        request_letters: Those with which ``requests`` begin.
        request_hints: One of these is in all that ``requests`` find.
        meta, meta_phrases: What speaks of the text; the first in lower case.
        meta_words: One of these is in all that the two find.
        about: With which a text begins that is about another one; in lower case.
        hesitations: Words that may come before ``talks``.
        talks: What a model tells itself about its task, with a template that began its reasoning for it.
        talk_phrases: What is said in reasoning and rarely elsewhere.
        talk_words: One for each of these phrases, or several.
    """

    words: dict[str, list[str]] = {}
    assents: list[str] = []
    introductions: list[str] = []
    tasks: list[str] = []
    adjectives: list[str] = []
    nouns: list[str] = []
    labels: list[str] = []
    postscripts: list[str] = []
    closings: list[str] = []
    closing_hints: list[str] = []
    refusals: list[str] = []
    requests: list[str] = []
    request_letters: str = ""
    request_hints: list[str] = []
    meta: list[str] = []
    meta_phrases: list[str] = []
    meta_words: list[str] = []
    about: list[str] = []
    hesitations: list[str] = []
    talks: list[str] = []
    talk_phrases: list[str] = []
    talk_words: list[str] = []

    def listed(self, name: str) -> list[str]:
        """One of its lists, with those that it names in braces."""
        words = {f"{{{word}}}": _any(alternatives) for word, alternatives in self.words.items()}
        return [_NAMED.sub(lambda named: words[named[0]], each) for each in getattr(self, name)]


_NAMED = re.compile(r"\{[a-z]+\}")


def _any(alternatives: Iterable[str]) -> str:
    return f"(?:{'|'.join(alternatives)})"


def _pattern(*alternatives: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile(_any(alternatives), re.IGNORECASE | flags)


def _languages() -> dict[str, Language]:
    """What is said in each language, by its code; in the order of these, English first."""
    paths = sorted(
        Path(__file__).with_name("languages").glob("*.yaml"), key=lambda path: (path.stem != "en", path.stem)
    )
    return {path.stem: Language.model_validate(load_yaml(path.read_bytes())) for path in paths}


LANGUAGES = _languages()


def _all(name: str) -> tuple[str, ...]:
    """One of the lists, of all languages, each entry once."""
    return tuple(dict.fromkeys(each for language in LANGUAGES.values() for each in language.listed(name)))


#: Markup before the first word.
_LEAD = r"[\s#*_>\"“-]{0,8}"

# --- before a text

_SURE = rf"(?:{_any(_all('assents'))}(?:[!,.:;，。！ —-]+|\n+))"
_ADJECTIVE, _NOUN = _any(_all("adjectives")), _any(_all("nouns"))
ASSENT = _pattern(rf"{_SURE}\s*")
INTRODUCTION = re.compile(
    rf"{_LEAD}{_SURE}{{0,3}}{_LEAD}(?:(?:based on|given|from|using) [^,\n]{{3,60}}, ?)?{_any(_all('introductions'))}",
    re.IGNORECASE,
)
#: Of an introduction, what tells it from the first sentence of a text.
TASK = _pattern(*_all("tasks"))
#: An introduction that is a line of its own, without a colon, and yet no sentence of a text.
CHAT = re.compile(
    rf"{_LEAD}(?:{_SURE}|here(?:['’]s| is) (?:the|your|a|an) (?:{_ADJECTIVE} )+|I(?: have|['’]ve))", re.IGNORECASE
)
LABEL = _pattern(
    rf"{_LEAD}(?:(?:the|your|my|an?|one) )?(?:{_ADJECTIVE}[ -]){{0,4}}{_NOUN}"
    r"(?: (?:text|article|version|document|below|follows))?(?: #?\d{1,2})?(?:\s?\([^)\n]{0,60}\))?"
    r"[*_\"”]{0,3}\s?[:：][*_\"”]{0,3}\s*",
    rf"{_LEAD}(?:(?:the|your|my|an?) )?(?:{_ADJECTIVE}[ -]){{1,4}}{_NOUN}[*_#\s\"”]{{0,6}}(?:\n\s*|$)",
    r"[#*_]{1,6}\s?(?:article|text|document|passage|rewrite|output|response|answer)[*_#]{0,4}\s*(?:\n\s*|$)",
    rf"{_LEAD}(?:please )?(?:re-?write|re-?phrase|paraphrase|re-?word) (?:this|the)\b[^\n:]{{0,120}}"
    r"[:.][*\s]{0,4}\n\s*",
    *_all("labels"),
)
RULE = re.compile(r"\A\s*(?:-{3,}|\*{3,}|_{3,}|={3,})\s*\n\s*")
FENCE = _pattern(r"```(?:markdown|md|text|txt|plaintext)?[ \t]*\n(?P<inside>.*)\n```", flags=re.DOTALL)

# --- behind a text

#: Where such a line follows in the last half of a text, the text has ended. In lower case.
POSTSCRIPT = re.compile(rf"\n[\s#*_>(\[-]{{0,6}}{_any(_all('postscripts'))}", re.MULTILINE)
#: What CLOSING cannot do without, in lower case.
CLOSING_HINTS = _all("closing_hints")
#: The same at the end of a paragraph, of these alone: nothing else begins so.
CLOSING = re.compile(
    rf"(?<=[.!?”\")*。])\s{{0,3}}[*_(]{{0,3}}(?P<said>{_any(_all('closings'))})[^\n]*\Z", re.IGNORECASE
)

# --- in place of a text

REFUSAL = re.compile(rf"\W{{0,4}}{_any(_all('refusals'))}", re.IGNORECASE)
#: One of these is in all that REQUEST finds. To look for them is much faster than a search at every character.
REQUEST_HINTS = _all("request_hints")
_LETTERS = "".join(dict.fromkeys("".join(language.request_letters for language in LANGUAGES.values())))
#: Somewhere in the first lines, in lower case.
REQUEST = re.compile(rf"(?<!\w)(?=[{_LETTERS}]){_any(_all('requests'))}")

# --- about a text: on lower case, and from a few letters on, which is many times faster

META = re.compile(_any(_all("meta")))
META_PHRASES = _all("meta_phrases")
#: One of these is in all that META and META_PHRASES find.
META_WORDS = frozenset(_all("meta_words"))
#: At the beginning alone.
ABOUT = re.compile(rf"\W*{_any(_all('about'))}")

# --- to itself

#: What a model tells itself about its task, with a template that began its reasoning for it.
TALKS = re.compile(
    rf"\W{{0,4}}(?:{_any(_all('hesitations'))}\b[\s,.:!…-]{{1,4}}){{0,3}}{_any(_all('talks'))}", re.IGNORECASE
)
#: What is said in reasoning and rarely elsewhere, in lower case.
TALK_PHRASES = _all("talk_phrases")
#: One for each of these phrases, or several.
TALK_WORDS = frozenset(_all("talk_words"))
