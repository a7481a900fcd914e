import pytest

from streamdocs._base.untrusted import load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("true", True),
        ("~", None),
        ("", None),
        ("null", None),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        ("-3", -3),
        ("1_000", 1000),
        ("0x1f", 31),
        ("0100", "0100"),
        ("12:30", "12:30"),
        ("2001-01-01", "2001-01-01"),
        ("'1'", "1"),
        ("=", "="),
    ],
)
def test_plain_values_are_those_of_today(text, value):
    found = load_yaml(f"a: {text}".encode())["a"]
    assert found == value and type(found) is type(value)


def test_merges_and_byte_order_marks():
    assert load_yaml("\ufeffa: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}".encode())["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: the key 'a' is there twice"),
        ("a: {x: 1, x: 2}", "line 1, column 11: the key 'x' is there twice"),
        ("a:\n- b: 1\n- c: {d: [{e: 1,\n   'e': 1}]}", "line 4, column 4: the key 'e' is there twice"),
        ("a: {1: x, 1: y}", "the key '1' is there twice"),
        ("a:\n\tb: 1", r"line 2, column 1: .*\\t.* \(indent with spaces\)"),
        ("a: [1,\n2", "line 2, column 2: "),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        ("a: *b", "line 1, column 4: found undefined alias 'b'"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_where(text, message):
    with pytest.raises(ValueError, match=message) as error:
        load_yaml(text.encode())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_are_named(encoding):
    with pytest.raises(ValueError, match=r"line \d is not UTF-8: save the file in this encoding"):
        load_yaml("a: 1\n# café\n".encode(encoding))
