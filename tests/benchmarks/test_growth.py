"""Growth on paper: its page has the figures of its code, and the simulation knows what is known without it."""

from pathlib import Path

import pytest

from streamdocs.schedule.rounds import BLOCK


@pytest.fixture
def growth(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import growth

    return growth


def test_the_page_has_the_tables(growth):
    page = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
    for table in growth.tables(growth.benchmark(60)):
        assert f"\n\n{table}\n\n" in page, "python benchmarks/growth.py"


def test_one_writer_never_loses_and_is_as_fast_as_two_requests(growth):
    alone = growth.contend(1, pauses=False, seconds=2000)
    assert alone.tries == 1 and alone.commits == pytest.approx(2, rel=0.05)
    # Half a GET until it is told what is there, half a GET and half a PUT until it is decided, half a PUT until told.
    assert alone.median == pytest.approx(0.040 + 0.020, rel=0.25)


def test_writers_without_a_pause_between_fill_one_log_and_no_more(growth):
    busy = growth.contend(64, pauses=False, seconds=20)
    assert busy.commits < 64 / 0.5 and busy.tries > 8
    calm = growth.contend(64, pauses=False, seconds=60, every=6.4)
    assert calm.commits == pytest.approx(10, rel=0.1) and calm.tries < 2


def test_a_run_adds_up(growth):
    assert growth.BLOCK == BLOCK
    run = growth.paper(4, tries=1.0)
    assert run["documents"] == 4 * 10**6 and run["tokens"] == 4 * 10**6 * 32 * 700
    assert run["entries"] == pytest.approx(4 * 2 * run["days"] * 86_400)
    assert run["log_gb"] == pytest.approx(2 * 8 * 4e6 * 45 / 1e9, rel=0.02)
    # Entries and their texts, blocks' tokens, folds.
    blocks = 4 * 10**6 * 8 / BLOCK
    assert run["puts_per_s"] * run["days"] * 86_400 == pytest.approx(run["entries"] * (2 + 1 / 256) + blocks)
    assert growth.fetchers(1) == 1 and growth.fetchers(4) == pytest.approx(4) and growth.fetchers(10**6) < 88
