"""Leases: which server works on which block, so that several do not do each other's work."""

import os
import re
import socket
import time
from typing import Annotated

import msgpack
from pydantic import Field, TypeAdapter

from streamdocs._base.unfinished import is_alive
from streamdocs._base.untrusted import unpack
from streamdocs.generations.progress import block_key
from streamdocs.store import Store
from streamdocs.streams import GenerationScope

#: Seconds after which a lease that was not renewed is free.
LEASE_SECONDS = 60.0

_LEASE = TypeAdapter(tuple[str, Annotated[float, Field(allow_inf_nan=False)]])
# Not 0 and not negative: those are groups of processes.
_PROCESS = re.compile(r"[1-9][0-9]{0,8}")


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
        if taken := self._is_mine(self._store.update(self._key(number), self._take)):
            self.held.add(number)
        return taken

    def renew(self) -> None:
        """Keep what is held, but for what another server took while this one was stopped."""
        for number in list(self.held):
            self._store.update(self._key(number), lambda old: self._mine() if self._is_mine(old) else old)

    def release(self, number: int) -> None:
        """Give a block back, done or not."""
        self.held.discard(number)
        self._store.update(self._key(number), lambda old: None if self._is_mine(old) else old)

    def _take(self, lease: bytes | None) -> bytes | None:
        return lease if self._is_taken(lease) else self._mine()

    def _is_mine(self, lease: bytes | None) -> bool:
        return lease is not None and _unpack(lease)[0] == self._server

    def _mine(self) -> bytes:
        return msgpack.packb([self._server, time.time() + LEASE_SECONDS])

    def _is_taken(self, lease: bytes | None) -> bool:
        if lease is None:
            return False
        server, expires = _unpack(lease)
        # Nobody takes a block for longer, so that one which says so is damaged, or the clock was set back.
        return server != self._server and 0 < expires - time.time() < 2 * LEASE_SECONDS and not _is_dead(server)

    def _key(self, number: int) -> bytes:
        return b"lease/" + block_key(self._scope, number)


def _unpack(lease: bytes | memoryview) -> tuple[str, float]:
    """Who has a block, and until when (Unix time); nobody where that is damaged."""
    try:
        return _LEASE.validate_python(unpack(lease))
    except ValueError:
        return "", 0.0


def _is_dead(server: str) -> bool:
    """Whether a server ran on this machine and is gone: then there is no need to wait for its lease to run out."""
    host, _, process = server.rpartition(":")
    if host != socket.gethostname() or not _PROCESS.fullmatch(process):
        return False
    return not is_alive(int(process))
