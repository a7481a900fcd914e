"""Answers on their way into a store that machines share are in the cache of the node, whoever is killed meanwhile."""

import asyncio
import os

from servers import until
from streamdocs.generations.encoding import TextRecord
from streamdocs.recipes.keys import Key
from streamdocs.store import SharedStore
from streamdocs.store.objects.base import BusyError
from streamdocs_server.work.commit import Committer


def test_answers_are_kept_while_earlier_ones_are_waited_for(tmp_path, monkeypatch):
    store = SharedStore(f"file://{tmp_path}/shared", tmp_path / "one")
    store.update(b"begun", lambda _: b"1")
    objects, journal = store._objects._objects, os.path.join(store.cache, "journal")
    create = objects.create

    def refuse(*_):
        raise BusyError("gone")

    async def work() -> None:
        monkeypatch.setattr(objects, "create", refuse)
        committer = Committer(store)
        given = [
            committer.give_texts({Key(bytes([number] * 16), bytes(8)): TextRecord([f"Text {number}."], [None])})
            for number in range(3)
        ]
        await until(lambda: os.path.isdir(journal) and len(os.listdir(journal)) == 3)
        given[2].cancel()  # nobody waits for it, and it is written as well
        assert not any(each.done() for each in given[:2])
        monkeypatch.setattr(objects, "create", create)
        await committer.flush()
        await asyncio.gather(*given[:2])

    asyncio.run(work())
    assert os.listdir(journal) == [] and not store.node.journal.keys
    with SharedStore(f"file://{tmp_path}/shared", tmp_path / "two").read() as snapshot:
        assert len(list(snapshot.keys("texts", b""))) == 3
