"""A share of the benchmark of nodes over one store: kills and faults, and what its accounts say of requests made up."""

from pathlib import Path

import pytest


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")


def test_kills_and_faults_change_no_batch(benchmarks, tmp_path):
    import nodes

    found = nodes.killed(nodes.Bench(tmp_path, 64, window=16), kills=100, share=0.05)
    assert (found["wrong"], found["lost"], found["asked_twice"]) == (0, 0, 0)
    assert found["kills"] >= 5 and found["requests_failed"] > 10
    assert found["sequences"] > 16 and found["asked"] > 12 * 8


def test_why_a_text_was_asked_for_again(benchmarks):
    from accounts import why_again
    from endpoint import Asked

    again = {"who": "node-1", "when": 300.0, "answered": 301.0}

    def why(first, dead, bad=()):
        return dict(why_again({1: [Asked(*first), Asked(**again)]}, dead, list(bad)))

    killed, lost = [(110.0, "node-0", False)], [(110.0, "node-0", True)]
    assert why(("node-0", 100.0, 101.0), []) == {"twice": 1}
    assert why(("node-0", 100.0, None), []) == {"twice": 1}  # nobody was killed: it was given up
    assert why(("node-0", 100.0, None), killed) == {"unanswered": 1}
    assert why(("node-1", 100.0, None), killed) == {"twice": 1}  # another was
    assert why(("node-0", 100.0, 101.0), killed) == {"twice": 1}  # it had nine seconds to keep it
    assert why(("node-0", 100.0, 109.5), killed) == {"on its way": 1}
    assert why(("node-0", 100.0, 105.0), lost) == {"lost with its cache": 1}
    assert why(("node-0", 80.0, 90.0), lost) == {"twice": 1}  # it had twenty to send it
    assert why(("node-0", 80.0, 90.0), lost, [(95.0, 120.0)]) == {"lost with its cache": 1}  # in fact five
    assert why(("node-0", 120.0, 121.0), lost) == {"twice": 1}  # it died before


def test_what_requests_cost(benchmarks):
    from collections import Counter

    from accounts import cost, storage

    requests = Counter({("PUT", "200"): 60, ("PUT", "412"): 40, ("GET", "404"): 1000, ("DELETE", "204"): 5})
    found = cost(requests, 100.0)
    assert found["requests_per_s"] == pytest.approx(11.05) and found["puts_per_s"] == 1.0
    assert found["dollars_requests_month"] == pytest.approx(30 * 86_400 * (1.0 * 5e-6 + 10.0 * 0.4e-6))
    assert storage(1e12) == pytest.approx(23.0)


def test_what_is_asked_for_again_gets_the_same_text(benchmarks):
    from endpoint import digest_of, text_of

    same, other = digest_of("prompt", 7), digest_of("prompt", 8)
    assert text_of(same, 30) == text_of(digest_of("prompt", 7), 30) != text_of(other, 30)
    assert len(text_of(same, 30).split()) == 30
