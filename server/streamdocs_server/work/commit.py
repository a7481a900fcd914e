"""Group commit: whatever is ready goes into one transaction, and its writers go on once it is durable."""

import asyncio
from collections.abc import Mapping

from streamdocs.store import Store, Table


class Committer:
    """Writes entries of many tasks together.

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
