"""The benchmark of the graph, at a size at which its figures mean nothing."""

from pathlib import Path

from conftest import forked
from streamdocs.generations.progress import Tally


def test_one_size(monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import graph

    with forked(1) as process:
        row = process.submit(graph.measure, 300, 40).result(timeout=60)
    assert row["documents"] == 300 and 100 < row["topics"] < 1200 and 1000 < row["concepts"] < 10_800
    assert all(figure > 0 for figure in row.values())
    graph.report([row])
    assert "300" in capsys.readouterr().out


def test_the_loader_over_questions_and_over_rephrases(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import graph

    graph.prepare(tmp_path, 24)
    for recipe in graph.READ:
        dataset = graph.make_dataset(tmp_path, recipe, graph.GENERATIONS, graph.LENGTH)
        assert dataset.store is not None
        with dataset.store.read() as snapshot:
            tallies = [Tally.unpack(value) for _, value in snapshot.scan("blocks", b"")]
        assert sum(tally.generations for tally in tallies) == 24 * graph.GENERATIONS
        assert dataset[5]["input_ids"].shape == (graph.LENGTH,)
    seconds = graph.read_in_turns(tmp_path, 24, 1)
    assert len(seconds) == 1 and len(seconds[0]) == len(graph.READ) and min(seconds[0]) > 0
