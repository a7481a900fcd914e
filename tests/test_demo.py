"""The demo, as ``make demo`` runs it."""

import json

import pytest

from streamdocs.demo.run import DemoError, reference_texts, run_demo

BATCHES = 120


def test_the_reference_texts_are_some_hundred_distinct_documents():
    texts = reference_texts()
    assert 300 <= len(texts) == len(set(texts))
    assert min(map(len, texts)) >= 400


def test_another_folder_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "run.yaml").write_text("corpus: corpus")  # of a run that matters
    with pytest.raises(DemoError, match="no demo's folder"):
        run_demo(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.timeout(960)
def test_the_demo(tmp_path):
    run_demo(tmp_path / "demo", BATCHES)
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert summary["batches"] == BATCHES
    assert summary["resumed_identically"] is True
    assert summary["generations_per_document_last"] > summary["generations_per_document_first"]
    assert summary["loss_last"] < summary["loss_first"]
    sequences = (summary["web_tokens"] + summary["synthetic_tokens"]) // 256
    assert abs(summary["synthetic_tokens"] // 256 - 0.75 * sequences) < 1
    assert summary["generations_stored"] >= summary["documents"]
    assert (tmp_path / "demo" / "demo.png").stat().st_size > 10_000
