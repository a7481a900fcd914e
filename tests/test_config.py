from fractions import Fraction

import pytest
import yaml

from streamdocs import Generator, Rephrase, RunFile, Stitch, Stretch, SynthLLM
from streamdocs.errors import ConfigError
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
        ({"colour": "red"}, "colour: no such field; there are preset, corpus"),
        ({"stores": "s"}, r": stores: no such field; did you mean store\?"),
        ({"mix": {"windw": 8}}, r"mix\.windw: no such field; did you mean window\?"),
        ({"window": 8}, r"window: no such field here; did you mean mix\.window\?"),
        ({"writers": {"big": {"modl": "m"}}}, r"writers\.big\.modl: no such field; did you mean model\?"),
        ({"mix": 3}, "mix: has to be fields, each with its value$"),
        ({"mix": None}, "mix: has to be fields, .*: leave it out"),
        ({"mix": {"synthetic_fraction": float("nan")}}, r": mix\.synthetic_fraction: 'nan' is not a number$"),
        (
            {"mix": {"synthetic_fraction": True}},
            r": mix\.synthetic_fraction: has to be a number from 0 to 1, or a fr[^;]*$",
        ),
        ({"mix": {"max_seq_len": -512}}, r": mix\.max_seq_len: has to be at least 1$"),
        ({"cache_limit": "64xb"}, "cache_limit: has to be a whole number, or one with a unit"),
        ({"generator": {"endpoint": "htp:/"}}, r"generator\.endpoint\.0: has to be the URL"),
        ({"generator": {"temperature": -1}}, r"generator\.temperature: has to be at least 0"),
        ({"generator": {"temperature": float("nan")}}, r"generator\.temperature: .*finite"),
        ({"generator": {"top_p": 5}}, r"generator\.top_p: has to be at most 1"),
        ({"generator": {"top_p": 0}}, r"generator\.top_p: has to be more than 0"),
        ({"generator": {"extra_body": {"stream": True}}}, r"extra_body: stream: .*nothing is streamed"),
        ({"generator": {"extra_body": {"n": 2, "model": "x"}}}, r"extra_body: model, n: "),
        ({"generator": {"extra_body": ["top_k"]}}, "extra_body: has to be names"),
        ({"generator": {"fields": {"top_k": None}}}, "generator.fields.top_k"),
        ({"generator": {"temperature": 0.7, "fields": {"temperature": None}}}, "temperature is 0.7, and fields leaves"),
        ({"mix": {"window": "wide"}}, r"mix\.window"),
        ({"mix": {"when_behind": "hope"}}, r"mix\.when_behind"),
        ({"recipe": "stitch"}, "recipe: it has a name and fields of its own"),
        ({"recipe": {"name": "blend"}}, "'blend'; it is one of rephrase, stitch, stretch"),
        ({"recipe": {"name": "stitch", "generations": 4, "sauce": 1}}, "recipe stitch: .*sauce"),
        ({"recipe": {"name": "stitch"}}, "recipe stitch: .*generations"),
        ({"recipe": {"name": "stitch", "generations": 4, "prompt": "none.txt"}}, r"none\.txt"),
        ({"server": {"max_in_flight": 0}}, r"server\.max_in_flight"),
        ({"mix": {"name": 7}}, r"mix\.name: .*quote it"),
        ({"mix": {"name": True}}, r"mix\.name: .*quote it"),
        ({"store": "$NOWHERE/store"}, r"store: \$NOWHERE/store: the variable NOWHERE is not set"),
        ({"store": "s3:/bucket/prefix"}, "store: .*two slashes"),
        ({"store": "file:/folder"}, "store: .*two slashes"),
        ({"corpus": "~nobody-of-this-name/x"}, "corpus: .*there is no user"),
        ({"generator": {"model_path": "$NOWHERE"}}, r"generator\.model_path: .*NOWHERE is not set"),
        ({"recipe": {"name": "stitch", "generations": 4, "prompt": "$NOWHERE/p"}}, "recipe: .*NOWHERE is not set"),
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
    for contents in ("[1]", "", "corpus corpus", "7"):
        (tmp_path / "list.yaml").write_text(contents)
        with pytest.raises(ConfigError, match=r"list\.yaml does not hold fields"):
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


