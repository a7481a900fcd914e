"""The study, of a few small runs: from its YAML to its table."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from streamdocs.corpus import prepare_corpus
from streamdocs.demo.run import reference_texts

pytestmark = pytest.mark.xdist_group("study")

ROOT = Path(__file__).parents[2]
SETTING = {
    "documents": 32,
    "split_at": 200,
    "run": {"generator": {"engine": "template"}},
    "student": {
        "width": 16,
        "layers": 1,
        "heads": 2,
        "max_seq_len": 64,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "weight_decay": 0.1,
        "checkpoint_every": 5,
    },
    "seeds": [0, 1],
    "web": {"documents": [8, 16, 32, 64], "epochs": [2]},
    "recipes": {
        "stitch": {
            "recipe": {"name": "stitch", "per_round": 1},
            "grids": [
                {"generations": [1], "epochs": [1], "shares": ["1/2"]},
                {"generations": [2], "epochs": [1], "shares": ["1/2", "3/4"]},
            ],
        },
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With text, a setting, and all that comes of it."""
    folder = tmp_path_factory.mktemp("study")
    text = folder / "text"
    text.mkdir()
    documents = reference_texts()
    for name, part, how in (
        ("corpus", documents[:200], {"train_tokenizer": 512, "holdout": 0.2}),
        ("out-of-domain", documents[200:220], {"tokenizer": str(text / "corpus")}),
    ):
        (folder / "lines.jsonl").write_text("".join(json.dumps({"text": each[:1500]}) + "\n" for each in part))
        prepare_corpus([str(folder / "lines.jsonl")], text / name, progress=False, **how)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(SETTING))
    for step in (["generate"], ["train", "--processes", "2"], ["table"]):
        assert study(folder, *step).wait(200) == 0
    return folder


def study(folder: Path, *step: str) -> subprocess.Popen:
    """One step, in a process group of its own."""
    command = [sys.executable, "benchmarks/study", folder / "tiny.yaml"]
    command += ["--text", folder / "text", "--out", folder / "out"]
    paths = os.pathsep.join([".", "server"])
    return subprocess.Popen(
        [*map(str, command), *step], cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, start_new_session=True
    )


def test_a_study_from_its_setting_to_its_table(folder):
    assert len([*folder.glob("out/runs/*/result.json")]) == 2 * (4 + 1 + 2)
    summary = json.loads((folder / "out" / "summary.json").read_text())
    for generations in ("1", "2"):
        row = summary["recipes"]["stitch"][generations]
        assert row["seeds"] == 2 and row["documents"] == 32 and row["kept_share"] == 1.0
        assert 0 < row["loss"] < 6.3 and {"loss_long", "efficiency", "low", "high"} <= row.keys()
    web = {row["documents"]: row["loss"] for row in summary["web"]}
    assert [*web] == [8, 16, 32, 64] and web[64] < web[8]
    assert (folder / "out" / "table.md").read_text().count("\n") == 2 + 4 + 2
    assert (folder / "out" / "study.png").stat().st_size > 10_000


def test_a_run_that_was_killed_gives_the_same_numbers(folder):
    name = "stitch-G2-share3of4-documents32-epochs1-seed0"
    runs = folder / "out" / "runs"
    whole = json.loads((runs / name / "result.json").read_text())
    for path in (runs / name).iterdir():
        path.unlink()
    kills = 0
    while not (runs / name / "result.json").exists():
        process, checkpoint = study(folder, "train", "--only", name), runs / name / "checkpoint.pt"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        until = time.monotonic() + 60
        while process.poll() is None and kills < 2 and time.monotonic() < until:
            if checkpoint.exists() and checkpoint.stat().st_mtime_ns > before:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
            time.sleep(0.01)
        process.wait(60)
    again = json.loads((runs / name / "result.json").read_text())
    assert kills == 2
    assert {**again, "seconds": 0} == {**whole, "seconds": 0}
