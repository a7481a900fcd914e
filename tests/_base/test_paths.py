import pytest

from streamdocs._base.paths import expand_path
from streamdocs.errors import ConfigError


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SCRATCH", "/scratch")
    monkeypatch.setenv("JOB", "17")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("NOWHERE", raising=False)


@pytest.mark.parametrize(
    ("path", "expanded"),
    [
        ("a/b", "a/b"),
        ("", ""),
        ("~", "/home/me"),
        ("~/a", "/home/me/a"),
        ("a/~", "a/~"),
        ("./~/a", "./~/a"),
        ("~root/a", "/root/a"),
        ("$SCRATCH/a", "/scratch/a"),
        ("${SCRATCH}/a", "/scratch/a"),
        ("run-$JOB/x${JOB}y", "run-17/x17y"),
        ("~/$JOB", "/home/me/17"),
        ("s3://bucket/$JOB", "s3://bucket/17"),
        ("price$$", "price$"),
        ("$$HOME", "$HOME"),
    ],
)
def test_what_a_path_says(path, expanded):
    assert expand_path(path) == expanded


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("$NOWHERE/a", "the variable NOWHERE is not set"),
        ("a/${NOWHERE}", "the variable NOWHERE is not set"),
        ("$EMPTY/a", "the variable EMPTY is not set"),
        ("~nobody-of-this-name/a", "there is no user ~nobody-of-this-name; a folder of that name is ./~nobody"),
        ("a$", r"a dollar itself is \$\$"),
        ("$5/a", r"a dollar itself is \$\$"),
        ("${A-b}", r"a dollar itself is \$\$"),
    ],
)
def test_what_cannot_be_replaced_is_named(path, message):
    with pytest.raises(ConfigError, match=message):
        expand_path(path)
