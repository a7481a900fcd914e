"""The audit of a run whose shares move, and its plot."""

import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from conftest import TEMPLATE, generate
from streamdocs import RunFile, StreamingMegadocDataset
from streamdocs.auditing.audit import audit
from streamdocs.commands.auditing.report import audit_run, plot_audit
from streamdocs.errors import ConfigError
from streamdocs.run import Run
from streamdocs.steering.decision import PARTS

WINDOWS, SIZE = 5, 32
STEERED = {
    "web": {"share": "1/2"},
    "one": {"share": "1/4", "recipe": {"name": "rephrase", "generations": 2}},
    "two": {"share": "1/4", "recipe": {"name": "stitch", "generations": 3}},
}


@pytest.mark.parametrize("held_out", [True, False])
def test_of_a_steered_run_the_shares_and_rewards_are_told(small_corpus, store, tmp_path, monkeypatch, capsys, held_out):
    fields = {"corpus": str(small_corpus), "store": store.location, "streams": STEERED}
    writer = {"model": TEMPLATE.model, "revision": TEMPLATE.revision}
    mix = {"max_seq_len": 64, "window": SIZE, "controller": "exp3"}
    run_file, as_json, plot = (tmp_path / name for name in ("run.yaml", "audit.json", "audit.png"))
    run_file.write_text(json.dumps({**fields, "generator": writer, "mix": mix}))
    generate(Run.of(RunFile.load(run_file), TEMPLATE), store)
    dataset = StreamingMegadocDataset.from_run_file(run_file, batch_size=4)
    reports = dataset.run.decisions.reports
    for window in range(WINDOWS):
        for ledger in dataset.ledgers.values():
            ledger.manifest(window)
        speeds = np.array([0, 0, 0.1])[dataset.run.mixture.plan(window).stream]
        losses = np.repeat((5 - speeds * window**2).astype(np.float32)[:, None], reports.bins, axis=1)
        reports.add(0, window, np.arange(SIZE), losses)
        if held_out:
            reports.add_held_out((window + 1) * SIZE, 5 - 0.1 * window**2)
    with pytest.raises(ConfigError, match=r"--plot .*p\.xyz: .*'xyz' is not supported.*: name a file like audit\.png"):
        audit_run(run_file, ":", None, None, tmp_path / "p.xyz")
    capsys.readouterr()
    audit_run(run_file, f"{SIZE}:", None, as_json, plot)
    told, made = json.loads(as_json.read_text())["shares"], list(dataset.run.decisions.made())[1:]
    streams, printed = json.loads(as_json.read_text())["streams"], capsys.readouterr().out
    decided = np.sum([each.counts for each in made], axis=0).tolist()
    assert [streams[name]["asked"] for name in STEERED] == [64, 32, 32] and (decided != [32, 32] or not held_out)
    for name, count in zip(STEERED, [64, *decided], strict=True):
        assert streams[name]["decided"] == streams[name]["read"] == count
        assert f"{name} {STEERED[name]['share']}: {streams[name]['asked']} asked for, {count} decided" in printed
    assert [row["window"] for row in told] == list(range(1, WINDOWS)) and {row["why"] for row in told} >= {made[0].why}
    assert [list(row["shares"].values()) for row in told] == [[each / PARTS for each in row.shares] for row in made]
    assert list(told[0]["shares"]) == ["one", "two"] and len({str(row["shares"]) for row in told}) > 1
    judgements = audit(dataset).judgements()
    assert {each.seen.together for each in judgements} == {held_out}
    assert [each.window for each in judgements] == ([2, 3, 4] if held_out else [3, 4])
    assert plot.read_bytes().startswith(b"\x89PNG")
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    for found in (audit(dataset), replace(audit(dataset), decisions=())):
        plot_audit(found, plot)
    assert [len(figure.axes) for figure in figures] == [4, 3]
    lines = {line.get_label(): line.get_ydata() for line in figures[0].axes[3].lines}
    assert list(lines["one"][:-1]) == [each.shares[0] / PARTS for each in dataset.run.decisions.made()]
    assert len(lines["reward of all together"]) == (len(judgements) if held_out else 0)
