import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdocs.graph.names import MOST_CHARACTERS, normalised

SAME = [
    ("Gene  Expression", "gene-expression", "GENE_EXPRESSION", " gene/expression. "),
    ("theory", "Theories"),
    ("movie", "movies"),
    ("pie chart", "Pie Charts"),
    ("tie", "ties"),
    ("class", "classes"),
    ("virus", "viruses"),
    ("bus", "buses"),
    ("database", "databases"),
    ("size", "sizes"),
    ("tax", "taxes"),
    ("cache", "caches"),
    ("branch", "branches"),
    ("wish", "wishes"),
    ("hero", "heroes"),
    ("shoe", "shoes"),
    ("idea", "ideas"),
    ("day", "days"),
    ("RNA", "RNAs"),
    ("Newton's method", "Newton\u2019s method", "Newton method"),
    ("Straße", "STRASSE"),
    ("ﬁeld", "fields"),
    ("caf\u00e9", "cafe\u0301", "CAFÉS"),
    ("C++", " c++ "),
    ("H₂O", "h2o"),
    ("हिन्दी", " हिन्दी "),
    ("", "...", "–", "\ud800", "\x00 \u200b", "'"),
]
DIFFERENT = [
    "C",
    "C++",
    "C#",
    "c 2",
    "bas",
    "bass",
    "basis",
    "status",
    "gas",
    "हन द",
    "हिन्दी",
    "cafe",
    "café",
    "dns",
    "dn",
]


@pytest.mark.parametrize("names", SAME, ids=lambda names: names[0] or "nothing")
def test_one_name(names):
    assert len({normalised(name) for name in names}) == 1


def test_names_that_stay_apart():
    assert len({normalised(name) for name in DIFFERENT}) == len(DIFFERENT)


def test_where_nothing_is_left():
    assert normalised(SAME[-1][1]) == "" and normalised("+") == "+"


@given(st.text(st.characters(), max_size=40))
def test_any_text_becomes_words_with_one_space_between(name):
    form = normalised(name)
    assert form == " ".join(form.split()) and form.isprintable()
    form.encode()  # no halves of characters
    assert form == normalised(f" {name}.") == normalised(name.replace(" ", " - "))
    assert normalised(name.upper()) == normalised(name.upper().lower())


@pytest.mark.parametrize("unit", ["\u0301\u0316", "s", "ies", "+", "- ", "\ufdfa", "\U0001f600"])
def test_time_and_memory_are_bounded(unit):
    began = time.perf_counter()
    form = normalised(unit * 200_000)
    assert len(form) <= 18 * MOST_CHARACTERS and time.perf_counter() - began < 1
