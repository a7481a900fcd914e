"""Run files and set-ups that cannot go: each is named, in one line, by one finding."""

import asyncio
import gc
import json
import re
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from conftest import STITCH, generate, make_corpus, make_run, make_texts, read_only
from streamdocs.checks import check as checks
from streamdocs.checks import needs
from streamdocs.checks.check import check
from streamdocs.checks.estimate import Pace
from streamdocs.checks.findings import Finding, worst
from streamdocs.config import RunFile
from streamdocs.errors import ConfigError
from streamdocs.generations.heartbeat import register_generator, register_scope
from streamdocs.recipes.keys import Generator
from streamdocs.store import LmdbStore
from streamdocs_server.cli import make_gates, serve_run
from streamdocs_server.probe import probe_run

REPHRASE = {"name": "rephrase", "generations": 2}


@pytest.fixture
def probed_here(monkeypatch):
    """The probe runs in this process: that it runs in one of its own is tried in another test."""

    def probe(run_file, seconds, deadline):
        file = RunFile.load(run_file)
        return asyncio.run(probe_run(file, make_gates(file), seconds, deadline))

    monkeypatch.setattr(checks, "probe", probe)


@contextmanager
def endpoint(model="served", texts=None, key=None):
    """A server of an OpenAI-compatible protocol, which answers everything with ``texts``; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer({"data": [{"id": model}]})

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = {"role": "assistant", "content": texts}
            choices = [{"message": message, "finish_reason": "stop"}] * asked["n"]
            self.answer({"model": model, "choices": choices, "usage": {"prompt_tokens": 9, "completion_tokens": 9}})

        def answer(self, content):
            refused = key and self.headers["Authorization"] != f"Bearer {key}"
            data = json.dumps({"error": "who are you"} if refused else content).encode()
            self.send_response(401 if refused else 200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def run_file(folder: Path, where, **fields) -> Path:
    base = {
        "corpus": str(where),
        "store": "store",
        "recipe": REPHRASE,
        "generator": {"engine": "template"},
        "mix": {"max_seq_len": 64, "window": 32},
    }
    said = {name: value for name, value in {**base, **fields}.items() if value is not None}
    (folder / "run.yaml").write_text(yaml.safe_dump(said))
    return folder / "run.yaml"


def findings(path: Path, *, ask=False, deadline=2.0) -> list[Finding]:
    return check(path, Pace(), ask=ask, deadline=deadline).findings


def faults(path: Path, *, ask=False, deadline=2.0) -> list[str]:
    found = findings(path, ask=ask, deadline=deadline)
    assert all("\n" not in each.said for each in found)
    return [f"{each.what}: {each.said}" for each in found if each.level == "fault"]


def test_one_that_can_go(small_corpus, tmp_path, probed_here):
    found = check(run_file(tmp_path, small_corpus), Pace())
    assert worst(found.findings) == "ok" and found.estimate
    assert [each.what for each in found.findings if each.what.startswith("prompt of")] == ["prompt of synthetic"]
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]  # nothing is left


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mixture": {}}, "run file: .*mixture"),
        ({"recipe": {"name": "stitch", "generations": 5, "per_round": 2}}, "run file: .*per_round=2 does not divide"),
        (
            {"recipe": {**REPHRASE, "prompt": "none.txt"}},
            "run file: .*prompt [^ ]*none.txt cannot be read: No such file or directory$",
        ),
        (
            {"recipe": None, "streams": {"web": {"share": "1/2"}, "more": {"share": "1/3", "recipe": REPHRASE}}},
            "run file: .*1/3 \\+ 1/2 = 5/6, and have to add up to 1",
        ),
        ({"corpus": "nowhere"}, "corpus and streams: .*nowhere"),
        (
            {"recipe": None, "streams": {"all": {"share": 1, "where": {"quality": {"min": 3}}, "recipe": REPHRASE}}},
            "corpus and streams: .*quality",
        ),
        ({"recipe": {**REPHRASE, "writers": {"clever": 1}}}, "corpus and streams: .*clever"),
        ({"mix": {"max_seq_len": 64, "mask_labels": ["web", "rephrase", "mark"]}}, "mask_labels: every kind"),
        ({"store": "run.yaml/store"}, "store: .*run.yaml .it is a file.: name another folder"),
        ({"store": "run.yaml"}, "store: .*run.yaml .it is a file.: name another folder"),
        ({"store": "/proc/store"}, "store: .*cannot be made in /proc .*: name another folder"),
        ({"corpus": "run.yaml"}, "corpus and streams: .*run.yaml is a file, and a corpus a folder"),
        ({"server": {"monitor_host": "0.0.0.0"}}, "server: .*can be reached from elsewhere.*monitor_token_env"),
        ({"store": "s4://bucket/x"}, "run file: .*known are s3"),
    ],
)
def test_a_run_file_that_cannot_be(small_corpus, tmp_path, fields, said):
    (found,) = faults(run_file(tmp_path, small_corpus, **fields))
    assert re.search(said, found), found


@pytest.fixture
def own_corpus(small_corpus, tmp_path) -> Path:
    return Path(shutil.copytree(small_corpus, tmp_path / "corpus"))


def test_a_corpus_that_is_broken(own_corpus, tmp_path, probed_here):
    path = run_file(tmp_path, own_corpus)
    shard = sorted((own_corpus / "train").glob("*.mds"))[-1]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    (found,) = faults(path)
    assert f"{shard} has {len(whole) - 1} bytes" in found
    shard.unlink()
    (found,) = faults(path)
    assert f"{shard} cannot be read (No such file or directory)" in found and "prepare" in found
    assert faults(path, ask=True) == [found]  # once, though those who write would end with it too
    shard.write_bytes(whole)
    tokenizer = own_corpus / "tokenizer.json"
    before = tokenizer.read_text()
    tokenizer.write_text(before.replace('"Ġthe"', '"Ġeth"'))
    (found,) = faults(path)
    assert f"{tokenizer} is not the tokenizer" in found
    tokenizer.write_text(before)
    documents = own_corpus / "train" / "documents.npy"
    documents.write_bytes(documents.read_bytes()[:-8])
    (found,) = faults(path)
    assert "documents.npy" in found


def test_two_tokenizers(small_corpus, tmp_path):
    other = make_corpus(tmp_path, make_texts(20), train_tokenizer=300)
    streams = {"web": {"share": "1/2", "corpus": str(other)}, "more": {"share": "1/2", "recipe": REPHRASE}}
    (found,) = faults(run_file(tmp_path, small_corpus, recipe=None, streams=streams))
    assert "have different tokenizers" in found


def test_a_store_that_cannot_be_written(as_nobody):
    corpus = make_corpus(as_nobody, make_texts(20))
    (as_nobody / "locked").mkdir()
    with read_only(as_nobody / "locked"):
        (found,) = faults(run_file(as_nobody, corpus, store="locked/store"))
    assert "cannot be made" in found and "mend the rights" in found
    LmdbStore(as_nobody / "store").add("notes", {b"a": b"b"})
    path = run_file(as_nobody, corpus)
    assert faults(path) == []
    with read_only(as_nobody / "store"):
        gc.collect()  # an environment that is open knows better
        (found,) = faults(path)
    assert "is read-only here" in found


def test_a_store_that_is_damaged_or_of_others(small_corpus, tmp_path, probed_here):
    path = run_file(tmp_path, small_corpus, store="broken")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "data.mdb").write_bytes(b"\x01" * 9000)
    (found,) = faults(path)
    assert "broken" in found and "store" in found
    store = LmdbStore(tmp_path / "store")
    register_generator(store, Generator(model="Qwen/Qwen3-8B"))
    (found,) = faults(run_file(tmp_path, small_corpus), ask=True)
    assert "serves template 1, the store has generations of Qwen/Qwen3-8B" in found
    written = make_run(small_corpus, STITCH, seed=3)
    generate(written, store, 1)
    register_scope(store, written.stream().scope)
    other = run_file(tmp_path, small_corpus, generator={"model": "template", "revision": "1"})
    (found,) = [each for each in findings(other) if each.level == "warning" and each.what == "store"]
    assert "generations of another run, of another " in found.said and "shuffle_seed" in found.said
    assert len(found.said) < 300 and "shuffle_seed: 3" in found.detail


def test_no_room(small_corpus, tmp_path, monkeypatch):
    generate(make_run(small_corpus, STITCH), LmdbStore(tmp_path / "store"), 2)
    recipe, mix = {"name": "stitch", "generations": 2}, {"max_seq_len": 64, "window": 32, "shuffle_seed": 17}
    path = run_file(tmp_path, small_corpus, recipe=recipe, generator={"model": "template", "revision": "1"}, mix=mix)
    monkeypatch.setattr(needs, "free_bytes", lambda place: 10_000)
    monkeypatch.setattr(needs, "_available", lambda: 1 << 20)
    (found,) = faults(path)
    assert found.startswith("disk: ") and "kB more" in found and "10.0 kB are free" in found and "free some" in found
    assert any("larger machine" in each.said for each in findings(path))
    path = run_file(tmp_path, small_corpus, store="none")  # of which nothing is known
    (found,) = faults(path)
    assert "does not suffice" in found and "lengths are not known" in found
    most = check(path, Pace(), ask=False).estimate.bytes
    monkeypatch.setattr(needs, "free_bytes", lambda place: most // 2)
    assert faults(path) == []
    assert ["does not suffice" in each.said for each in findings(path) if each.what == "disk"] == [True]


def test_writers_that_do_not_write(small_corpus, tmp_path, probed_here, monkeypatch):
    def asked(generator, **fields):
        (found,) = faults(run_file(tmp_path, small_corpus, generator=generator, **fields), ask=True)
        return found

    assert "endpoint" in asked({"engine": "sglang"})
    said = asked({"engine": "openai", "endpoint": "http://127.0.0.1:9"})
    assert "127.0.0.1:9: nobody listens there; check that it runs and that its endpoint is right" in said
    with endpoint() as url:
        said = asked({"engine": "openai", "endpoint": url, "model": "another"})
        assert "served" in said and "another" in said
        monkeypatch.delenv("NO_SUCH_KEY", raising=False)
        assert "NO_SUCH_KEY" in asked({"engine": "openai", "endpoint": url, "api_key_env": "NO_SUCH_KEY"})
        assert "server.gates: " in asked({"engine": "template"}, server={"gates": {"max_ratio": -1}})
    with endpoint(texts="I am sorry, but I cannot help with that.") as url:
        said = asked({"engine": "openai", "endpoint": url})
        assert "prompt of synthetic: 0 of 2 generations accepted" in said and "refusal" in said
    with endpoint(key="secret") as url:
        assert "key" in asked({"engine": "openai", "endpoint": url})


def test_a_server_that_would_be_started_is_not(small_corpus, tmp_path, probed_here):
    def path(**fields):
        known = {"engine": "sglang", "model_path": "Qwen/Qwen3-8B", "sglang_python": "run.yaml", **fields}
        return run_file(tmp_path, small_corpus, generator=known)

    assert faults(path(), ask=True) == []
    (said,) = [each.said for each in findings(path(), ask=True) if each.what == "generator"]
    assert "not asked" in said
    for model in ("/nowhere/model", "./nowhere", "models/of/mine"):
        (found,) = faults(path(model_path=model), ask=True)
        assert f"generator.model_path {model}" in found
    assert faults(path(model_path="."), ask=True) == []
    (found,) = faults(path(sglang_python="nowhere/python"), ask=True)
    assert "nowhere/python" in found and "generator.sglang_python" in found


def test_a_port_that_is_taken(small_corpus, tmp_path):
    with endpoint() as url:
        path = run_file(tmp_path, small_corpus, server={"monitor_port": int(url.rpartition(":")[2])})
        assert faults(path) == []  # this run's own server may have it
        (said,) = [each.said for each in findings(path) if each.what == "server"]
    assert "take another port" in said
    with pytest.raises(ConfigError, match="can be reached from elsewhere"):
        asyncio.run(serve_run(RunFile.load(run_file(tmp_path, small_corpus, server={"monitor_host": "0.0.0.0"}))))
    assert not (tmp_path / "store").exists()


def test_generations_that_are_read_too_often(small_corpus, tmp_path):
    mix = {"max_seq_len": 64, "window": 32, "epoch_size": 20_000}
    path = run_file(tmp_path, small_corpus, recipe={**REPHRASE, "generations": 1, "max_tokens": 64}, mix=mix)
    (said,) = [each.said for each in findings(path) if each.what == "reads"]
    assert re.search("is read [0-9,]+ times in 20,000 sequences: raise its generations", said)


def test_an_epoch_that_is_one_window(small_corpus, tmp_path):
    found = check(run_file(tmp_path, small_corpus, mix={"max_seq_len": 64, "window": 4096}), Pace(), ask=False)
    assert any("lower mix.window" in each.said for each in found.findings if each.level == "warning")
