import pytest
import yaml

from streamdocs import RunFile, Stitch, Stretch
from streamdocs.errors import ConfigError
from streamdocs.recipes.keys import Generator
from streamdocs.recipes.prompts import load_prompt

RUN = {"corpus": "corpus", "store": "store", "recipe": {"name": "stitch", "generations": 4}}


def load(tmp_path, **changes) -> RunFile:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({**RUN, **changes}))
    return RunFile.load(path)


def test_defaults_and_relative_paths(tmp_path):
    run = load(tmp_path)
    assert (run.corpus, run.store) == (str(tmp_path / "corpus"), str(tmp_path / "store"))
    assert load(tmp_path, remote="mirror").remote == str(tmp_path / "mirror")
    for elsewhere in ("s3://bucket/corpus", "dbfs:/Volumes/a/corpus"):
        assert load(tmp_path, remote=elsewhere).remote == elsewhere
    assert run.recipe == Stitch(generations=4)
    arguments = run.dataset_arguments()
    # Who it is is found in the store, of those that write so.
    assert arguments["generator"] == {"temperature": 1.0, "top_p": 1.0, "system": None, "extra_body": None}
    assert arguments["synthetic_fraction"] == 0.75 and arguments["window"] == 2048


def test_a_prompt_of_the_users_own(tmp_path):
    (tmp_path / "mine.txt").write_text("From {before} to {after}.")
    run = load(tmp_path, recipe={"name": "stretch", "generations": 2, "prompt": "mine.txt"})
    assert run.recipe == Stretch(generations=2, prompt="From {before} to {after}.")


def test_the_generator_is_named_by_the_file_or_by_who_serves(tmp_path):
    section = load(tmp_path, generator={"engine": "openai", "temperature": 0.5}).generator
    assert section.generator() is None
    assert section.generator(("m", "r")).model == "m" and section.generator(("m", "r")).revision == "r"
    named = load(tmp_path, generator={"model": "m", "revision": "mine"}).generator
    assert named.generator(("m", "r")).revision == "mine"


def test_what_is_asked_for_beside_is_part_of_who_writes(tmp_path):
    plain = load(tmp_path, generator={"model": "m"}).generator.generator()
    assert (
        plain.fingerprint
        == load(tmp_path, generator={"model": "m", "extra_body": {}}).generator.generator().fingerprint
    )
    extra = {"top_k": 20, "chat_template_kwargs": {"enable_thinking": False, "depth": [1, None]}}
    asked = load(tmp_path, generator={"model": "m", "extra_body": extra}).generator.generator()
    turned = load(tmp_path, generator={"model": "m", "extra_body": dict(reversed(extra.items()))}).generator.generator()
    assert asked.extra_body == extra and asked.fingerprint == turned.fingerprint != plain.fingerprint
    assert Generator(model="m").fingerprint == plain.fingerprint and "extra_body" not in plain.fields


@pytest.mark.parametrize("other", [{"temperature": 0.2}, {"top_p": 0.9}, {"system": "x"}, {"extra_body": {"top_k": 1}}])
def test_a_generator_that_samples_otherwise_than_the_file_is_refused(tmp_path, other):
    run = load(tmp_path, generator={"engine": "openai"})
    assert run.dataset_arguments(generator=Generator(model="any"))["generator"] == Generator(model="any")
    with pytest.raises(ConfigError, match=r"generator: .* in the run file"):
        run.dataset_arguments(generator=Generator(model="any", **other))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "colour"),
        ({"generator": {"temperature": -1}}, r"generator\.temperature: .* greater than or equal to 0"),
        ({"generator": {"temperature": float("nan")}}, r"generator\.temperature: .*finite"),
        ({"generator": {"top_p": 5}}, r"generator\.top_p: .* less than or equal to 1"),
        ({"generator": {"top_p": 0}}, r"generator\.top_p: .* greater than 0"),
        ({"generator": {"extra_body": {"stream": True}}}, r"extra_body: stream: .*nothing is streamed"),
        ({"generator": {"extra_body": {"n": 2, "model": "x"}}}, r"extra_body: model, n: "),
        ({"generator": {"extra_body": ["top_k"]}}, "extra_body: .*dictionary"),
        ({"generator": {"fields": {"top_k": None}}}, "generator.fields.top_k"),
        ({"generator": {"temperature": 0.7, "fields": {"temperature": None}}}, "temperature is 0.7, and fields leaves"),
        ({"mix": {"window": "wide"}}, r"mix\.window"),
        ({"mix": {"when_behind": "hope"}}, r"mix\.when_behind"),
        ({"recipe": {"name": "blend"}}, "'blend'; it is one of rephrase, stitch, stretch"),
        ({"recipe": {"name": "stitch", "generations": 4, "sauce": 1}}, "recipe stitch: .*sauce"),
        ({"recipe": {"name": "stitch"}}, "recipe stitch: .*generations"),
        ({"recipe": {"name": "stitch", "generations": 4, "prompt": "none.txt"}}, r"none\.txt"),
        ({"server": {"max_in_flight": 0}}, r"server\.max_in_flight"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, **changes)


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        RunFile.load(tmp_path / "missing.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="cannot be read"):
        RunFile.load(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("[1]")
    with pytest.raises(ConfigError, match=r"list\.yaml"):
        RunFile.load(tmp_path / "list.yaml")


@pytest.mark.parametrize(("name", "kind"), [("stitch", "rephrase"), ("rephrase", "rephrase"), ("stretch", "thought")])
def test_the_preset_for_small_models_fills_in_what_the_file_leaves_out(tmp_path, name, kind):
    def load(**more) -> RunFile:
        path = tmp_path / "run.yaml"
        fields = {"corpus": "c", "store": "s", "recipe": {"name": name, "generations": 2}, "preset": "small", **more}
        path.write_text(yaml.safe_dump(fields))
        return RunFile.load(path)

    run = load()
    assert run.recipe.prompt == load_prompt(f"short-{kind}") and len(run.recipe.prompt) < 200
    assert (run.generator.temperature, run.generator.top_p) == (0.5, 0.9)
    assert "preset" not in run.dataset_arguments()
    (tmp_path / "mine.txt").write_text("Mine: {document} {before} {after}")
    run = load(recipe={"name": name, "generations": 2, "prompt": "mine.txt"}, generator={"temperature": 0.8})
    assert run.recipe.prompt.startswith("Mine") and (run.generator.temperature, run.generator.top_p) == (0.8, 0.9)
    for wrong in ({"preset": "huge"}, {"recipe": []}, {"recipe": {"name": ["x"]}}, {"generator": 3}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            load(**wrong)
