import re

import pytest

from streamdocs.errors import ConfigError
from streamdocs.recipes.programs.files import load_program
from streamdocs.recipes.programs.styles import AIMS, STYLES, style
from streamdocs.recipes.prompts import PACKAGED, load_prompt

NAMES = [
    "encyclopedia",
    "easy",
    "hard",
    "question-answer",
    "distil",
    "extract-knowledge",
    "knowledge-list",
    "faq",
    "table",
    "tutorial",
    "mathematics",
    "dialogue",
    "after-thoughts",
    "append",
    "answer",
    "correct",
    "judge",
    "template-cloze",
    "template-outline",
    "template-facts",
]

PROGRAM = """
steps:
  - {name: question, prompt: ask.txt, parser: list, most: 2, kind: free, max_tokens: 100}
  - name: answer
    prompt: rephrase
    temperature: 0.2
    gates: {max_copied: 1.0}
template: "{question} {answer}"
chunk: 4000
least: 10
"""


def written(folder, text: str):
    (folder / "ask.txt").write_text("Ask something: {document}")
    (folder / "mine.yaml").write_text(text)
    return folder / "mine.yaml"


def test_the_packaged_styles_are_these():
    assert list(STYLES) == list(AIMS) == NAMES
    assert [style(name).name for name in NAMES] == NAMES


def test_another_style_is_refused_with_those_that_there_are():
    with pytest.raises(
        ConfigError, match=r"style 'hrad': it is one of encyclopedia, easy, hard, .* or the name of a f"
    ):
        style("hrad")


def test_encyclopedia_asks_as_a_plain_recipe_does_and_correct_begins_as_encyclopedia():
    [text] = style("encyclopedia").steps
    assert text.prompt == load_prompt("rephrase")
    assert style("correct").steps[0].request_part == text.request_part


@pytest.mark.parametrize("name", NAMES)
def test_a_style_reads_whole_documents_within_its_limits(name: str):
    program = style(name)
    assert program.reads == {"document"}
    assert program.chunk is not None and 1000 <= program.chunk <= 24_000
    assert 1 < program.least < program.chunk / 4
    assert program.fanout <= 4


def test_a_rule_has_the_built_in_writer_and_nothing_else_has_one():
    writers = {name: {step.writer for step in STYLES[name].steps} for name in NAMES}
    assert {name for name in NAMES if writers[name] == {"template"}} == {n for n in NAMES if n.startswith("template-")}
    assert {name for name in NAMES if writers[name] == {None}} == {n for n in NAMES if not n.startswith("template-")}


def test_no_two_prompts_share_a_name_and_none_is_left_over():
    used = {step.prompt for program in STYLES.values() for step in program.steps}
    recipes = {"rephrase", "thought", "short-rephrase", "short-thought", "concepts"}
    recipes |= {name for name in PACKAGED if name.startswith("synthllm-")}
    assert {load_prompt(name) for name in PACKAGED if name not in recipes} <= used
    assert len({load_prompt(name) for name in PACKAGED}) == len(PACKAGED) == len(used) + len(recipes) - 1


def test_no_prompt_asks_for_tags_that_its_step_does_not_read():
    for program in STYLES.values():
        for step in program.steps:
            tags = {*re.findall(r"<(\w+)>", step.prompt)}
            assert tags == ({"remark", "verdict"} if step.parser == "verdict" else {*step.tags})


def test_a_program_is_read_from_a_file(tmp_path):
    program = load_program(written(tmp_path, PROGRAM))
    question, answer = program.steps
    assert (program.name, program.chunk, program.least, program.template) == ("mine", 4000, 10, "{question} {answer}")
    assert (question.prompt, question.tags, question.most) == ("Ask something: {document}", ("question",), 2)
    assert (answer.prompt, answer.temperature, answer.gates) == (load_prompt("rephrase"), 0.2, {"max_copied": 1.0})
    assert program == load_program(str(tmp_path / "mine.yaml"))
    assert load_program(written(tmp_path, PROGRAM + "name: other")).name == "other"


def test_a_file_beside_it_comes_before_a_packaged_prompt(tmp_path):
    (tmp_path / "rephrase").write_text("Mine: {document}")
    assert load_program(written(tmp_path, PROGRAM)).steps[1].prompt == "Mine: {document}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not hold `steps:`, a list of steps with a name and a prompt each"),
        ("steps: 3", "does not hold `steps:`"),
        ("- name: x", "does not hold `steps:`"),
        ("steps: [", "cannot be read: not YAML: line 1"),
        ("steps: []", "0 steps; from 1 to 16"),
        ("steps: [3]", "steps.0: "),
        ("steps: [{name: x}]", "steps.0.prompt: is missing"),
        ("steps: [{name: x, prompt: 7}]", "steps.0.prompt: .*quote it"),
        ("steps: [{name: x, prompt: gone.txt}]", "prompt .*gone.txt cannot be read"),
        ("steps: [{name: x, prompt: $NOT_SET_AT_ALL}]", "the variable NOT_SET_AT_ALL is not set"),
        ("steps: [{name: X, prompt: ask.txt}]", "step X: name: 1 to 24 lower-case letters"),
        ("steps: [{name: x, prompt: ask.txt, promt: y}]", "steps.0.promt: no such field; did you mean prompt"),
        ("steps: [{name: x, prompt: answer}]", r"step x: its prompt has \{question\}, and there is no such thing yet"),
        ("steps: [{name: x, prompt: ask.txt}]\nchunks: 5", "chunks: no such field; did you mean chunk"),
        ("steps: [{name: x, prompt: ask.txt}]\nchunk: 5", "chunk=5; from 200 to"),
        ("steps: [{name: x, prompt: ask.txt, temperature: .inf}]", "temperature"),
        ("steps: [{name: x, prompt: ask.txt}]\nsteps: []", "the key 'steps' is there twice"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path, text: str, said: str):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=f"program {re.escape(str(path))}.*{said}") as caught:
        load_program(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"program .*none\.yaml cannot be read"):
        load_program(tmp_path / "none.yaml")
