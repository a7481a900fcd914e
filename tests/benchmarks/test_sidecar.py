"""The benchmark of the sidecar's ceiling, at a size at which its figures mean nothing."""

import multiprocessing
from pathlib import Path

import pytest

from conftest import forked


@pytest.mark.parametrize("n", [1, 4])
def test_one_run_of_the_sidecar_against_canned_answers(tmp_path, monkeypatch, n: int):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import sidecar

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    server = context.Process(target=sidecar.serve, args=(sidecar.prepare(tmp_path, 4), theirs), daemon=True)
    server.start()
    try:
        assert ours.poll(30)
        port = ours.recv()
        with forked(1) as process:  # of its own, for it times the methods of classes
            found = process.submit(sidecar.measure, tmp_path, port, n, by_part=True).result(timeout=60)
            plain = process.submit(sidecar.plain, port, n, 8).result(timeout=60)
    finally:
        server.kill()
        server.join()
    parts = found["parts"]
    assert found["tokens_per_s"] > 0 and plain["tokens_per_s"] > 0
    assert parts.keys() == {"client", "gates", "store", "tokenizer"} and min(parts.values()) > 0
    assert sum(parts.values()) == pytest.approx(found["cpu_ms_per_1k_tokens"])
