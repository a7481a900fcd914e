"""What a node keeps until it was sent."""

import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest

from streamdocs._base.unfinished import identity
from streamdocs.errors import StoreError
from streamdocs.store import SharedStore
from streamdocs.store.objects.base import BusyError
from streamdocs.store.shared.journal import Journal


@pytest.mark.parametrize(
    "moment", [(os, "fsync"), (Path, "mkdir"), (Path, "iterdir"), (Path, "open"), (Path, "replace")]
)
def test_a_cache_that_is_deleted_while_a_text_is_kept(moment, tmp_path, monkeypatch):
    """At any moment of it, some times in a row."""
    journal = Journal(str(tmp_path / "cache" / "journal"))
    where, name = moment
    real, deleted = getattr(where, name), []

    def delete_before(*arguments, **named):
        if len(deleted) < 3:
            deleted.append(1)
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        return real(*arguments, **named)

    monkeypatch.setattr(where, name, delete_before)
    sent = journal.keep({b"k": b"text"})
    assert [texts for _, texts in journal.left()] == [{b"k": b"text"}] and len(deleted) == 3
    sent()
    assert not list(journal.left()) and not journal.keys


def test_a_cache_that_no_folder_can_be_made_of_is_told(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(StoreError, match="make room, or name another cache"):
        Journal(str(tmp_path / "cache")).keep({b"k": b"text"})


def test_whose_a_file_is_where_ids_of_processes_come_again(tmp_path):
    journal = Journal(str(tmp_path))

    def live() -> None:
        journal.keep({b"k": b"text"})
        os.kill(os.getpid(), signal.SIGSTOP)

    child = multiprocessing.get_context("fork").Process(target=live)
    child.start()
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    (path,) = tmp_path.iterdir()
    assert path.name.startswith(identity(child.pid)) and not list(journal.left())
    # Who was killed had the id that a living process has by now.
    path.rename(tmp_path / path.name.replace(identity(child.pid), f"{child.pid}-{'0' * 16}"))
    assert [texts for _, texts in journal.left()] == [{b"k": b"text"}]
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not identity(child.pid)  # also as long as nobody asked how it ended
    child.join()


def test_a_text_that_is_sent_at_the_second_try_is_kept_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr("streamdocs.store.shared.node.follow", lambda _: None)  # which may try again in between
    store = SharedStore(f"file://{tmp_path}/shared", tmp_path / "one", patience=0.2)
    store.update(b"begun", lambda _: b"1")
    journal = Path(store.cache, "journal")

    def refuse(*_):
        raise BusyError("gone")

    with monkeypatch.context() as patch, pytest.raises(StoreError):
        patch.setattr(store._objects._objects, "create", refuse)
        store.add("texts", {b"a": b"text", b"b": b"text"})
    assert len(list(journal.iterdir())) == 1
    assert store.add("texts", {b"a": b"text"}) == 1 and store.node.journal.keys == {b"b"}
    assert len(list(journal.iterdir())) == 1
    assert store.add("texts", {b"b": b"text", b"c": b"text"}) == 2
    assert not list(journal.iterdir()) and not store.node.journal.keys
