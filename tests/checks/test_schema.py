"""The JSON schema of run files: it takes those that can be, and says what is wrong with others."""

import json
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from streamdocs._base.untrusted import load_yaml
from streamdocs.checks.schema import run_file_schema
from streamdocs.commands.cli import commands
from streamdocs.recipes import RECIPES
from streamdocs.steering.controllers import CONTROLLERS
from streamdocs_server.cli import app as server

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def validator():
    schema = run_file_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", ["recipes/styles", "recipes/answer", "streams", "synthllm/run", "recipes/think"])
def test_examples_are_valid(validator, path):
    fields = load_yaml((ROOT / "examples" / f"{path}.yaml").read_bytes())
    assert list(validator.iter_errors(json.loads(json.dumps(fields)))) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"cache_limit": "64gb", "cache_bytes": 1 << 30},
        {"generator": {"endpoint": "http://a"}, "server": {"decontaminate": {"files": "a.jsonl"}}},
        {"generator": {"endpoint": ["http://a", "http://b"], "fields": {"n": None}}},
        {"streams": {"web": {"share": 1, "where": {"language": ["en", "de"], "quality": 3}}}},
        {"mix": {"controller": "ucb", "epoch_size": "10k", "max_reuse": None}},
        {"mix": {"controller": None, "synthetic_fraction": "1/3"}, "recipe": None, "streams": None},
        {"generator": {"endpoint": None}},
        {"mix": {"controller": {"name": "ucb", "floor": 0.1}}},
    ],
)
def test_what_a_file_may_say_in_other_words(validator, fields):
    assert list(validator.iter_errors({"corpus": "corpus", **fields})) == []


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({}, []),
        ({"corpus": "c", "corpse": "c"}, []),
        ({"corpus": "c", "mix": {"window": "many"}}, ["mix", "window"]),
        ({"corpus": "c", "recipe": {"name": "stich", "generations": 4}}, ["recipe", "name"]),
        ({"corpus": "c", "recipe": {"name": "stitch", "generations": -4}}, ["recipe", "generations"]),
        ({"corpus": "c", "recipe": {"name": "stitch", "generations": 4, "rounds": "more"}}, ["recipe", "rounds"]),
        ({"corpus": "c", "mix": {"controller": "abc"}}, ["mix", "controller"]),
        ({"corpus": "c", "mix": {"controller": {"name": "ucb", "floor": 2}}}, ["mix", "controller", "floor"]),
        ({"corpus": "c", "mix": {"synthetic_fraction": 1.5}}, ["mix", "synthetic_fraction"]),
        ({"corpus": "c", "mix": {"max_seq_len": -512}}, ["mix", "max_seq_len"]),
        ({"corpus": "c", "generator": {"endpoint": "htp:/"}}, ["generator", "endpoint"]),
        ({"corpus": "c", "generator": {"endpoint": ["http://a", "htp:/"]}}, ["generator", "endpoint", 1]),
        (
            {"corpus": "c", "streams": {"web": {"share": 1, "where": {"a": {"least": 1}}}}},
            ["streams", "web", "where", "a"],
        ),
        ({"corpus": "c", "streams": {"Web": {"share": 1}}}, ["streams"]),
    ],
)
def test_what_is_wrong_is_found_where_it_is(validator, fields, at):
    (error,) = validator.iter_errors(fields)
    assert list(error.absolute_path) == at


def test_editors_are_told_every_recipe_and_what_fields_mean(validator):
    schema = validator.schema
    assert [each["then"]["title"] for each in schema["$defs"]["Recipe"]["allOf"]] == [*RECIPES]
    sections = schema["$defs"]["Controller"]["then"]
    assert [each["then"]["title"] for each in sections["allOf"]] == [*CONTROLLERS]
    for name in ("MixSection", "ServerSection", "GeneratorSection", "StreamSection"):
        silent = [field for field, each in schema["$defs"][name]["properties"].items() if "description" not in each]
        assert silent == []


@pytest.mark.parametrize(
    ("program", "name", "begun", "whole"),
    [(commands, "streamdocs", "che", "check"), (server, "streamdocs-server", "pro", "probe")],
)
def test_shells_complete_commands(program, name, begun, whole):
    asks = {f"_{name.upper().replace('-', '_')}_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    done = CliRunner().invoke(program, [], prog_name=name, env={**asks, "COMP_WORDS": f"{name} {begun}"})
    assert done.stdout.split() == [whole], done.output


def test_the_command():
    assert json.loads(CliRunner().invoke(commands, ["schema"]).stdout) == run_file_schema()
