"""The two commands, as a user types them."""

import subprocess
import sys
from pathlib import Path

import pytest

import streamdocs
from streamdocs import StreamingMegadocDataset
from streamdocs.commands.inspection import inspect_run
from streamdocs.errors import ConfigError, StoreError
from streamdocs.generations.heartbeat import registered_generators
from streamdocs.store import LmdbStore

BIN = Path(sys.executable).parent


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / command[0], *command[1:]], capture_output=True, text=True, cwd=cwd, timeout=120, check=False
    )


def test_exported_names():
    exported = {name: getattr(streamdocs, name) for name in streamdocs.__all__}
    assert sorted(exported) == [
        "Answer",
        "Append",
        "Correct",
        "ErrorRule",
        "Generator",
        "Judge",
        "Program",
        "Recipe",
        "Rephrase",
        "RunFile",
        "Segment",
        "Step",
        "Stitch",
        "StreamingMegadocDataset",
        "Stretch",
        "SynthLLM",
        "Template",
        "Think",
    ]


def test_prepare_generate_and_inspect(tmp_path):
    texts = [
        f"Document {n}. The river rises in the north and runs past {n} old stone towns to the sea." for n in range(40)
    ]
    (tmp_path / "texts").mkdir()
    for number, text in enumerate(texts):
        (tmp_path / "texts" / f"{number}.txt").write_text(text)
    prepared = run("streamdocs", "prepare", "texts", "--out", "corpus", "--train-tokenizer", "300", cwd=tmp_path)
    assert prepared.returncode == 0, prepared.stderr
    (tmp_path / "run.yaml").write_text(
        "{corpus: corpus, store: store, recipe: {name: stretch, generations: 2}, mix: {max_seq_len: 256, window: 16}}"
    )
    served = run("streamdocs-server", "run.yaml", cwd=tmp_path)
    assert served.returncode == 0 and "all rounds are done" in served.stderr
    assert "stand-in" in served.stderr
    refused = run("streamdocs", "inspect", "run.yaml", "--position", "5", cwd=tmp_path)
    assert refused.returncode == 1 and "position 5" in refused.stderr and "0 of them are sealed" in refused.stderr
    StreamingMegadocDataset.from_run_file(tmp_path / "run.yaml", batch_size=1)[0]
    shown = run("streamdocs", "inspect", "run.yaml", "--position", "5", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    for expected in ("an epoch reads", "generations", "80", "thought", "<think>", "sequence 5"):
        assert expected in shown.stdout


def test_inspect_before_any_server(small_corpus, tmp_path, capsys):
    fields = "recipe: {name: stitch, generations: 4}, generator: {engine: sglang}, mix: {max_seq_len: 64, window: 32}"
    (tmp_path / "run.yaml").write_text(f"{{corpus: {small_corpus}, store: store, {fields}}}")
    with pytest.raises(StoreError, match="either no server has written anything yet"):
        inspect_run(tmp_path / "run.yaml")
    assert not (tmp_path / "store").exists()
    assert "stitch of 400 generations (0 exist)" in capsys.readouterr().out
    LmdbStore(tmp_path / "store").size()  # as a trainer makes it, which waits
    inspect_run(tmp_path / "run.yaml")
    shown = capsys.readouterr().out
    assert "no server has written yet" in shown and "streamdocs-server" in shown
    assert "stitch of 400 generations (0 exist)" in shown
    with pytest.raises(ConfigError, match="0 of them are sealed"):
        inspect_run(tmp_path / "run.yaml", position=0)
    assert registered_generators(LmdbStore(tmp_path / "store")) == []


def test_errors_are_one_line(tmp_path):
    for command in (
        ("streamdocs", "inspect", "nowhere.yaml"),
        ("streamdocs-server", "nowhere.yaml"),
    ):
        failed = run(*command, cwd=tmp_path)
        assert failed.returncode == 1
        assert failed.stderr.startswith("error: ") and "Traceback" not in failed.stderr
        assert "nowhere" in failed.stderr
