"""``streamdocs simulate``, as a user types it."""

import json

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from conftest import TEMPLATE, generate
from streamdocs import RunFile, StreamingMegadocDataset
from streamdocs.commands.cli import commands
from streamdocs.errors import ConfigError, StoreError
from streamdocs.run import Run
from streamdocs.steering.decision import PARTS
from streamdocs.steering.reports import Reports
from streamdocs.store import LmdbStore

WINDOW, WINDOWS = 32, 20


def write_run(folder, corpus, **mix):
    """A run file of two synthetic streams."""
    recipe = {"name": "rephrase", "generations": 2}
    synthetic = {name: {"share": "1/4", "recipe": recipe} for name in ("plain", "varied")}
    fields = {
        "corpus": str(corpus),
        "store": "store",
        "streams": {"web": {"share": "1/2"}, **synthetic},
        "generator": {"model": TEMPLATE.model, "revision": TEMPLATE.revision},
        "mix": {"max_seq_len": 64, "window": WINDOW, "shuffle_seed": 17, **mix},
    }
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(fields))
    return file


def train(file, *, held_out: bool) -> Run:
    """Decide on some windows and report of each that ``varied`` is learned; nothing is read."""
    run_file = RunFile.load(file)
    store = LmdbStore(run_file.store)
    run = Run.of(run_file, TEMPLATE, store)
    reports = Reports(store, run.id, WINDOW, 64)
    speeds, learned = np.array([0, 0.0, 0.5]), 0.0
    for window in range(WINDOWS):
        if run.decisions:
            run.decisions.make(window)
        stream = run.mixture.plan(window).stream
        losses = (5 - speeds[stream] * np.log(window + 1)).astype(np.float32)
        reports.add(0, window, np.arange(WINDOW), np.repeat(losses[:, None], reports.bins, axis=1))
        learned += float((stream == 2).mean()) / (window + 1)
        if held_out:
            reports.add_held_out((window + 1) * WINDOW, 5 - learned)
    return run


@pytest.fixture
def simulate(monkeypatch):
    """What the command prints; an error where it raises one."""
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments) -> str:
        return CliRunner().invoke(commands, ["simulate", *map(str, arguments)], catch_exceptions=False).output

    return call


@pytest.mark.parametrize("held_out", [True, False])
def test_a_steered_run_and_what_others_would_have_done(small_corpus, tmp_path, simulate, held_out):
    file = write_run(tmp_path, small_corpus, controller={"name": "ucb", "floor": 0.1})
    run = train(file, held_out=held_out)
    found = json.loads(simulate(file, "--json"))
    made = [[share / PARTS for share in each.shares] for each in run.decisions.made()]
    assert found["controllers"]["ucb"]["shares"] == made and len(made) == WINDOWS
    assert list(found["controllers"]) == ["fixed", "ucb", "exp3", "ado"]
    assert found["best"] == pytest.approx({"plain": 0.1, "varied": 0.9})
    assert found["arms"]["varied"] > found["arms"]["plain"]
    assert found["controllers"]["ucb"]["regret"] < found["controllers"]["fixed"]["regret"]
    printed = simulate(file)
    for expected in ("best fixed", "plain", "varied", "by", f"{found['controllers']['exp3']['regret']:.2f}"):
        assert expected in printed
    assert "does not depend on how much of it is read" in printed and "…" in printed
    assert "do not tell the arms apart" not in printed


def test_a_run_with_fixed_shares(small_corpus, tmp_path, simulate):
    file = write_run(tmp_path, small_corpus)
    train(file, held_out=True)
    assert "these reports do not tell the arms apart" in simulate(file)
    found = json.loads(simulate(file, "--json", "--reward", "progress"))
    assert found["arms"]["varied"] > found["arms"]["plain"] and found["judgements"] == WINDOWS - 3
    assert found["controllers"]["ucb"]["regret"] < found["controllers"]["fixed"]["regret"]


def test_web_text_in_the_place_of_an_arm_is_not_its_own(small_corpus, tmp_path, simulate):
    file = write_run(tmp_path, small_corpus, when_behind="web")
    fields = yaml.safe_load(file.read_text())
    fields["streams"]["varied"]["recipe"] = {"name": "stitch", "generations": 3}
    written = tmp_path / "written.yaml"
    streams = {"web": {"share": "3/4"}, "plain": fields["streams"]["plain"]}
    written.write_text(yaml.safe_dump({**fields, "streams": streams}))
    file.write_text(yaml.safe_dump(fields))
    generate(Run.of(RunFile.load(written), TEMPLATE), LmdbStore(tmp_path / "store"))
    for ledger in StreamingMegadocDataset.from_run_file(file, batch_size=4).ledgers.values():
        ledger.manifest(WINDOWS - 1)
    train(file, held_out=False)  # "varied", all of which is web text, is what falls
    simulate(file, "--export", tmp_path / "reports.jsonl")
    _, *rows = (json.loads(line) for line in (tmp_path / "reports.jsonl").read_text().splitlines())
    assert len(rows) == WINDOWS and {tuple(row["counts"]) for row in rows} == {(8, 8)}
    assert {tuple(lost[2]) for row in rows for lost in row["lost"]} == {(8, 0)}
    found = json.loads(simulate(file, "--json"))
    assert found["arms"]["varied"] == 0.5  # nothing is known of it


def test_reports_as_a_file_for_a_run_with_another_controller(small_corpus, tmp_path, simulate):
    (tmp_path / "first").mkdir()
    file, exported = write_run(tmp_path / "first", small_corpus), tmp_path / "reports.jsonl"
    train(file, held_out=True)
    printed = simulate(file, "--export", exported, "--json")
    other = write_run(tmp_path, small_corpus, controller="ucb")
    assert simulate(other, "--reports", exported, "--json") == printed
    with pytest.raises(StoreError, match="there is no store"):
        simulate(other)
    LmdbStore(tmp_path / "store").update(b"made", lambda _: b"")
    with pytest.raises(ConfigError, match=r"nothing was reported of the run of .*: train with dataset\.report"):
        simulate(other)
    third = write_run(tmp_path, small_corpus, name="another")
    with pytest.raises(ConfigError, match="line 1: these are the reports of another run, which differs in name"):
        simulate(third, "--reports", exported)
    other = write_run(tmp_path, small_corpus, controller="ucb")
    exported.write_text(exported.read_text().replace('"counts": [8, 8]', '"counts": [NaN, 8]', 1))
    with pytest.raises(ConfigError, match=r"line 2: counts\.0: "):
        simulate(other, "--reports", exported)


def test_a_run_without_two_synthetic_streams_has_nothing_to_move(small_corpus, tmp_path, simulate):
    file = write_run(tmp_path, small_corpus)
    fields = yaml.safe_load(file.read_text())
    del fields["streams"]["varied"]
    fields["streams"]["web"]["share"] = "3/4"
    file.write_text(yaml.safe_dump(fields))
    LmdbStore(tmp_path / "store").update(b"made", lambda _: b"")
    with pytest.raises(ConfigError, match="shares move between synthetic streams, and it has 1"):
        simulate(file)
