"""The benchmark of the graph, at a size at which its figures mean nothing."""

from pathlib import Path

from conftest import forked


def test_one_size(monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import graph

    with forked(1) as process:
        row = process.submit(graph.measure, 300, 40).result(timeout=60)
    assert row["documents"] == 300 and 100 < row["topics"] < 1200 and 1000 < row["concepts"] < 10_800
    assert all(figure > 0 for figure in row.values())
    graph.report([row])
    assert "300" in capsys.readouterr().out
