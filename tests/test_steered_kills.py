"""A share of the kills of ``make bench``: a steered run whose trainer is killed, and goes on as other ranks."""

from functools import partial
from pathlib import Path

from conftest import make_texts


def test_no_batch_and_no_decision_changes_where_a_trainer_is_killed(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import steered_kills
    import student
    from processes import in_fresh_process

    in_fresh_process(partial(student.prepare, tmp_path, 1, make_texts(100)))
    found = steered_kills.kill_often(tmp_path, kills=3)
    assert (found.kills, found.wrong, found.changed) == (3, 0, 0)
    assert found.batches > 4 and found.again > 0 and found.windows > 0
