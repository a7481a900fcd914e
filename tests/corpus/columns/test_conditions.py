import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from streamdocs._base.hashing import fingerprint
from streamdocs._base.untrusted import faults, load_yaml
from streamdocs.corpus import Where
from streamdocs.corpus.columns.file import ColumnWriter
from streamdocs.corpus.columns.selection import select
from streamdocs.errors import ConfigError


def where_of(yaml: str) -> Where:
    return Where.model_validate(load_yaml(yaml.encode()))


@pytest.mark.parametrize(
    "equal",
    [
        ("{quality: {min: 3}, language: [en, de]}", "{language: [de, en, de], quality: {min: 3.0}}"),
        ("{language: en}", "{language: [en]}", "{language: {any_of: en}}", "language: {any_of: [en], none_of: null}"),
        ("{good: true}", "{good: 1}", "{good: {any_of: [1.0, true]}}"),
        ("{year: {none_of: [2, 1]}}", "{year: {none_of: [1, 2, 2.0]}}"),
    ],
)
def test_what_means_the_same_has_one_identity(equal):
    first, *others = [where_of(each) for each in equal]
    for other in others:
        assert other == first and fingerprint(other.identity) == fingerprint(first.identity)
    assert Where.model_validate(first.identity) == first
    assert Where.model_validate(first) == first


def test_what_is_said_of_conditions():
    told = where_of("{b: {min: 3, max: 1234567.5}, a: [xy, x, z, 'y y', a, b, c], c: {none_of: [1, 0.1]}}")
    assert str(told) == "a any_of a, b, c, x, xy and 2 more; b min 3, max 1234567.5; c none_of 0.1, 1"


def test_what_means_something_else_has_another_identity():
    conditions = ["{a: 1}", "{a: '1'}", "{b: 1}", "{a: {min: 1}}", "{a: {max: 1}}", "{a: {none_of: 1}}", "{a: 1, b: 1}"]
    assert len({fingerprint(where_of(each).identity) for each in conditions}) == len(conditions)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("{}", "it names no column"),
        ("[quality]", "has to be names"),
        ("{quality: {}}", "quality: it says nothing: give min, max, any_of or none_of"),
        ("{quality: null}", "quality: it says nothing"),
        ("{quality: {least: 3}}", "quality.least: no such field"),
        ("{quality: {min: '3'}}", "quality.min: has to be a number"),
        ("{quality: {min: .nan}}", "quality.min: .*finite"),
        ("{quality: {min: true}}", "quality.min"),
        ("{quality: {min: 3, max: 2}}", "quality: min 3 is more than max 2"),
        ("{language: []}", "language.any_of: no value"),
        ("{language: {none_of: []}}", "language.none_of: no value"),
        ("{language: [en, 3]}", "language.any_of: both numbers and strings"),
        ("{language: {min: 3, none_of: en}}", "language: of both numbers and strings"),
        ("{quality: .inf}", "quality.any_of"),
        ("{quality: 9007199254740993}", "quality.any_of.*more digits than a float has"),
        ("{quality: [1, null]}", "quality.any_of.1: no column has such a value: null"),
        ("{quality: [[1]]}", "quality.any_of.0: no column has such a value: neither number nor string"),
        ("{3: 3}", "3"),
    ],
)
def test_conditions_that_cannot_be(yaml, message):
    with pytest.raises(ValidationError) as raised:
        where_of(yaml)
    assert re.search(message, faults(raised.value)), faults(raised.value)


numbers = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e9, 1e9))
strings = st.text("aé\0 ", max_size=2)


@st.composite
def columns(draw):
    """Kind, values and a condition of each of some columns."""
    rows = draw(st.integers(1, 40))
    found = {}
    for name in draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True)):
        kind, values = draw(st.sampled_from([("number", numbers), ("string", strings)]))
        several = st.lists(values, min_size=1, max_size=4)
        condition = {"any_of": several, "none_of": several}
        if kind == "number":
            least, most = sorted([draw(values), draw(values)])
            condition |= {"min": st.just(least), "max": st.just(most)}
        chosen = draw(st.lists(st.sampled_from(sorted(condition)), min_size=1, unique=True))
        taken = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        found[name] = (kind, taken, {each: draw(condition[each]) for each in chosen})
    return found


def meets(value, condition) -> bool:
    return (
        value is not None
        and value >= condition.get("min", value)
        and value <= condition.get("max", value)
        and value in condition.get("any_of", [value])
        and value not in condition.get("none_of", [])
    )


@settings(deadline=None)
@given(columns(), st.integers(1, 9), st.integers(0, 5))
def test_selections_are_what_plain_python_finds(tmp_path_factory, drawn, batch_rows, most_distinct):
    folder = tmp_path_factory.mktemp("split")
    (folder / "columns").mkdir()
    section = {"documents": len(next(iter(drawn.values()))[1]), "columns": {}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamdocs.corpus.columns.file.BATCH_ROWS", batch_rows)
        patch.setattr("streamdocs.corpus.columns.file.MOST_DISTINCT", most_distinct)
        for name, (kind, values, _) in drawn.items():
            writer = ColumnWriter(folder / "columns" / f"{name}.arrow")
            for value in values:
                writer.write(value)
            section["columns"][name] = writer.finish(kind)
            assert section["columns"][name]["missing"] == values.count(None)
    where = Where.model_validate({name: condition for name, (_, _, condition) in drawn.items()})
    expected = [
        row
        for row in range(section["documents"])
        if all(meets(values[row], condition) for _, values, condition in drawn.values())
    ]
    if expected:
        chosen = select(folder, section, where, lambda name: folder / name)
        assert chosen.dtype == "int32" and chosen.tolist() == expected
    else:
        with pytest.raises(ConfigError, match="none of the"):
            select(folder, section, where, lambda name: folder / name)
