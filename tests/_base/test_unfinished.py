import multiprocessing
import os
import signal
import socket

import pytest

from streamdocs._base.unfinished import remove_stale, unfinished, write_whole


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"first")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("streamdocs._base.unfinished.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_whole(path, b"second")
    assert path.read_bytes() == b"first" and os.listdir(tmp_path) == ["file"]
    write_whole(path, b"third")
    assert path.read_bytes() == b"third"


def leave_something(path, left) -> None:
    unfinished(path).write_bytes(b"half")
    folder = unfinished(path.with_name("folder"))
    folder.mkdir()
    (folder / "part").write_bytes(b"")
    left.set()
    signal.pause()


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    context = multiprocessing.get_context("fork")
    left = context.Event()
    child = context.Process(target=leave_something, args=(path, left))
    child.start()
    assert left.wait(60)
    unfinished(path).write_bytes(b"ours")
    elsewhere = tmp_path / f".file.unfinished-{child.pid}-0a-not-{socket.gethostname()}"
    elsewhere.write_bytes(b"another machine's")
    remove_stale(tmp_path)
    assert len(os.listdir(tmp_path)) == 4  # its process is alive
    child.kill()
    child.join()
    remove_stale(tmp_path, "file")
    assert len(os.listdir(tmp_path)) == 3
    remove_stale(tmp_path)
    assert len(os.listdir(tmp_path)) == 2 and elsewhere.exists()
