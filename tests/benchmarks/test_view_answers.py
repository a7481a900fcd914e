"""The benchmark of the pages makes a run and asks for all of them."""

from pathlib import Path

import pytest


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import view

    monkeypatch.setattr(view, "WINDOWS", 1)
    return view


def test_every_page_answers(benchmark, tmp_path):
    found = benchmark.measure(benchmark.make(tmp_path, 300), 300)
    assert len(found) == 7 and all(0 < each["first_s"] <= each["there_s"] for each in found.values())
