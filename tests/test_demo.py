"""The demo, as ``make demo`` runs it."""

import json

import pytest

from streamdocs.demo.run import DemoError, reference_texts, run_demo

BATCHES = 120
SHARES = {"web": 0.25, "megadocs": 0.5, "problems": 0.25}


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
    assert summary["loss_last"] < summary["loss_first"]
    streams, sequences = summary["streams"], 4 * BATCHES
    for name, share in SHARES.items():
        assert abs(streams[name]["sequences"] - share * sequences) < (2 if name != "web" else 1)
    asked = streams["megadocs"]["sequences"] + streams["problems"]["sequences"]
    assert asked + streams["web"]["sequences"] == sequences and summary["synthetic_fraction"] == asked / sequences
    assert abs(asked - 0.75 * sequences) < 1
    # What is read as web text is what was asked for, and what it filled.
    filled = streams["megadocs"]["filled"] + streams["problems"]["filled"]
    assert summary["filled_with_web"] == filled < streams["problems"]["sequences"]
    assert summary["synthetic_tokens"] == (asked - filled) * 256
    assert summary["web_tokens"] == (streams["web"]["sequences"] + filled) * 256
    for name in ("megadocs", "problems"):
        assert streams[name]["per_document_last"] > streams[name]["per_document_first"]
    assert streams["megadocs"]["generations"] >= summary["documents"]
    # Level 3 was read, from the first edition on.
    read = {each["edition"]: each["read"] for each in summary["editions"]}
    assert min(read) == 1 and sum(read.values()) <= streams["problems"]["generations"]
    walk = summary["walk"]
    assert walk["edition"] in read and walk["topics"] and walk["concepts"] and len({*walk["documents"]}) == 2
    assert (tmp_path / "demo" / "demo.png").stat().st_size > 10_000
