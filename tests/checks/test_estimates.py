"""Estimates: what they say comes true in a run with the template engine, as far as no clock is needed for it."""

import asyncio
import json
import math
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from conftest import TEMPLATE, generate, make_corpus, make_run, make_texts, write_run_file
from streamdocs import Rephrase, RunFile, Stitch, StreamingMegadocDataset
from streamdocs.checks.check import check
from streamdocs.checks.course import Simulation
from streamdocs.checks.estimate import Pace, estimate, with_generations
from streamdocs.checks.expected import expected
from streamdocs.checks.probed import Probe, _said, probe
from streamdocs.commands.checking import report
from streamdocs.commands.checking.report import check_run
from streamdocs.commands.cli import commands
from streamdocs.errors import ConfigError
from streamdocs.generations.progress import read_tallies, total
from streamdocs.run import Run
from streamdocs.sections import ServerSection
from streamdocs.store import LmdbStore
from streamdocs_server.cli import make_gates
from streamdocs_server.probe import probe_run

NEAR = 0.15


@pytest.fixture(scope="module")
def begun(large_corpus, tmp_path_factory):
    """A run of 1,000 documents of which a tenth of the generations exist: its run file, and its run."""
    folder = tmp_path_factory.mktemp("begun")
    recipe = Stitch(generations=4, per_round=1)
    store = LmdbStore(folder / "store")
    run = make_run(large_corpus, recipe, window=128, when_behind="reuse")
    generate(run, store, 25)
    fields = {
        "corpus": str(large_corpus),
        "store": str(store.location),
        "recipe": {"name": "stitch", "generations": 4, "per_round": 1},
        "generator": {"model": TEMPLATE.model, "revision": TEMPLATE.revision},
        "mix": {"synthetic_fraction": 0.75, "max_seq_len": 64, "window": 128, "shuffle_seed": 17},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(fields))
    return folder / "run.yaml", run


def test_what_is_written_and_read_is_as_was_estimated(begun, tmp_path):
    path, run = begun
    found = check(path, Pace(), ask=False).estimate
    assert found and found.streams["synthetic"].known == "stored" and found.hours is None
    copy = LmdbStore(tmp_path / "store")
    generate(run, copy)  # all of it
    there = total(read_tallies(copy, run.stream().scope).values())
    assert there.items == found.streams["synthetic"].items == 4000
    assert found.tokens == pytest.approx(there.tokens, rel=NEAR)
    assert found.streams["synthetic"].generations == pytest.approx(there.generations, rel=NEAR)
    assert found.bytes == pytest.approx(copy.size(), rel=NEAR)
    text = yaml.safe_load(path.read_text())
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**text, "store": copy.location}))
    dataset = StreamingMegadocDataset.from_run_file(tmp_path / "run.yaml", batch_size=1)
    assert found.sequences == dataset.epoch_size
    read = dataset.mixed_until(found.windows * 128)["reuse"]
    assert found.streams["synthetic"].reads == pytest.approx(read, rel=NEAR)


def test_lengths_follow_documents(begun, large_corpus):
    path, run = begun
    each = expected(run, LmdbStore(path.parent / "store"), Probe())["synthetic"]
    assert each.resolved == 400 and each.lengths.slope > 0
    scope = run.stream().scope
    lengths = each.generation_tokens(scope.sources.numbers)
    assert lengths.shape == (1000, 1) and lengths.min() >= 1
    assert lengths.sum() == pytest.approx(1000 * each.tokens, rel=0.01)


def slow(run, speed, rate, windows=20):
    known = expected(run, None, Probe())
    return Simulation(run, known, speed, ServerSection()).course(windows, rate)


def test_a_faster_generator_is_waited_for_less(large_corpus):
    run = make_run(large_corpus, Stitch(generations=4, per_round=1, max_tokens=64), window=128, when_behind="wait")
    waited = [slow(run, speed, 128.0).waited.sum() for speed in (2e3, 2e4, 2e5)]
    assert waited[0] > waited[1] > waited[2] >= 0
    reused = slow(make_run(large_corpus, Stitch(generations=4, per_round=1, max_tokens=64), window=128), 2e3, 128.0)
    assert reused.waited[0] > 0 and not reused.waited[1:].any()  # it begins, and then goes round what there is
    assert (reused.generations["synthetic"][1:] >= reused.generations["synthetic"][:-1]).all()


def test_web_fills_and_max_reuse_waits(large_corpus):
    recipe = Rephrase(generations=4, per_round=1, max_tokens=64)
    filled = slow(make_run(large_corpus, recipe, window=128, when_behind="web"), 2e3, 128.0)
    assert filled.filled["synthetic"] > 0 and not filled.waited.any()
    often = slow(make_run(large_corpus, recipe, window=128), 2e3, 1280.0)
    seldom = slow(make_run(large_corpus, recipe, window=128, max_reuse=1.5), 2e3, 1280.0)
    assert often.reuse["synthetic"][:-1].max() > 1.5 >= seldom.reuse["synthetic"].max()
    assert seldom.waited.sum() > often.waited.sum()


def test_all_that_exists_is_read_as_a_run_reads_it(small_corpus, store, tmp_path):
    recipe = Rephrase(generations=2)
    run = make_run(small_corpus, recipe)
    generate(run, store)
    from conftest import make_dataset

    dataset = make_dataset(small_corpus, store, recipe=recipe)
    file = RunFile.load(write_run_file(tmp_path / "run.yaml", dataset))
    found = estimate(file, dataset.run, store, Probe(), Pace(epochs=2))
    assert found.streams["synthetic"].left == 0 and found.windows == math.ceil(2 * dataset.epoch_size / 32)
    assert found.streams["synthetic"].reads == pytest.approx(dataset.mixed_until(found.windows * 32)["reuse"], rel=0.05)


