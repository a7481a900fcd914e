"""What the demo with a real model tells at its end, of a run that the template engine wrote, and what stops it."""

import json
import subprocess
import sys
import time

import pytest

from streamdocs.demo import real
from streamdocs.demo.run import RUN, DemoError, prepare, reference_texts


def test_without_a_model_it_says_what_makes_one(tmp_path, monkeypatch):
    monkeypatch.setattr(real, "sglang_python", lambda: sys.executable)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DemoError, match="make real-model"):
        real.run_real_demo(tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")  # no apt-get, no dpkg-deb
    with pytest.raises(DemoError, match=r"(?s)apt-get download.*Debian's or Ubuntu's"):
        real.real_texts(tmp_path)


def test_a_server_that_ends_is_noticed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    demo = real.Demo(tmp_path, time.monotonic() + 60)
    with pytest.raises(DemoError, match=r"server\.log"):
        real._wait_for(demo, process, real.free_port(), "in_flight", 1)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run with forty documents and something of each; gates refuse what has not half of its document's length."""
    texts = reference_texts()[:40]
    gates = {"gates": {"min_ratio": 0.5}, "attempts": 1, "budget": {"documents": 32}}
    run = {**RUN, "recipe": real._RECIPE, "mix": {**RUN["mix"], "synthetic_fraction": 0.5}, "server": gates}
    demo = prepare(tmp_path_factory.mktemp("real") / "demo", run, time.monotonic() + 100, 1, lambda _: texts)
    serve = [sys.executable, "-m", "streamdocs_server", str(demo.out / "run.yaml")]
    subprocess.run(serve, check=True, timeout=100, capture_output=True)
    return demo.out


def test_it_tells_how_fast_the_model_was_and_what_gates_took(written):
    told = {"prompt_tokens": 3000, "cached_prompt_tokens": 1000, "completion_tokens": 500}
    writing = real._writing(written, told, 10.0)
    assert (writing["tokens_read_per_second"], writing["tokens_written_per_second"]) == (200.0, 50.0)
    assert sum(writing["shares"].values()) == pytest.approx(1)
    assert 0 < writing["shares"]["accepted"] <= 1 and writing["generations"] >= 32


def test_five_pages_stand_beside_their_documents(written, capsys):
    real._show({"seconds": 1.0, "generations": 1, "shares": {"accepted": 1.0}}, written)
    said = capsys.readouterr().out
    assert "100%" in said and said.count(", source]") == said.count(", text]") == 5
    pages = (written / "pages.md").read_text().split("\n# ")
    texts = {json.loads(line)["text"] for line in (written / "texts.jsonl").read_text().splitlines()}
    assert len(pages) == 5
    for page in pages:
        source, text = page.partition("## Source\n\n")[2].split("\n\n## Written\n\n")
        assert source in texts and text.strip() and text.strip() != source
