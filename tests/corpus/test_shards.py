"""Shards that are downloaded, mapped and deleted, by several processes and threads at once."""

import os
import resource
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
from streaming.base.storage.download import CloudDownloader

from conftest import forked
from streamdocs.corpus.reader import Corpus
from streamdocs.errors import CorpusError


def shards_in(folder) -> list[Path]:
    return sorted((folder / "train").glob("*.mds"))


def bytes_of(paths) -> int:
    return sum(path.stat().st_size for path in paths)


def mapped_shards(folder) -> list[str]:
    """The shards that this process has mapped, with "(deleted)" after those that have no file any more."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [line.split("/")[-1] for line in lines if str(folder) in line]


def read_at_random(local, remote, limit, seed) -> tuple[bool, int]:
    """Whether a process reads what is in a corpus, and how many shards it has mapped in the end."""
    corpus, whole = Corpus(local, remote, cache_limit=limit), Corpus(remote)
    for documents in np.random.default_rng(seed).integers(0, len(whole.documents), (40, 5)):
        bodies, begins = corpus.locate(documents)
        for document, body, begin in zip(documents.tolist(), bodies, begins.tolist(), strict=True):
            tokens = whole.tokens(document).tobytes()
            if body[begin : begin + len(tokens)] != tokens or corpus.text(document) != whole.text(document):
                return False, 0
    return True, sum(".mds" in name for name in mapped_shards(local))


def test_processes_share_a_cache_that_is_much_smaller_than_the_corpus(large_corpus, tmp_path):
    largest = max(path.stat().st_size for path in shards_in(large_corpus))
    limit, processes = 4 * largest, 6
    assert len(shards_in(large_corpus)) > 30
    with forked(processes) as pool:
        same = [[each] * processes for each in (tmp_path, str(large_corpus), limit)]
        found = list(pool.map(read_at_random, *same, range(processes)))
    assert all(right for right, _ in found)
    # Each of the others may have added one while the last one looked.
    most = limit + (processes - 1) * largest
    assert bytes_of(shards_in(tmp_path)) <= most and max(mapped for _, mapped in found) <= 4 + processes
    assert not list(tmp_path.rglob(".*unfinished*"))


def map_all(local, remote, limit, shards) -> None:
    corpus = Corpus(local, remote, cache_limit=limit)
    for shard in shards:
        corpus._shard(shard)


def elsewhere(*arguments) -> None:
    with forked(1) as pool:
        pool.submit(map_all, *arguments).result()


def test_a_shard_that_is_there_already_makes_no_other_leave(large_corpus, tmp_path):
    limit = bytes_of(shards_in(large_corpus)[:3])
    elsewhere(tmp_path, str(large_corpus), limit, range(3))
    before = [path.stat().st_ino for path in shards_in(tmp_path)]
    map_all(tmp_path, str(large_corpus), limit, range(3))
    assert [path.stat().st_ino for path in shards_in(tmp_path)] == before and len(before) == 3


@pytest.mark.parametrize("limited", [True, False])
def test_what_others_delete_is_let_go_of(large_corpus, tmp_path, limited):
    limit = bytes_of(shards_in(large_corpus)[:3])
    corpus = Corpus(tmp_path, str(large_corpus), cache_limit=limit if limited else None)
    text = corpus.text(0)
    corpus._shard(1)
    body = corpus.locate(np.array([0]))[0][0]
    elsewhere(tmp_path, str(large_corpus), limit, [7, 8, 9, 0])  # the first shard comes back, as another file
    next_one = 9 if limited else 5  # without a limit it looks around only when it downloads
    corpus._shard(next_one)
    still = [name for name in mapped_shards(tmp_path) if name.endswith("(deleted)")]
    assert len(still) == 1 and text.encode() in bytes(body)  # which is looked at
    del body
    assert [name for name in mapped_shards(tmp_path) if ".mds" in name] == [f"shard.0000{next_one}.mds"]
    assert corpus.text(0) == text


def test_what_is_read_together_takes_one_download_of_each_shard(large_corpus, tmp_path, monkeypatch):
    downloaded = []

    def download(remote, local, timeout):
        downloaded.append(Path(remote).name)
        direct_download(remote, local, timeout)

    direct_download = CloudDownloader.direct_download
    monkeypatch.setattr(CloudDownloader, "direct_download", download)
    corpus = Corpus(tmp_path, str(large_corpus), cache_limit=1)
    corpus.locate(np.random.default_rng(0).permutation(len(corpus.documents)))
    assert sorted(name for name in downloaded if ".mds" in name) == [path.name for path in shards_in(large_corpus)]
    assert len(shards_in(tmp_path)) == 1


def allow_more_files(number) -> None:
    opened = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + number, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def read_with_few_files(local) -> bool:
    corpus = Corpus(local)
    allow_more_files(8)
    return all(corpus.tokenizer.decode(corpus.tokens(n)) == corpus.text(n) for n in range(len(corpus.documents)))


def test_there_may_be_more_shards_than_a_process_may_open_files(large_corpus):
    assert len(shards_in(large_corpus)) > 30
    with forked(1) as pool:
        assert pool.submit(read_with_few_files, large_corpus).result()


def read_with_no_files(local, remote) -> str:
    corpus = Corpus(local, remote)
    allow_more_files(0)
    with ExitStack() as opened, pytest.raises(CorpusError) as raised:
        with suppress(OSError):
            while True:
                opened.enter_context(open(os.devnull))
        corpus.text(0)
    return str(raised.value)


@pytest.mark.parametrize("remote", [True, False])
def test_too_many_open_files_are_called_that(large_corpus, tmp_path, remote):
    where = (tmp_path, str(large_corpus)) if remote else (large_corpus, None)
    with forked(1) as pool:
        message = pool.submit(read_with_no_files, *where).result()
    assert "Too many open files" in message and "`ulimit -n`" in message and "prepare" not in message


def test_shards_are_mapped_read_only_in_folders_of_any_name(large_corpus, tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff")  # no UTF-8
    shutil.copytree(large_corpus, folder)
    corpus = Corpus(folder)
    data = corpus._shard(0).data
    assert data.tobytes() == shards_in(folder)[0].read_bytes()
    assert not data.flags.writeable and data.data.readonly