def test_windows_that_are_many_are_worked_out_in_larger_ones(begun, monkeypatch):
    from streamdocs.checks import estimate as estimates

    path, _ = begun
    fine = check(path, Pace(), ask=False).estimate
    monkeypatch.setattr(estimates, "_MOST_WINDOWS", 5)
    coarse = check(path, Pace(tokens_per_second=1e6), ask=False).estimate
    assert len(coarse.course.ready) <= 5 < fine.windows == coarse.windows
    assert coarse.streams["synthetic"].reads == pytest.approx(fine.streams["synthetic"].reads, rel=NEAR)


def test_the_probe_in_a_process_of_its_own(begun, tmp_path):
    path, _ = begun
    text = yaml.safe_load(path.read_text())
    del text["generator"]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**text, "store": "store"}))
    found = probe(tmp_path / "run.yaml", 1, 30)
    written = found.written["synthetic"]
    assert found.models == {"": "template 1"} and found.tokens_per_second > 0 and not found.faults
    assert written.items >= written.lengths.items > 0 and written.completion_tokens > 0 and written.bytes > 0
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


@pytest.mark.parametrize("fields", [{"max_tokens": 64}, {"styles": {"question-answer": 1}}])
def test_the_most_is_the_most(tmp_path, fields):
    """A small vocabulary makes more tokens of a text than its writer did, and long documents are read in chunks."""
    corpus = make_corpus(tmp_path, make_texts(12, most_words=3000), train_tokenizer=300)
    recipe = {"name": "rephrase", "generations": 2, **fields}
    text = {"corpus": str(corpus), "store": "store", "recipe": recipe, "generator": {"engine": "template"}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(text))
    file = RunFile.load(tmp_path / "run.yaml")
    run = Run.of(file, TEMPLATE)
    asked = asyncio.run(probe_run(file, make_gates(file), 0, 30))
    generate(run, LmdbStore(tmp_path / "written"), gates=make_gates(file))
    there = total(read_tallies(LmdbStore(tmp_path / "written"), run.stream().scope).values())
    for each, near in ((asked, NEAR), (Probe(), 2 * NEAR)):
        found = estimate(file, run, None, each, Pace()).streams["synthetic"]
        assert found.known == "most" and found.tokens * (1 + near) >= there.tokens > there.text_bytes / 4
        rate = found.tokens / found.completion_tokens
        assert rate == pytest.approx(4 * there.tokens / there.text_bytes, rel=near)


def test_what_a_probe_that_failed_said():
    assert _said("12:00 INFO starting\nerror: there is no corpus\n\n") == "there is no corpus"
    assert "[server]" in _said("python: No module named streamdocs_server")
    assert "without a word" in _said("")


def test_what_is_told(begun, tmp_path, capsys, monkeypatch):
    path, _ = begun
    pace = Pace(tokens_per_second=4e3, train_tokens_per_second=2e4, gpus=2)
    options = {"ask": False, "seconds": 0, "deadline": 5}
    plot = tmp_path / "check.png"
    assert check_run(path, pace, **options, what_if=True, plot=plot, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert plot.stat().st_size > 10_000
    assert told["level"] == "ok" and told["estimate"]["gpu_hours"] == 2 * told["estimate"]["hours"] > 0
    assert {row["generations"] for row in told["what_if"]} == {1, 2, 4, 8}
    of_four = [row for row in told["what_if"] if row["generations"] == 4]
    assert [row["hours"] for row in of_four] == sorted((row["hours"] for row in of_four), reverse=True)
    assert of_four[2]["hours"] == pytest.approx(told["estimate"]["hours"] / 0.9, rel=0.02)  # a tenth exists already
    assert check_run(path, pace, **options, what_if=True, plot=None, as_json=False)
    shown = capsys.readouterr().out
    for said in ("what is written", "are left to be written", "training can begin after", "over time", "what if"):
        assert said in shown
    with pytest.raises(ConfigError, match="how fast is the generator"):
        check_run(path, Pace(), **options, what_if=True, plot=None, as_json=True)
    monkeypatch.setattr(report, "check", None)  # what follows is said before anything takes time
    for how, where, said in (
        (Pace(), plot, "nothing is known over time"),
        (pace, tmp_path / "check.xyz", "check.xyz: its name has to end with one of .*png"),
        (pace, tmp_path / "nowhere" / "check.png", "cannot be written: name a file in a folder that is there"),
    ):
        with pytest.raises(ConfigError, match=said):
            check_run(path, how, **options, what_if=False, plot=where, as_json=True)
    for options, said in (
        (["--epochs", "1e300"], "at most 1,000,000"),
        (["--epochs", "0"], "above 0"),
        (["--tokens-per-second", "0"], "above 0"),
    ):
        refused = CliRunner().invoke(commands, ["check", str(path), *options], env={"COLUMNS": "200"})
        assert refused.exit_code == 2 and said in refused.output


def test_other_numbers_of_generations(begun):
    file = RunFile.load(begun[0])
    assert with_generations(file, 8).recipe.per_round == 1
    streams = {"web": {"share": "1/2"}, "more": {"share": "1/2", "recipe": {"name": "stitch", "generations": 4}}}
    text = yaml.safe_load(Path(begun[0]).read_text())
    made = RunFile.model_validate({**{k: v for k, v in text.items() if k not in ("recipe", "mix")}, "streams": streams})
    assert with_generations(made, 3).streams["more"].recipe.generations == 3
    assert Run.of(with_generations(file, 2), TEMPLATE).stream().recipe.total_rounds == 2
