"""Group commit: whatever is ready goes into one transaction, and its writers go on once it is durable."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

from streamdocs.generations.encoding import Buffer, TextRecord, TokenRecord, is_of_another
from streamdocs.recipes.keys import Key
from streamdocs.store import Store, Table

log = logging.getLogger(__name__)

_Record = TypeVar("_Record", TextRecord, TokenRecord)


class Committer:
    """Writes entries of many tasks together, and finds what was written.

    Args:
        store: Where to.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[tuple[Mapping[Table, Mapping[bytes, bytes]], asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, entries: Mapping[Table, Mapping[bytes, bytes]]) -> None:
        """Write entries whose keys are not there yet; returns when they are durable.

        Raises:
            StoreError: They could not be written.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        await done

    async def replace(self, entries: Mapping[Table, Mapping[bytes, bytes]]) -> None:
        """Write entries, also in the place of others; as ``add``."""
        await asyncio.to_thread(self._store.replace, entries)

    def find(
        self, table: Table, key: Key, where: bytes, decode: Callable[[Key, Buffer | None], _Record | None]
    ) -> _Record | None:
        """A record of the store; None where there is none, or where it was damaged: then it makes room for another."""
        with self._store.read() as snapshot:
            found = snapshot.get(table, where)
            record = decode(key, found)
            damaged = found is not None and record is None and not is_of_another(key, found)
        if damaged:
            log.warning("a damaged record in %s of store %s is written anew", table, self._store.location)
            self._store.delete(table, [where])
        return record

    async def flush(self) -> None:
        """Wait until all that was given is written, also what nobody waits for any more."""
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            merged: dict[Table, dict[bytes, bytes]] = {}
            for entries, _ in group:
                for table, values in entries.items():
                    merged.setdefault(table, {}).update(values)
            failed: Exception | None = None
            try:
                await asyncio.to_thread(self._store.add_all, merged)
            except Exception as error:
                failed = error
            for _, done in group:
                if not done.done():
                    done.set_exception(failed) if failed else done.set_result(None)
