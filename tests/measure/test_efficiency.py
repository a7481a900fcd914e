"""Data efficiency: the paper's arithmetic, known ratios found again, and nothing said beyond the runs."""

import json

import numpy as np
import pytest

from streamdocs.errors import ConfigError
from streamdocs.measure.efficiency import efficiencies
from streamdocs.measure.intervals import Chance
from streamdocs.measure.laws import Known, Law
from streamdocs.measure.runs import Measured, grouped, load_runs

LAW = Law(4e3, 0.42, 2.7)
#: Of arXiv 2603.18534 and its public code: web-only 300 M on 203.9 M tokens, its asymptote, stitched without web text.
TOKENS, WEB_LOSS, ASYMPTOTE, STITCHED = 203_867_748.0, 3.5544, 3.449, 3.521


def made(recipe: str, tokens: float, ratio: float = 1.0, seeds: int = 2, generations: int = 0, noise: float = 0.0):
    """Runs that are worth so many times their tokens."""
    rng = np.random.default_rng([seeds, generations, int(tokens)])
    losses = LAW.loss(tokens * ratio) + noise * rng.standard_normal(seeds)
    return [
        Measured(tokens=tokens, loss=float(loss), recipe=recipe, G=generations, seed=seed)
        for seed, loss in enumerate(losses)
    ]


def web(noise: float = 0.0, seeds: int = 2):
    return [
        run for tokens in np.geomspace(1e8, 1.6e9, 5).tolist() for run in made("web", tokens, seeds=seeds, noise=noise)
    ]


@pytest.mark.parametrize("exponent", [0.3, 0.5, 1.0])
def test_the_papers_arithmetic(exponent):
    runs = [
        Measured(tokens=TOKENS, loss=WEB_LOSS, recipe="web"),
        Measured(tokens=TOKENS, loss=STITCHED, recipe="stitch-without-web", G=2),
    ]
    found = efficiencies(grouped(runs), known=Known(exponent, ASYMPTOTE), extrapolate=True)
    (only,) = found.recipes
    # 0.1054 above the asymptote against 0.072: losses are rounded to the third place, so these are, too.
    assert only.excess == pytest.approx(0.1054 / 0.072, abs=1e-6)
    assert 0.1054 / 0.0725 < only.excess < 0.1054 / 0.0715
    assert only.ratio == pytest.approx((0.1054 / 0.072) ** (1 / exponent))
    assert only.data == pytest.approx(TOKENS * only.ratio)
    assert float(found.fit.law.loss(TOKENS)) == pytest.approx(WEB_LOSS, abs=1e-9)
    assert float(found.fit.law.loss(only.data)) == pytest.approx(STITCHED, abs=1e-9)


def test_known_ratios_are_found():
    ratios = {2: 1.18, 8: 1.48, 32: 1.8}
    runs = web(0.002) + [
        run for of, ratio in ratios.items() for run in made("stitch", 2e8, ratio, generations=of, noise=0.002)
    ]
    found = efficiencies(grouped(runs), chance=Chance(120))
    assert [(each.name, each.generations) for each in found.recipes] == [(f"stitch, G = {of}", of) for of in ratios]
    for each, ratio in zip(found.recipes, ratios.values(), strict=True):
        assert each.ratio == pytest.approx(ratio, rel=0.03)
        assert each.ends[0] < each.ratio < each.ends[1] and each.ends[0] < ratio * 1.02 and each.ends[1] > ratio * 0.98
        assert each.data == pytest.approx(each.ratio * 2e8) and not each.why
    assert found.fit.law.exponent == pytest.approx(LAW.exponent, rel=0.1)
    low, high = found.constants["a"]
    assert low < found.fit.law.exponent < high


def test_more_noise_makes_wider_intervals():
    def width(noise: float) -> float:
        (only,) = efficiencies(
            grouped(web(noise) + made("stitch", 3e8, 1.5, generations=4, noise=noise)), chance=Chance(80)
        ).recipes
        return only.ends[1] - only.ends[0]

    assert 3 * width(0.0005) < width(0.005)


