"""Leases: which server works on which block, so that several do not do each other's work."""

import os
import socket
import time

import msgpack

from streamdocs.progress import block_key
from streamdocs.run import GenerationScope
from streamdocs.store import Store

#: Seconds after which a lease that was not renewed is free.
LEASE_SECONDS = 60.0


def server_name() -> str:
    """A name for this server that no other has at the same time."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Leases:
    """The blocks that this server works on.

    Args:
        store, scope: Where, and of what.
        server: Name of this server.
    """

    def __init__(self, store: Store, scope: GenerationScope, server: str) -> None:
        self._store = store
        self._scope = scope
        self._server = server
        self.held: set[int] = set()

    def acquire(self, number: int) -> bool:
        """Take a block, unless a living server has it."""
        self._store.update(self._key(number), lambda old: old if self._is_taken(old) else self._mine())
        with self._store.read() as snapshot:
            found = snapshot.get("notes", self._key(number))
            if found is not None and msgpack.unpackb(found)[0] == self._server:
                self.held.add(number)
        return number in self.held

    def renew(self) -> None:
        """Keep what is held."""
        for number in list(self.held):
            self._store.update(self._key(number), lambda _: self._mine())

    def release(self, number: int) -> None:
        """Give a block back, done or not."""
        self.held.discard(number)
        self._store.update(self._key(number), lambda _: None)

    def _mine(self) -> bytes:
        packed: bytes = msgpack.packb([self._server, time.time() + LEASE_SECONDS])
        return packed

    def _is_taken(self, lease: bytes | None) -> bool:
        if lease is None:
            return False
        server, expires = msgpack.unpackb(lease)
        return server != self._server and time.time() < expires and not _is_dead(server)

    def _key(self, number: int) -> bytes:
        return b"lease/" + block_key(self._scope, number)


def _is_dead(server: str) -> bool:
    """Whether a server ran on this machine and is gone: then there is no need to wait for its lease to run out."""
    host, _, process = server.rpartition(":")
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
