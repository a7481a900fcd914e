"""Group commit: whatever is ready goes into one transaction, and its writers go on once it is durable."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from streamdocs.generations.encoding import Buffer, TextRecord, TokenRecord, encode_text, is_of_another
from streamdocs.recipes.keys import Key
from streamdocs.store import Store, Table
from streamdocs_server._base.beside import in_thread
from streamdocs_server._base.together import Together

#: What is written: bytes by key, and texts, which are packed on the way.
Entries = Mapping[Table, Mapping[bytes, bytes]]
Texts = Mapping[Key, TextRecord]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Record = TypeVar("_Record", TextRecord, TokenRecord)


class Committer:
    """Writes entries of many tasks together, and finds what was written.

    Args:
        store: Where to.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # Not a method: in a circle of references the store would stay open until the garbage collector comes by.
        self._writes = Together(partial(_write, store))
        self._keeping = set[asyncio.Task[None]]()

    async def add(self, entries: Entries, texts: Texts = MappingProxyType({})) -> None:
        """Write entries and texts whose keys are not there yet, together; returns when they are durable.

        Raises:
            StoreError: They could not be written.
        """
        await self._writes.do(lambda: {**entries, **_packed(texts)} if texts else entries)

    async def add_texts(self, texts: Texts) -> None:
        """The same of texts, under their keys."""
        await self.give_texts(texts)

    def give_texts(self, texts: Texts) -> "asyncio.Future[None]":
        """The same, to be waited for: they are written also where nobody does."""
        if not self._store.pace:
            return self._writes.give(lambda: _packed(texts))
        # While a store far away is waited for, what is answered would be nowhere but in memory.
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._keep_and_write(texts, done))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)
        return done

    async def _keep_and_write(self, texts: Texts, done: "asyncio.Future[None]") -> None:
        try:
            packed = await in_thread(lambda: _packed(texts))
            sent = await in_thread(lambda: self._store.keep(packed["texts"]))
            await self._writes.do(lambda: packed)
            await in_thread(sent)
        except Exception as error:
            if not done.done():
                done.set_exception(error)
        else:
            if not done.done():
                done.set_result(None)

    async def replace(self, entries: Entries, texts: Texts) -> None:
        """Write both, also in the place of others; as ``add``."""
        await asyncio.to_thread(lambda: self._store.replace({**entries, **_packed(texts)}))

    def find(
        self, table: Table, key: Key, where: bytes, decode: Callable[[Key, Buffer | None], _Record | None]
    ) -> _Record | None:
        """A record of the store; None where there is none, or where it was damaged: then it makes room for another."""
        with self._store.read() as snapshot:
            found = snapshot.get(table, where)
            record = decode(key, found)
            damaged = found is not None and record is None and not is_of_another(key, found)
            value = bytes(found) if found is not None and damaged else b""
        if damaged:
            log.warning("a damaged record in %s of store %s is written anew", table, self._store.location)
            self._store.make_room(table, where, value)
        return record

    async def beside(self, look: Callable[[], _T]) -> _T:
        """What ``look`` finds in the store: beside the event loop, where it may have to be fetched from afar."""
        return await in_thread(look) if self._store.pace else look()

    async def flush(self) -> None:
        """Wait until all that was given is written, also what nobody waits for any more."""
        while self._keeping:
            await asyncio.wait(self._keeping)
        await self._writes.flush()


def _write(store: Store, group: list[Callable[[], Entries]]) -> Sequence[None]:
    merged: dict[Table, dict[bytes, bytes]] = {}
    for entries in group:
        for table, values in entries().items():
            merged.setdefault(table, {}).update(values)
    store.add_all(merged)
    return [None] * len(group)


def _packed(texts: Texts) -> Entries:
    return {"texts": {key.digest: encode_text(key, record) for key, record in texts.items()}}
