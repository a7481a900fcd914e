"""The benchmark of steering: what its figures say of runs that are known."""

from pathlib import Path

import pytest


@pytest.fixture
def steering(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import steering

    return steering


def test_figures_of_known_runs(steering, capsys, tmp_path):
    Trained = steering.student.Trained  # noqa: N806
    fixed = Trained([6.0] + [4.0] * 8, [0.5] * 8)
    left = Trained([6.0] + [3.0] * 8, [0.5, 0.95, 0.05, 0.05, 0.05, 0.05, 0.05, 0.15])
    stayed = Trained([6.0] + [4.4] * 8, [0.5] * 8)
    runs = {"fixed": [fixed] * 3, "ucb": [left, left, stayed]}
    found = steering.figures(runs, "ucb")
    assert found == {"useless_share_last": pytest.approx(0.1), "heldout_ratio": 0.75, "moved_by": 8}
    # So far: 0.5, 0.73, 0.5, 0.39, 0.32.
    assert steering.moved_by(left) == 4
    steering.report(runs, {**found, "killed": {}})
    assert "10.0%" in capsys.readouterr().out
    steering.plot(runs, tmp_path / "steering.png")
    assert (tmp_path / "steering.png").read_bytes().startswith(b"\x89PNG")


def test_documents_are_cut_into_pieces_that_lose_nothing(steering):
    text = "\n\n".join(str(number) * 250 for number in range(8)) + "\n\n" + "x" * 2000
    pieces = steering.student.pieces_of(text)
    assert "\n\n".join(pieces) == text and max(map(len, pieces[:-1])) <= steering.student.CHARACTERS
    assert pieces[-1] == "x" * 2000


def test_one_stream_keeps_sentences_and_the_other_words(steering):
    rng = steering.np.random.default_rng(0)
    text = "One is here. Two is there! Is three? Four ends"
    sentences, words = (steering.student.mixed(text, rng, by_sentence=each) for each in (True, False))
    assert sorted(sentences.split()) == sorted(words.split()) == sorted(text.split())
    assert all(each in sentences for each in ("One is here.", "Two is there!", "Is three?", "Four ends"))
    assert "Two is there!" not in words