def test_nothing_is_said_beyond_the_web_only_runs_unless_it_is_asked_for():
    runs = web() + made("far", 1e9, 4.0) + made("worse", 1e8, 0.5) + made("near", 4e8, 1.5)
    runs.append(Measured(tokens=1e8, loss=LAW.floor - 0.1, recipe="below"))
    found = {each.recipe: each for each in efficiencies(grouped(runs), chance=Chance(0)).recipes}
    assert found["near"].ratio == pytest.approx(1.5, rel=1e-3) and found["near"].ends == (None, None)
    assert found["far"].ratio is None and found["far"].data is None and found["far"].at_least == pytest.approx(1.6)
    assert "D' is more than the 1,600,000,000 tokens" in found["far"].why and "--extrapolate" in found["far"].why
    assert found["worse"].ratio is None and found["worse"].at_most == pytest.approx(1.0)
    assert "does not come below 2.7" in found["below"].why and found["below"].at_least == pytest.approx(16)
    told = {each.recipe: each for each in efficiencies(grouped(runs), chance=Chance(0), extrapolate=True).recipes}
    assert told["far"].ratio == pytest.approx(4.0, rel=1e-2) and told["far"].why == "" and told["far"].at_least is None
    assert told["worse"].ratio == pytest.approx(0.5, rel=1e-2)
    assert told["below"].ratio is None and told["below"].excess is None and told["below"].at_least


def test_the_end_of_an_interval_beyond_the_runs_is_not_told():
    runs = web(0.004) + made("edge", 1e9, 1.58, generations=2, noise=0.004)
    (only,) = efficiencies(grouped(runs), chance=Chance(80)).recipes
    assert only.ends[0] is not None and only.ends[1] is None
    (whole,) = efficiencies(grouped(runs), chance=Chance(80), extrapolate=True).recipes
    assert whole.ends[1] > 1.6 and whole.ends[0] == only.ends[0]


def test_what_determines_no_law_is_refused():
    with pytest.raises(ConfigError, match=r"no run of recipe 'web' .*; there are stitch"):
        efficiencies(grouped(made("stitch", 1e8)))
    with pytest.raises(ConfigError, match=r"2 amounts of data .* do not determine 3 constants .* --asymptote"):
        efficiencies(grouped(made("web", 1e8) + made("web", 2e8)))
    flat = [Measured(tokens=tokens, loss=3.0, recipe="web") for tokens in (1e8, 2e8, 4e8, 8e8)]
    with pytest.raises(ConfigError, match="lose no less with more data"):
        efficiencies(grouped(flat))
    exact = [run for tokens in (1e8, 3e8, 9e8) for run in made("base", tokens, seeds=1)]
    found = efficiencies(grouped(exact + made("stitch", 2e8, 1.5)), web="base")
    assert found.constants is None and found.warnings and found.recipes[0].ends == (None, None)


def test_a_file_of_runs(tmp_path):
    file = tmp_path / "runs.jsonl"

    def load(*lines: object):
        file.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines))
        return load_runs(file)

    run = {"tokens": 100, "loss": 3.5, "recipe": "web"}
    first, second = load(run, "", {**run, "G": 2, "seed": 7, "lr": 0.001})
    assert (first.tokens, first.G, first.seed, first.name) == (100, 0, 0, "web")
    assert (second.name, second.seed) == ("web, G = 2", 7)
    for wrong, said in (
        ({**run, "loss": 0}, "line 2: loss: has to be more than 0"),
        ({**run, "tokens": "many"}, "line 2: tokens: "),
        ({**run, "loss": True}, "line 2: loss: "),
        ('{"tokens": 1, "loss": NaN, "recipe": "web"}', "line 2: loss: "),
        ("{", "line 2: .*JSON"),
        ({"tokens": 1, "loss": 1}, "line 2: recipe: "),
        (run, "line 2: web at 100 tokens with seed 0 stands in line 1 too: of a sweep keep the best"),
    ):
        with pytest.raises(ConfigError, match=said):
            load(run, wrong)
    with pytest.raises(ConfigError, match=r'has no runs: a line is like ."tokens": 203867748'):
        load("")
    with pytest.raises(ConfigError, match=r"nowhere.jsonl cannot be read \(No such file"):
        load_runs(tmp_path / "nowhere.jsonl")
