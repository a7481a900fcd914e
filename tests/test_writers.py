"""Writers, styles and programs at the door: what a run file and the dataset's arguments say of them."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from conftest import TEMPLATE, generate
from streamdocs import Program, RunFile, Step, Stitch, StreamingMegadocDataset, Stretch
from streamdocs.errors import ConfigError
from streamdocs.recipes.keys import Generator, Writers
from streamdocs.run import Run
from streamdocs.store import LmdbStore
from streamdocs_server.cli import app
from streamdocs_server.gates.gates import Gates
from streamdocs_server.gates.steps import gates_of
from streamdocs_server.work.desk import make_desk

FILE = {"corpus": "corpus", "store": "store", "recipe": {"name": "stitch", "generations": 4}}
TWO = {"small": {"engine": "template"}, "large": {"engine": "openai", "endpoint": "http://there", "model": "large"}}
PROGRAM = {"steps": [{"name": "text", "prompt": "mine.txt"}]}


def write(folder: Path, fields: dict, program: dict = PROGRAM, prompt: str = "Tell of {document}") -> Path:
    (folder / "mine.txt").write_text(prompt)
    (folder / "mine.yaml").write_text(yaml.safe_dump(program))
    (folder / "run.yaml").write_text(yaml.safe_dump({**FILE, **fields}, sort_keys=False))
    return folder / "run.yaml"


def recipe(**fields) -> dict:
    return {"recipe": {"name": "stitch", "generations": 4, **fields}}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (recipe(styles={"esay": 1}), r"style 'esay': it is one of encyclopedia, easy, .*, or the name of a file"),
        (recipe(styles={"faq": 0}), r"styles: faq: 0; a weight is a whole number from 1 on"),
        (recipe(styles={"faq": "many"}), r"styles"),
        (recipe(styles={"faq": 1}, max_tokens=77), r"max_tokens: that of the styles' steps is taken: leave it out"),
        (recipe(styles={"faq": True}), r"styles: each has one name, and a whole number"),
        (recipe(styles={"mine.yaml": 1, "./mine.yaml": 1}), r"styles: each has one name, and a whole number"),
        ({"writers": {"template": {"engine": "template"}}}, r"rules that write without a model have that name"),
        (recipe(styles={}), r"styles: none is named"),
        (recipe(styles={"faq": 1, "table": 2}), r"4 slots cannot be dealt exactly by weights .*a multiple of 3"),
        (recipe(styles={"faq": 1}, prompt="mine.txt"), r"prompt: that of the styles' steps is taken: leave it out"),
        (recipe(writers={"answer": "small"}), r"'small' names the writer of a step, and the steps are text"),
        (recipe(writers={"small": 3}) | {"writers": {}}, r"writers"),
        (recipe(name="stretch", styles={"faq": 1}), r"style faq reads document"),
        ({"writers": TWO, "generator": {"model": "m"}}, r"writers say what generator does"),
        (
            {"writers": {"large": {"engine": "openai", "endpoint": "http://there"}}},
            r"writers\.large: .*model is needed",
        ),
        ({"writers": {"Large": {"engine": "template"}}}, r"writers"),
        ({"writers": {"small": {"engine": "template", "colour": "red"}}}, r"writers\.small\.colour"),
    ],
)
def test_what_cannot_be_is_told_with_its_field(fields, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        RunFile.load(write(tmp_path, fields))


@pytest.mark.parametrize(
    ("program", "prompt", "said"),
    [
        ({"steps": []}, "", r"0 steps; from 1 to 16"),
        ({"steps": [{"name": "Text", "prompt": "mine.txt"}]}, "{document}", r"name: 1 to 24 lower-case letters"),
        ({"steps": [{"name": "document", "prompt": "mine.txt"}]}, "{document}", r"no word of its own"),
        (PROGRAM, "{before}", r"style mine reads before"),
        (PROGRAM, "nothing at all", r"style mine reads nothing"),
        (PROGRAM, "{document} {later}", r"its prompt has \{later\}, and there is no such thing yet"),
        ({**PROGRAM, "template": "{other}"}, "{document}", r"its template has \{other\}; the steps give text"),
        ({**PROGRAM, "template": "words"}, "{document}", r"no placeholder"),
        ({**PROGRAM, "chunk": 10}, "{document}", r"chunk=10; from 200 to 1,073,741,824 characters"),
        ({"steps": [{"name": "text", "prompt": "mine.txt", "parser": "verdict"}]}, "{document}", r"first step writes"),
        (
            {"steps": [{"name": "text", "prompt": "mine.txt", "n": 64, "parser": "list", "most": 64}]},
            "{document}",
            r"256",
        ),
        ({**PROGRAM, "least": 10**30}, "{document}", r"least=1000000000000000000000000000000; from 1 to"),
        ({"steps": [{"name": "text", "prompt": "none.txt"}]}, "{document}", r"none\.txt cannot be read"),
    ],
)
def test_a_program_that_cannot_be_is_told(program, prompt, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        RunFile.load(write(tmp_path, recipe(styles={"mine.yaml": 1}), program, prompt))


def test_gates_of_a_step_that_cannot_be_are_told_before_anything_is_asked():
    step = Step(name="text", prompt="{document}", gates={"max_ratios": 3})
    with pytest.raises(ConfigError, match=r"step text: gates: .*max_ratios"):
        gates_of(Gates(), step)


def test_a_recipe_that_names_nobody_is_told_to_server_and_trainer(tmp_path, small_corpus):
    file = RunFile.load(write(tmp_path, recipe(writers={"nobody": 1}) | {"writers": TWO, "corpus": str(small_corpus)}))
    with pytest.raises(ConfigError, match=r"writer 'nobody': the writers of this run are small, large"):
        make_desk(file)
    with pytest.raises(ConfigError, match=r"writer 'nobody': the writers of this run are .*small, large"):
        Run.of(file, file.who_writes())


@pytest.mark.parametrize("option", ["--endpoint=http://there", "--model-name=m", "--tokens-per-second=9"])
def test_options_of_the_one_generator_are_refused_where_there_are_writers(option, tmp_path):
    told = CliRunner().invoke(app, ["serve", str(write(tmp_path, {"writers": TWO})), option])
    assert told.exit_code == 1 and "the run file has writers, small, large: say it there" in told.output


def test_the_first_writer_writes_what_names_nobody_and_only_who_is_asked_is_begun(tmp_path):
    file = RunFile.load(write(tmp_path, {"writers": TWO}))
    desk = make_desk(file)
    assert [writer.name for writer in desk.writers] == ["small"] and desk[""] is desk["small"] is desk.default
    file = RunFile.load(write(tmp_path, recipe(writers={"large": 1}) | {"writers": TWO}))
    assert [writer.name for writer in make_desk(file).writers] == ["large"]
    file = RunFile.load(write(tmp_path, {"recipe": {"name": "template", "generations": 4}}))
    assert [writer.name for writer in make_desk(file).writers] == ["template"]


def test_servers_that_are_started_for_writers_have_logs_of_their_own(tmp_path):
    started = {"engine": "sglang", "model_path": "Qwen/Qwen3-8B", "model": "qwen"}
    writers = {"one": started, "two": started, "three": {**started, "server_log": "mine.log"}}
    file = RunFile.load(write(tmp_path, {"writers": writers}))
    logs = [Path(section.server_log) for section in file.sections_of_writers.values()]
    assert logs == [tmp_path / name for name in ("sglang-one.log", "sglang-two.log", "mine.log")]


def test_one_writer_with_a_name_is_that_generator(small_corpus):
    """A run that names its only writer reads what one that has a generator has had written."""
    plain = {"corpus": str(small_corpus), "store": "store", "recipe": Stitch(generations=2)}
    generator = RunFile(**plain, generator={"model": "m", "temperature": 0.5})
    writers = RunFile(**plain, writers={"mine": {"engine": "openai", "model": "m", "temperature": 0.5}})
    one, other = (Run.of(file, file.who_writes()) for file in (generator, writers))
    assert one.fingerprint == other.fingerprint and one.stream().scope.id == other.stream().scope.id


def test_the_dataset_takes_writers_and_programs_as_arguments(small_corpus, tmp_path):
    talk = Program(name="talk", steps=(Step(name="text", prompt="Talk of {document}"),))
    mixed = Stitch(generations=4, styles={talk: 1, "faq": 1}, writers={"small": 1, "large": 1})
    writers = {"small": TEMPLATE, "large": Generator(model="template", revision="2")}
    options = {"local": small_corpus, "synthetic_fraction": "0.5", "max_seq_len": 64, "window": 32, "batch_size": 4}
    store = LmdbStore(tmp_path / "store")
    made = StreamingMegadocDataset(**options, store=store, recipe=mixed, writers=writers)
    generate(made.run, store)
    told = {(each.style, each.writer) for p in range(256) for each in made.explain(p) if each.generation}
    assert told == {(style, writer) for style in ("talk", "faq") for writer in ("small", "large")}
    file = {
        "corpus": str(small_corpus),
        "store": str(tmp_path / "store"),
        "writers": {"small": {}, "large": {"model": "template", "revision": "2"}},
        "mix": {"synthetic_fraction": "0.5", "max_seq_len": 64, "window": 32},
        **{"recipe": {"name": "stitch", "generations": 4, "styles": {"talk.yaml": 1, "faq": 1}}},
    }
    file["recipe"]["writers"] = {"small": 1, "large": 1}
    (tmp_path / "talk.txt").write_text("Talk of {document}")
    (tmp_path / "talk.yaml").write_text(yaml.safe_dump({"steps": [{"name": "text", "prompt": "talk.txt"}]}))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(file, sort_keys=False))
    read = StreamingMegadocDataset.from_run_file(tmp_path / "run.yaml", batch_size=4)
    assert read.run.fingerprint == made.run.fingerprint
    assert all((read[p]["input_ids"] == made[p]["input_ids"]).all() for p in range(64))
    with pytest.raises(ConfigError, match="writers"):
        StreamingMegadocDataset.from_run_file(tmp_path / "run.yaml", batch_size=4, writers={"small": TEMPLATE})


def test_prompts_of_each_step_are_shown_with_what_is_not_known_yet_left_open(small_corpus, tmp_path):
    fields = {"corpus": str(small_corpus), "recipe": {"name": "judge", "generations": 2}}
    run_file = write(tmp_path, fields)
    shown = CliRunner().invoke(app, ["show-prompts", str(run_file)])
    assert shown.exit_code == 0, shown.output
    assert "style judge, step text, writer default" in shown.output and "{text}" in shown.output
    lines = CliRunner().invoke(app, ["show-prompts", str(run_file), "--json"]).output.splitlines()
    assert [json.loads(line)["n"] for line in lines] == [2, 2]


def test_prompts_of_steps_that_slots_share_are_shown_as_often_as_they_are_asked(small_corpus, tmp_path):
    levels = {"name": "synthllm", "generations": 10, "levels": {1: "1/2", 2: "1/4", 3: "1/4"}}
    run_file = write(tmp_path, {"corpus": str(small_corpus), "recipe": levels})
    shown = CliRunner().invoke(app, ["show-prompts", str(run_file)])
    assert shown.exit_code == 0, shown.output
    assert all(left_open in shown.output for left_open in ("{chosen}", "{walk}", "{first}", "{second}", "{question}"))
    lines = CliRunner().invoke(app, ["show-prompts", str(run_file), "--json"]).output.splitlines()
    # Two lists of five questions and an answer each; then twice the concepts once, for documents and for the graph, and
    # a question and an answer for each slot.
    assert [json.loads(line)["n"] for line in lines] == [2, 10, 1, 10, 10, 1, 10, 10]


def test_stretch_takes_programs_over_what_stands_around_its_cuts(small_corpus, store):
    program = Program(steps=(Step(name="text", prompt="{before} and then {after}", kind="thought"),), name="bridge")
    dataset = StreamingMegadocDataset(
        local=small_corpus,
        store=store,
        recipe=Stretch(generations=2, per_round=1, styles={program: 1}),
        generator=TEMPLATE,
        synthetic_fraction="0.5",
        max_seq_len=64,
        window=32,
        batch_size=4,
    )
    generate(dataset.run, store)
    assert any(each.style == "bridge" for p in range(128) for each in dataset.explain(p))


def test_writers_know_their_names():
    writers = Writers({"small": TEMPLATE})
    assert writers[""] == writers["small"] == writers.default and {*writers} == {"", "small", "template"}
    assert len(writers) == 3
