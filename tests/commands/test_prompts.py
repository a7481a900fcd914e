"""The commands ``streamdocs prompts``."""

import pytest
from typer.testing import CliRunner

from streamdocs.commands.cli import commands
from streamdocs.errors import ConfigError
from streamdocs.recipes.programs.styles import AIMS, STYLES
from streamdocs.recipes.prompts import load_prompt


def said(*arguments: str) -> str:
    result = CliRunner().invoke(commands, ["prompts", *arguments])
    if result.exception:
        raise result.exception
    return result.output


def test_the_list_has_every_style_with_its_aim_and_limits():
    lines = said("list").splitlines()
    assert len(lines) == 2 * len(STYLES)
    for name, head, limits in zip(STYLES, lines[::2], lines[1::2], strict=True):
        assert head.split(None, 1) == [name, AIMS[name]]
        assert f"chunk {STYLES[name].chunk:,}, least {STYLES[name].least}, steps " in limits
    assert lines[-7].endswith("steps text (2,048), verdict (512)")


@pytest.mark.parametrize("name", STYLES)
def test_a_style_is_shown_with_all_its_prompts(name: str):
    shown = said("show", name)
    assert shown.startswith(f"after: {AIMS[name]}\nname: {name}\nchunk: {STYLES[name].chunk:,} characters\n")
    for step in STYLES[name].steps:
        assert f"\n--- step {step.name}: {step.parser}" in shown and step.prompt.rstrip() in shown


def test_what_a_step_is_asked_like_is_said():
    assert "--- step question: list <question> up to 4, kind free, max_tokens 600\n" in said("show", "answer")
    assert "--- step verdict: verdict, kind free, max_tokens 512, back text\n" in said("show", "judge")
    assert "kind free, max_tokens 1280, writer template, gates {'max_copied': 1.0, " in said("show", "template-cloze")


def test_a_prompt_of_a_recipe_is_shown_as_it_is():
    assert said("show", "thought") == load_prompt("thought")


def test_a_file_is_shown_and_its_control_characters_are_spelled_out(tmp_path):
    (tmp_path / "ask.txt").write_text("Ask \x1b[2J about {document}")
    (tmp_path / "faq.yaml").write_text("{steps: [{name: q, prompt: ask.txt, n: 2, temperature: 0.0}], join: '|'}")
    path = str(tmp_path / "faq.yaml")
    assert said("show", path) == (
        f"file: {path}\nname: faq\nchunk: all of a document\nleast: 1 characters\ntemplate: '{{q}}'\njoin: '|'\n\n"
        "--- step q: text, kind rephrase, max_tokens 1024, n 2, temperature 0.0\nAsk \\x1b[2J about {document}\n"
    )


def test_a_file_comes_before_a_style_of_its_name_as_in_a_run_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ask.txt").write_text("{document}")
    (tmp_path / "faq").write_text("steps: [{name: q, prompt: ask.txt}]")
    (tmp_path / "easy").mkdir()
    assert said("show", "faq").startswith("file: faq\nname: faq\nchunk: all of a document\n")
    assert said("show", "easy").startswith("after: ")


@pytest.mark.parametrize("name", ["encyclopaedia", "x" * 5000, "\0", "~nobody-of-this-name/x"])
def test_what_is_neither_is_refused(name: str):
    with pytest.raises(ConfigError):
        said("show", name)
