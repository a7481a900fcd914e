"""Rules of recipes: rounds that say more of hard documents."""

import pytest
import yaml

from streamdocs import RunFile
from streamdocs.errors import ConfigError
from streamdocs.recipes import Append, Rephrase, Stitch, Stretch, SynthLLM
from streamdocs.recipes.rules import ErrorRule

RULE = ErrorRule()


def test_a_rule_says_exact_shares():
    assert ErrorRule(share=0.25).identity == RULE.identity == ["1/4", 4, "mean"]
    assert [RULE.repeats(sources) for sources in (0, 3, 4, 103)] == [0, 0, 1, 25]
    assert ErrorRule(share="1/3").repeats(3 * 10**9) == 10**9


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"share": 0}, "share=0.0; above 0"),
        ({"share": 0.6}, "at most 1/2"),
        ({"share": "much"}, "is not a number"),
        ({"share": True}, "share"),
        ({"cap": 1}, "cap=1; from 2"),
        ({"cap": 257}, "cap=257"),
        ({"cap": 2.5}, "cap"),
        ({"reference": "median"}, "reference"),
    ],
)
def test_what_cannot_be_is_refused(fields, fault):
    with pytest.raises(ConfigError, match=fault):
        ErrorRule(**fields)


@pytest.mark.parametrize(
    "make",
    [
        lambda **more: Rephrase(generations=4, per_round=1, web=False, **more),
        lambda **more: Rephrase(generations=1, web=False, rounds=None, **more),
        lambda **more: Stitch(generations=4, web="none", rounds=3, **more),
        lambda **more: SynthLLM(generations=4, per_round=2, **more),
        lambda **more: SynthLLM(generations=4, level=2, layout="megadoc", rounds=None, **more),
    ],
)
def test_it_is_part_of_what_is_asked_for_but_of_no_key(make):
    plain, hard, other = make(), make(errors=RULE), make(errors=ErrorRule(cap=3))
    assert plain.request_part(1, "t") == hard.request_part(1, "t")
    assert len({str(each.scope("t")) for each in (plain, hard, other)}) == 3
    assert "errors" not in plain.identity and hard.identity["errors"] == ["1/4", 4, "mean"] != other.identity["errors"]


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda **more: Rephrase(generations=4, per_round=1, **more), "tokens of their documents"),
        (lambda **more: Stitch(generations=4, per_round=1, **more), "tokens of their documents"),
        (lambda **more: Append(generations=4, per_round=1, **more), "tokens of their documents"),
        (lambda **more: Stretch(generations=4, per_round=1, **more), "tokens of their documents"),
        (lambda **more: SynthLLM(generations=4, per_round=2, layout="append", **more), "tokens of their documents"),
        (lambda **more: Stitch(generations=4, per_round=1, web="none", **more), "several rounds"),
        (lambda **more: SynthLLM(generations=4, per_round=2, layout="megadoc", **more), "several rounds"),
        (lambda **more: SynthLLM(generations=4, per_round=2, level=3, **more), "about walks"),
        (lambda **more: SynthLLM(generations=4, per_round=2, levels={1: "1/2", 3: "1/2"}, **more), "about walks"),
        (lambda **more: Rephrase(generations=4, web=False, **more), "one round"),
    ],
)
def test_units_that_are_of_their_documents_are_refused(make, fault):
    make()
    with pytest.raises(ConfigError, match=fault):
        make(errors=RULE)


def test_a_run_file_says_it(tmp_path):
    recipe = {"name": "rephrase", "generations": 4, "per_round": 1, "web": False, "errors": {"share": "1/5", "cap": 3}}
    fields = {"corpus": "corpus", "store": "store", "recipe": recipe}
    (path := tmp_path / "run.yaml").write_text(yaml.safe_dump(fields))
    assert RunFile.load(path).recipe.errors == ErrorRule(share="1/5", cap=3)
    for errors, fault in [({"shares": 1}, "errors"), (3, "errors"), ({"cap": "many"}, "errors.*cap")]:
        path.write_text(yaml.safe_dump({**fields, "recipe": {**recipe, "errors": errors}}))
        with pytest.raises(ConfigError, match=fault):
            RunFile.load(path)
