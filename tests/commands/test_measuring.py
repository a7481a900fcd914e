"""``streamdocs evaluate``, ``efficiency``, ``scaling`` and ``presets``, as a user types them."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from conftest import make_corpus, make_texts
from streamdocs.commands.cli import commands
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import ConfigError
from streamdocs.measure import evaluate, held_out
from streamdocs.measure.laws import Law
from streamdocs.measure.models import named

MODEL = f"{Path(__file__).parents[2] / 'examples' / 'model.py'}:LanguageModel"
LAW = Law(4e3, 0.42, 2.7)
RECTIFIED = Law(5e6, 0.52, 14.3, 7e4)


@pytest.fixture
def call(monkeypatch):
    """What a command prints; an error where it raises one."""
    monkeypatch.setenv("COLUMNS", "160")

    def invoke(*arguments: object) -> str:
        return CliRunner().invoke(commands, [*map(str, arguments)], catch_exceptions=False).output

    return invoke


@pytest.fixture(scope="module")
def run_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    make_corpus(folder, make_texts(40), holdout=0.4)
    recipe = {"name": "stitch", "generations": 4}
    fields = {"corpus": "corpus", "store": "store", "recipe": recipe, "mix": {"max_seq_len": 64}}
    (folder / "run.yaml").write_text(yaml.safe_dump(fields))
    torch.save(named(MODEL)(Corpus(folder / "corpus").vocab_size).state_dict(), folder / "model.pt")
    return folder / "run.yaml"


@pytest.fixture
def runs(tmp_path) -> Path:
    """Web-only runs, and two recipes: one within them and one beyond."""
    lines = [
        {
            "tokens": tokens,
            "loss": float(LAW.loss(tokens)) + (0.001, -0.001)[seed],
            "recipe": "web",
            "G": 0,
            "seed": seed,
        }
        for tokens in (1e8, 2e8, 4e8, 8e8)
        for seed in range(2)
    ]
    lines += [
        {"tokens": 2e8, "loss": float(LAW.loss(2e8 * ratio)), "recipe": "stitch", "G": generations}
        for generations, ratio in ((8, 1.5), (32, 9.0))
    ]
    path = tmp_path / "runs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_evaluate(call, run_file, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    weights, corpus = run_file.parent / "model.pt", Corpus(run_file.parent / "corpus")
    command = ["evaluate", weights, run_file, "--model", MODEL, "--batch-size", 3]
    recorded = tmp_path / "runs.jsonl"
    found = json.loads(call(*command, "--json", "--domain", f"same={corpus.local}", "--record", recorded, "--seed", 5))
    model = named(MODEL)(corpus.vocab_size)
    model.load_state_dict(torch.load(weights, weights_only=True))
    expected = evaluate(model, held_out(corpus, 64))
    assert [*found] == ["iid", "short", "long", "same"]
    for name, loss in expected.items():
        assert found[name]["loss"] == pytest.approx(loss.mean, rel=1e-6)
        assert (found[name]["tokens"], found[name]["documents"]) == (loss.tokens, loss.documents)
    assert found["same"]["loss"] == pytest.approx(found["iid"]["loss"], rel=1e-6)
    assert found["iid"]["left_out"] == found["short"]["left_out"] + found["long"]["left_out"] > 0
    call(*command, "--record", recorded, "--name", "mine", "--max-seq-len", 32)
    first, second = (json.loads(line) for line in recorded.read_text().splitlines())
    tokens = int(corpus.tokens_per_document.sum())
    assert first == {"tokens": tokens, "loss": found["iid"]["loss"], "recipe": "stitch", "G": 4, "seed": 5}
    assert (second["recipe"], second["seed"]) == ("mine", 0) and second["loss"] != first["loss"]
    printed = call(*command, "--split-at", 30)
    assert "held-out loss" in printed and f"{found['iid']['loss']:.4f}" in printed
    for wrong, said in (
        (["--domain", "nothing"], r"--domain nothing: it is NAME=FOLDER"),
        (["--device", "abacus"], r"--device abacus: PyTorch has no such device"),
    ):
        with pytest.raises(ConfigError, match=said):
            call(*command, *wrong)


def test_evaluate_what_is_not_there(call, run_file, small_corpus, tmp_path):
    fields = {"corpus": str(small_corpus), "mix": {"synthetic_fraction": 0}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(fields))
    with pytest.raises(ConfigError, match=r"holds no documents out: prepare it with --holdout"):
        call("evaluate", "nowhere", tmp_path / "run.yaml")
    streams = {name: {"share": "1/2", "recipe": {"name": name, "generations": 2}} for name in ("stitch", "rephrase")}
    other = run_file.with_name("streams.yaml")
    other.write_text(yaml.safe_dump({"corpus": "corpus", "store": "store", "streams": streams}))
    with pytest.raises(ConfigError, match=r"has several recipes \(rephrase, stitch\): say by --name"):
        call("evaluate", "nowhere", other, "--record", tmp_path / "runs.jsonl")


def test_efficiency(call, runs, tmp_path):
    found = json.loads(call("efficiency", runs, "--json", "--draws", 50))
    assert found["web"]["a"] == pytest.approx(LAW.exponent, rel=0.1) and found["web"]["E"] == pytest.approx(
        2.7, rel=0.05
    )
    assert found["web"]["intervals"]["a"][0] < found["web"]["a"] < found["web"]["intervals"]["a"][1]
    within, beyond = found["recipes"]
    assert (within["recipe"], within["G"]) == ("stitch", 8) and within["efficiency"] == pytest.approx(1.5, rel=0.02)
    assert within["interval"][0] < within["efficiency"] < within["interval"][1]
    assert beyond["efficiency"] is None and beyond["at_least"] == 4 and "--extrapolate" in beyond["why"]
    (_, told) = json.loads(call("efficiency", runs, "--json", "--draws", 0, "--extrapolate"))["recipes"]
    assert told["efficiency"] == pytest.approx(9, rel=0.1) and told["interval"] == [None, None]
    printed = call("efficiency", runs, "--draws", 30, "--plot", tmp_path / "efficiency.png")
    assert (tmp_path / "efficiency.png").stat().st_size > 10_000
    for expected in (
        "stitch, G = 8",
        "1.50",
        "> 4.00",
        "A / D^a + E, D in tokens: A = ",
        "D' is more than the 800,000,000",
    ):
        assert expected in printed
    with pytest.raises(ConfigError, match=r"--plot .*: name a file like efficiency.png"):
        call("efficiency", runs, "--draws", 0, "--plot", tmp_path / "plot.nothing")


def test_the_papers_arithmetic_as_it_is_typed(call, tmp_path):
    lines = [{"tokens": 203867748, "loss": 3.5544, "recipe": "web"}]
    lines.append({"tokens": 203867748, "loss": 3.521, "recipe": "stitch", "G": 2})
    (tmp_path / "runs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    given = ["--asymptote", "3.449", "--exponent", "1"]
    (only,) = json.loads(call("efficiency", tmp_path / "runs.jsonl", *given, "--extrapolate", "--json"))["recipes"]
    assert round(only["efficiency"], 2) == round(only["excess"], 2) == 1.46
    (only,) = json.loads(call("efficiency", tmp_path / "runs.jsonl", *given, "--json"))["recipes"]
    assert only["efficiency"] is None and round(only["excess"], 2) == 1.46
    with pytest.raises(ConfigError, match="do not determine 2 constants"):
        call("efficiency", tmp_path / "runs.jsonl", "--asymptote", "3.449")


def test_scaling(call, tmp_path):
    path = tmp_path / "runs.jsonl"
    lines = [
        {"tokens": tokens, "loss": float(RECTIFIED.loss(tokens)) + (0.02, -0.02)[seed], "recipe": name, "seed": seed}
        for name in ("level_2", "level_3")
        for tokens in (1e9, 1e10, 1e11, 1e12, 4e12)
        for seed in range(2)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = json.loads(call("scaling", path, "--json", "--draws", 40, "--hold-out", 1, "--at", "1e13"))
    assert [*found] == ["level_2", "level_3"]
    each = found["level_3"]
    assert each["b"] == pytest.approx(0.52, rel=0.1) and {*each["intervals"]} == {"B", "D_l", "b", "E"}
    assert [point["held_out"] for point in each["points"]] == [False] * 4 + [True, False]
    assert each["points"][4]["covered"] is True and each["points"][5]["measured"] is None
    assert each["held_out_errors"]["rectified"] < each["held_out_errors"]["power"]
    printed = call("scaling", path, "--draws", 40, "--hold-out", 1, "--plot", tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 10_000
    for expected in ("level_2", "held out", "B / (D_l + D^b) + E, D in tokens: B = ", "error on what was held out"):
        assert expected in printed
    with pytest.raises(ConfigError, match="--at: a number of tokens is above 0"):
        call("scaling", path, "--at", "0")


def test_presets(call):
    printed = call("presets")
    assert "data-constrained" in printed and "synthetic_fraction: 0.75" in printed and "arXiv 2603.18534" in printed