def test_a_home_and_variables_in_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "p.txt").write_text("Again: {document}")
    recipe = {"name": "stitch", "generations": 4, "prompt": "$DATA/p.txt"}
    generator = {"server_log": "~/logs/sglang.log", "sglang_python": "${DATA}/python", "model_path": "$DATA"}
    run = load(
        tmp_path, corpus="$DATA/corpus", store="~/store", remote="s3://$HOME", recipe=recipe, generator=generator
    )
    assert (run.corpus, run.store, run.remote) == (f"{tmp_path}/data/corpus", "/home/me/store", "s3:///home/me")
    assert run.recipe.prompt == "Again: {document}"
    generator = run.generator
    assert generator.server_log == "/home/me/logs/sglang.log"
    assert (generator.sglang_python, generator.model_path) == (f"{tmp_path}/data/python", f"{tmp_path}/data")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert RunFile.load("~/run.yaml") == RunFile.load(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stitch(generations="4"), "recipe stitch: generations: has to be a whole number"),
        (lambda: Stitch(generations=2.5), "recipe stitch: generations: has to be a whole number"),
        (lambda: Stretch(generations=True), "recipe stretch: generations: has to be a whole number"),
        (lambda: Rephrase(generations=2, web=1), "recipe rephrase: web: has to be true or false"),
        (lambda: Stitch(generations=2, web="middle"), "recipe stitch: web: has to be 'last', 'first' or 'none'"),
        (lambda: Stitch(generations=2, separator=None), "recipe stitch: separator: has to be text"),
        (
            lambda: Rephrase(generations=2, rounds="all"),
            "recipe rephrase: rounds: has to be a whole number, or 'enough'",
        ),
        (lambda: Rephrase(generations=2, prompt=b"{document}"), "recipe rephrase: prompt: "),
        (lambda: Stitch(generations=2, per_round="1", max_tokens=1.5), "per_round: .*; max_tokens: "),
        (lambda: Generator(model="m", temperature="1"), "generator: temperature: has to be a number"),
        (lambda: Generator(model="m", top_p=float("nan")), "generator: top_p: has to be a finite number"),
        (lambda: Generator(model=None), "generator: model: has to be text"),
    ],
)
def test_values_of_other_types_are_refused_where_they_are_given(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_the_same_message_from_python_and_a_run_file(tmp_path):
    with pytest.raises(ConfigError) as from_python:
        Stitch(generations=2.5, web="middle")
    with pytest.raises(ConfigError) as from_file:
        load(tmp_path, recipe={"name": "stitch", "generations": [], "web": "middle"})
    assert str(from_python.value) in str(from_file.value)


def test_a_whole_number_is_the_same_temperature():
    assert Generator(model="m", temperature=1, top_p=1).fingerprint == Generator(model="m").fingerprint


SYNTHLLM = {"name": "synthllm", "generations": 4, "levels": {1: "1/4", 2: 0.25, 3: "1/2"}}


def test_levels_are_streams_with_exact_parts_of_the_share(tmp_path):
    web = {"share": "1/3"}
    problems = {"share": "2/3", "recipe": SYNTHLLM, "when_behind": "wait"}
    run = load(tmp_path, recipe=None, streams={"web": web, "problems": problems})
    found = run.streams_by_name
    assert {name: section.fraction for name, section in found.items()} == {
        "web": Fraction(1, 3),
        "problems_1": Fraction(1, 6),
        "problems_2": Fraction(1, 6),
        "problems_3": Fraction(1, 3),
    }
    for level in (1, 2, 3):
        section = found[f"problems_{level}"]
        assert section.recipe == SynthLLM(generations=4, level=level) and section.when_behind == "wait"
    assert run.synthetic and run.open_served().location == str(tmp_path / "store")


def test_levels_of_a_single_recipe_are_streams_beside_the_web(tmp_path):
    run = load(tmp_path, recipe=SYNTHLLM, mix={"synthetic_fraction": "3/4"})
    shares = {name: str(section.fraction) for name, section in run.streams_by_name.items()}
    assert shares == {"web": "1/4", "synthetic_1": "3/16", "synthetic_2": "3/16", "synthetic_3": "3/8"}
    recipe = SynthLLM(generations=4, levels={1: "1/4", 2: "1/4", 3: "1/2"})
    arguments = run.dataset_arguments(recipe=recipe)
    assert arguments["recipe"] == run.recipe == recipe
    with pytest.raises(ConfigError, match="a server that reads the run file works for another run"):
        run.dataset_arguments(recipe=SynthLLM(generations=8, levels={1: 1}))
    # Without any share there is nothing to part.
    assert [*load(tmp_path, recipe=SYNTHLLM, mix={"synthetic_fraction": 0}).streams_by_name] == ["web", "synthetic"]


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ({"p": SYNTHLLM, "p_2": {"name": "stitch", "generations": 2}}, "streams with one for each of levels: .*rename"),
        ({"p" * 23: SYNTHLLM}, "streams with one for each of levels: .*rename"),
        ({f"p{n}": SYNTHLLM for n in range(6)}, "streams with one for each of levels: .*rename"),
        ({"p": {**SYNTHLLM, "levels": {1: "1/1000", 2: "999/1000"}}}, None),
        ({"p": {**SYNTHLLM, "levels": {1: "1/999983", 2: "999982/999983"}}}, "share of p_1=.*at most six decimals"),
        ({"p": {**SYNTHLLM, "levels": {1: "1/3"}}}, "levels are 1/3 = 1/3, and have to add up to 1"),
        ({"p": {**SYNTHLLM, "levels": [1, 2]}}, "recipe synthllm: levels: has to be names"),
    ],
)
def test_levels_that_cannot_be_streams_are_told(tmp_path, streams, message):
    shares = {name: {"share": f"1/{len(streams) + 1}", "recipe": recipe} for name, recipe in streams.items()}
    fields = {"recipe": None, "streams": {"web": {"share": f"1/{len(streams) + 1}"}, **shares}}
    if message is None:
        assert len(load(tmp_path, **fields).streams_by_name) == 3
        return
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, **fields)


def test_the_preset_leaves_a_recipe_alone_that_has_its_own_prompts(tmp_path):
    recipe = load(tmp_path, recipe={"name": "synthllm", "generations": 4}, preset="small").recipe
    assert recipe == SynthLLM(generations=4)
