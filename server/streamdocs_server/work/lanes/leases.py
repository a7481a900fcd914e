"""Leases: which server works on which block, so that several do not do each other's work."""

import os
import re
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgpack
from pydantic import Field, TypeAdapter

from streamdocs._base.arrays import Count
from streamdocs._base.unfinished import is_alive
from streamdocs._base.untrusted import unpack
from streamdocs.store import Change, Changes, Store
from streamdocs.streams import GenerationScope

#: Seconds after which the leases of a server that did not renew them are free.
LEASE_SECONDS = 60.0
#: Most blocks that are leased at a time.
_MOST = 64
#: Servers that may be after the same blocks at a time, each of which is to be given some.
_RIVALS = 8

#: By server, when it said so (Unix time) and what it has.
_Leases = dict[str, tuple[float, list[int]]]
_LEASES = TypeAdapter(dict[str, tuple[Annotated[float, Field(allow_inf_nan=False)], list[Count]]])
# Not 0 and not negative: those are groups of processes.
_PROCESS = re.compile(r"[1-9][0-9]{0,8}")


def server_name() -> str:
    """A name for this server that no other has at the same time."""
    return f"{_processes()}:{os.getpid()}"


def _processes() -> str:
    """The machine, or container, within which ids of processes tell them apart."""
    names = [socket.gethostname()]
    with suppress(OSError):
        # Machines may have one name, and the first namespace has one number on all of them.
        names.append(Path("/proc/sys/kernel/random/boot_id").read_text()[:8])
        names.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return "-".join(names)


class Leases:
    """The blocks that this server works on, and those that it will work on next.

    One note says it of all servers. It is written when a block is wanted that is not leased yet, and with each sign of
    life; so what is done stays leased for some seconds, which nobody minds.

    Args:
        store, scope: Where, and of what.
        server: Name of this server.
    """

    def __init__(self, store: Store, scope: GenerationScope, server: str) -> None:
        self._store = store
        self._server = server
        self._note = b"leases/" + scope.id
        #: Those that are worked on.
        self.held: set[int] = set()
        self._next: set[int] = set()
        # What was given to it last: until it is among the others, a sign of life has to say it too.
        self._granted: set[int] = set()
        # How many are leased at a time, and when (monotonic seconds) that was last done.
        self._many, self._acquired = 1, -1e9
        # Of the others, what they said last, and when (by the store's clock) it was first heard.
        self._heard: dict[str, tuple[float, float]] = {}

    def acquire(self, numbers: Iterable[int]) -> bool:
        """Take the first of some blocks, unless a living server has it; where that is dear, also of the next.

        Whoever comes too late for the first is given what is free of the others, for later.
        """
        coming = iter(numbers)
        number = next(coming)
        if number not in self._next:
            now, pace = time.monotonic(), self._store.pace
            since, self._acquired = now - self._acquired, now
            if since < 2 * pace:
                self._many = min(2 * self._many, _MOST)
            elif since > 8 * pace:
                self._many = max(self._many // 2, 1)
            self._store.update(self._note, self._change([number, *coming]))
            self._next |= self._granted
        if number not in self._next:
            return False
        self.held.add(number)
        self._next.discard(number)
        return True

    def taken(self) -> set[int]:
        """What other living servers have, as far as that is known here."""
        with self._store.read() as snapshot:
            note = snapshot.get("notes", self._note)
        return _blocks(self._others(None if note is None else bytes(note)))

    @property
    def many(self) -> int:
        """Blocks of which ``acquire`` may want to know."""
        return _RIVALS * min(2 * self._many, _MOST) if self._store.pace else 1

    def release(self, number: int) -> None:
        """Hold a block no longer, which is done."""
        self.held.discard(number)

    def renewal(self) -> Changes:
        """What to change in the store to keep what is held, but for what another took while this one was stopped."""
        return {self._note: self._change()} if self.held or self._next else {}

    def leave(self) -> Changes:
        """What to change in the store to give all back."""
        for blocks in (self.held, self._next, self._granted):
            blocks.clear()
        return {self._note: self._change()}

    def _change(self, wanted: Sequence[int] = ()) -> Change:
        """Say what this server has, and as many of what is ``wanted`` and no other has as are leased at a time."""

        def change(old: bytes | None) -> bytes | None:
            others = self._others(old)
            taken = _blocks(others)
            if wanted:
                self._granted = set([each for each in wanted if each not in taken][: self._many])
                if not self._granted:
                    return old
            self._next -= taken
            ours = sorted((self.held | self._next | self._granted) - taken)
            said: _Leases = {**others, self._server: (time.time(), ours)} if ours else others
            return msgpack.packb(said) if said else None

        return change

    def _others(self, note: bytes | None) -> _Leases:
        """What other living servers have."""
        return {server: said for server, said in _unpack(note).items() if self._is_alive(server, said[0])}

    def _is_alive(self, server: str, said: float) -> bool:
        """Whether another server may still work on what it has."""
        if server == self._server or _is_dead(server):
            return False
        now = self._store.clock()
        heard = self._heard.get(server)
        if heard is None or heard[0] != said:
            self._heard[server] = heard = (said, now)
        if now - heard[1] >= LEASE_SECONDS:
            return False
        # By one clock, nobody alive said so long ago, or so far ahead: it is damaged, or the clock was set. Machines
        # that share a store have clocks of their own, and there it only counts that what they say changes.
        return bool(self._store.silence) or abs(time.time() - said) < LEASE_SECONDS


def _blocks(leases: _Leases) -> set[int]:
    return {number for _, numbers in leases.values() for number in numbers}


def _unpack(note: bytes | None) -> _Leases:
    """Who has which blocks; nobody where that is damaged."""
    try:
        return _LEASES.validate_python(unpack(note)) if note else {}
    except ValueError:
        return {}


def _is_dead(server: str) -> bool:
    """Whether a server ran on this machine and is gone: then there is no need to wait for its lease to run out."""
    where, _, process = server.rpartition(":")
    if where != _processes() or not _PROCESS.fullmatch(process):
        return False
    return not is_alive(int(process))
