"""A corpus whose shards take long to come: what reads it meanwhile, and what else goes on."""

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from streaming.base.storage.download import CloudDownloader

from conftest import STITCH, make_loop, make_run
from streamdocs.corpus.reader import Corpus
from streamdocs.generations import heartbeat


@pytest.fixture
def downloaded(monkeypatch) -> Counter:
    """How often each shard was downloaded, which takes a second."""
    counts = Counter()

    def download(remote, local, timeout):
        if remote.endswith(".mds"):
            counts[Path(remote).name] += 1
            time.sleep(1)
        direct_download(remote, local, timeout)

    direct_download = CloudDownloader.direct_download
    monkeypatch.setattr(CloudDownloader, "direct_download", download)
    return counts


def test_a_server_goes_on_beating_while_it_downloads(small_corpus, store, tmp_path, downloaded, monkeypatch):
    beats = []

    def beat(*arguments):
        beats.append(time.monotonic())
        return heartbeat.beat(*arguments)

    monkeypatch.setattr("streamdocs_server.work.loop.beat", beat)
    monkeypatch.setattr("streamdocs_server.work.loop._BEAT_SECONDS", 0.02)
    run = make_run(small_corpus, STITCH)
    run.stream().scope.corpus = run.stream().scope.sources.corpus = run.corpus = Corpus(
        tmp_path / "cache", str(small_corpus)
    )
    loop = make_loop(run, store)
    asyncio.run(asyncio.wait_for(loop.run(), 60))
    assert loop.finished and len(downloaded) > 3 and set(downloaded.values()) == {1}
    assert max(after - before for before, after in pairwise([*beats, time.monotonic()])) < 0.8


SERVER = """
import sys, time
from pathlib import Path
from streaming.base.storage.download import CloudDownloader
direct_download = CloudDownloader.direct_download

def download(remote, local, timeout):
    if remote.endswith(".mds"):
        Path(sys.argv[2]).touch()
        time.sleep(120)
    direct_download(remote, local, timeout)

CloudDownloader.direct_download = download
from streamdocs_server.cli import app
app([sys.argv[1]])
"""


def test_a_server_ends_when_it_is_told_to_in_the_middle_of_a_download(small_corpus, tmp_path):
    run_file, begun, cache = tmp_path / "run.yaml", tmp_path / "begun", tmp_path / "cache"
    fields = {"corpus": str(cache), "remote": str(small_corpus), "store": "store"}
    run_file.write_text(yaml.safe_dump({**fields, "recipe": {"name": "stitch", "generations": 1}}))
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(run_file), str(begun)], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 180
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    Corpus(cache, str(small_corpus))  # whoever comes next takes away what was half there
    assert not list(cache.rglob(".*unfinished*"))


def test_threads_read_texts_while_shards_come_and_go(large_corpus, tmp_path):
    whole = Corpus(large_corpus)
    documents = [number * 379 % 1000 for number in range(600)]
    limit = 2 * max(path.stat().st_size for path in (large_corpus / "train").glob("*.mds"))
    corpus = Corpus(tmp_path, str(large_corpus), cache_limit=limit)
    with ThreadPoolExecutor(8) as threads:
        texts = list(threads.map(corpus.text, documents))
    assert texts == [whole.text(document) for document in documents]
