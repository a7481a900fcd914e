"""The lists of what models say, by language: whole, in the form that patterns take them in, and in use."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from streamdocs.recipes import Request
from streamdocs_server.gates import phrases
from streamdocs_server.gates.gates import Accepted, Gates, Rejected
from streamdocs_server.gates.phrases import LANGUAGES, Language

#: Lists of plain text; all others are regular expressions.
PLAIN = {"closing_hints", "request_hints", "meta_phrases", "meta_words", "talk_phrases", "talk_words"}
#: Those that are looked for in lower case.
FOLDED = PLAIN | {"postscripts", "requests", "meta", "about"}
PATTERNS = [name for name in Language.model_fields if name not in PLAIN | {"words", "request_letters"}]

TEXT = "A lock raises boats from one level of a canal to the other, and takes some ten minutes to fill."
REFUSED = {
    "en": "I'm sorry, but I can't rewrite this document.",
    "de": "Es tut mir leid, aber diesen Text kann ich nicht umschreiben.",
    "es": "Lo siento, no puedo reescribir este documento.",
    "fr": "Je suis désolé, mais je ne peux pas réécrire ce document.",
    "it": "Mi dispiace, ma non posso riscrivere questo documento.",
    "ja": "申し訳ありませんが、この文書を書き直すことはできません。",
    "ko": "죄송하지만 이 문서를 다시 쓸 수 없습니다.",
    "pt": "Desculpe, mas não posso reescrever este documento.",
    "ru": "К сожалению, я не могу переписать этот документ.",
    "zh": "很抱歉,我无法改写这篇文档。",
}
INTRODUCED = {
    "de": "Hier ist der Artikel:",
    "en": "Sure! Here is the rewritten article:",
    "es": "Aquí está el artículo:",
    "fr": "Bien sûr ! Voici le texte :",
    "it": "Ecco l'articolo:",
    "ja": "以下は書き直した記事です:",
    "ko": "다음은 기사입니다:",
    "pt": "Aqui está o texto:",
    "ru": "Вот статья:",
    "zh": "好的,以下是改写后的文章:",
}


def check(text: str, document: str = "") -> Accepted | Rejected:
    gates = Gates(min_ratio=None, max_ratio=None, same_language=False, min_shared=0, max_copied=1)
    fields = {"document": document}
    return gates.check(
        text, "stop", Request(kind="rephrase", template="{document}", fields=fields, n=1, max_tokens=512)
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_refuses(language):
    assert check(REFUSED[language]) == Rejected("refusal")
    assert isinstance(check(REFUSED[language], f"He wrote: {REFUSED[language]}"), Accepted)  # the document's own words


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_introduces(language):
    assert check(f"{INTRODUCED[language]}\n\n{TEXT}") == Accepted(TEXT)


@pytest.mark.parametrize("language", LANGUAGES)
def test_lists_are_as_patterns_take_them(language):
    said = LANGUAGES[language]
    for name in PATTERNS:
        for each in said.listed(name):
            assert not re.compile(each).groups, (name, each)  # non-capturing ones alone
            assert not re.match(each, ""), (name, each)  # which would find something everywhere
    for name in FOLDED:
        for each in said.listed(name):
            literal = re.sub(r"\\.|\[[^]]*\]", "", each) if name not in PLAIN else each
            assert literal == literal.lower(), (name, each)
    letters = said.request_letters
    assert bool(said.requests) == bool(letters) == bool(said.request_hints)
    for each in said.requests:
        assert re.match(rf"\W*(?:\?:)?[{letters}]", each), each


def test_every_file_is_read_and_every_list_used():
    folder = Path(phrases.__file__).with_name("languages")
    assert {path.stem for path in folder.iterdir()} == {*LANGUAGES} == {*REFUSED} == {*INTRODUCED}
    assert next(iter(LANGUAGES)) == "en"
    source = Path(phrases.__file__).read_text()
    for name in Language.model_fields:
        assert name in ("words", "request_letters") or re.search(rf"_all\([\"']{name}[\"']\)", source), name


def test_a_list_that_there_is_not_is_refused():
    with pytest.raises(ValidationError, match="refusal\n"):
        Language.model_validate({"refusal": ["non"]})
    assert Language(words={"no": ["n", "non"]}, refusals=["{no} merci{1,2}"]).listed("refusals") == [
        "(?:n|non) merci{1,2}"
    ]
