"""A store in an object store, with a replica on each node."""

import copy
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import xxhash

from streamdocs.store.base import Asked, Change, Changes, Table, apply_to_notes
from streamdocs.store.objects.base import FORMAT
from streamdocs.store.objects.folder import FolderObjects
from streamdocs.store.objects.open import open_objects
from streamdocs.store.objects.probe import probe
from streamdocs.store.objects.reliable import ReliableObjects
from streamdocs.store.shared.bundles import bundle_named
from streamdocs.store.shared.cache import Cache
from streamdocs.store.shared.entry import BULKY
from streamdocs.store.shared.node import Node
from streamdocs.store.shared.replica import View
from streamdocs.store.shared.snapshot import SharedSnapshot

#: Seconds for which a request is repeated.
PATIENCE = 600.0
#: Seconds between two appends of what nobody waits for: the more lies in one, the fewer requests.
_PACE = 1.0


class SharedStore:
    """A store that any number of machines share. How it works: docs/many-machines.md.

    Args:
        url: Where its objects are.
        cache: Folder of this node for replicas, one for each store. It may be deleted at any time: whoever has it open
            goes on with what was there, others fill it again.
        cache_bytes: What the replica may take; default as much as there is to keep.
        patience: Seconds for which a request is repeated.

    Raises:
        ConfigError: The URL is none of objects.
    """

    def __init__(
        self, url: str, cache: str | os.PathLike[str], *, cache_bytes: int | None = None, patience: float = PATIENCE
    ) -> None:
        objects = open_objects(url)
        self.location = objects.location
        self.pace, self.silence = _PACE, patience
        self.cache = os.path.join(os.path.realpath(cache), _folder_name(self.location))
        if isinstance(objects, FolderObjects):
            objects.is_begun = Cache(self.cache).is_known
        self._objects = ReliableObjects(objects, patience)
        self.requests: Mapping[tuple[str, str], int] = self._objects.requests
        self._cache_bytes = cache_bytes
        self._node: Node | None = None
        #: How far this process, or the one that it was forked from, has seen the log.
        self._seen = 0
        self._known = False

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_node": None}

    def anew(self, cache: str | os.PathLike[str]) -> "SharedStore":
        """The same with another cache: with an empty one, for who asks what is there and not what was seen of it."""
        found = copy.copy(self)
        found.cache = os.path.join(os.path.realpath(cache), _folder_name(self.location))
        found._seen, found._known = 0, False
        return found

    @property
    def exists(self) -> bool:
        """Whether anybody ever wrote it."""
        return Cache(self.cache).is_known or self._objects.get(FORMAT) is not None

    def probe(self) -> None:
        """Try whether the object store does what a store relies on; nothing of that stays.

        Raises:
            StoreError: It does not, or does not answer.
        """
        probe(self._objects)

    @property
    def node(self) -> Node:
        """What this process has of this node's replica."""
        if self._node is None or self._node.process != os.getpid():
            node = Node(self._objects, self.cache, self._cache_bytes, _name(), self._seen)
            node.open(known=self._known)
            self._node, self._known = node, True
        return self._node

    @contextmanager
    def read(self) -> Iterator[SharedSnapshot]:
        """The store at this moment, as far as this node has seen it."""
        node = self.node
        self._seen = max(self._seen, node.seen)
        with node.replica.store.read() as snapshot:
            yield SharedSnapshot(snapshot, node.bundles.fetch)

    def add(self, table: Table, entries: Mapping[bytes, bytes], *, unless: Asked | None = None) -> int:
        """Write those entries whose key is not there yet."""
        if unless is None:
            return self.add_all({table: entries})
        return self.node.commit(lambda view: 0 if unless(view) else view.add(table, entries))

    def add_all(self, entries: Mapping[Table, Mapping[bytes, bytes]]) -> int:
        """Write those entries whose key is not there yet, in several tables at once."""
        texts = entries.get("texts", {})
        kept = self.node.journal.keys if texts else ()
        if new := {key: value for key, value in texts.items() if key not in kept}:
            self.keep(new)
        is_urgent = BULKY[0] not in entries and BULKY[1] not in entries
        added = self.node.commit(
            lambda view: sum(view.add(table, values) for table, values in entries.items()),
            pause=0.0 if is_urgent else _PACE,
        )
        self.node.journal.sent(texts)
        return added

    def keep(self, texts: Mapping[bytes, bytes]) -> Callable[[], None]:
        """Keep texts in the cache until they were sent."""
        return self.node.journal.keep(texts)

    def replace(self, entries: Mapping[Table, Mapping[bytes, bytes]]) -> None:
        """Write entries of several tables, also over those whose key is there, at once."""

        def change(view: View) -> None:
            for table, values in entries.items():
                view.put(table, values)

        self.node.commit(change)

    def update(self, key: bytes, change: Change) -> bytes | None:
        """Replace a note by ``change(note)``."""
        return self.update_all({key: change})[key]

    def update_all(self, changes: Changes) -> dict[bytes, bytes | None]:
        """The same of several notes at once."""
        return self.node.commit(lambda view: apply_to_notes(view, changes))

    def update_soon(self, key: bytes, change: Change) -> None:
        """Replace a note some time."""
        self.node.commit_soon(lambda view: apply_to_notes(view, {key: change}))

    def delete(self, table: Table, keys: Iterable[bytes]) -> int:
        """Delete these; how many there were."""
        return self.node.commit(lambda view: view.delete(table, keys))

    def make_room(self, table: Table, key: bytes, damaged: bytes) -> None:
        """Fetch a value anew that is damaged here; delete it where it is damaged there."""
        node = self.node
        bundle = node.replica.forget(table, key, damaged) if table in BULKY else None
        if not bundle or node.bundles.get(bundle).get(key) in (None, damaged):
            self.delete(table, [key])

    def clock(self) -> float:
        """Seconds of which others' writes could be seen."""
        return self.node.connected_seconds

    def gone(self) -> dict[Table, set[bytes]]:
        """Keys of which the bundle is gone from the object store, by table: damage."""
        known = self.node.replica.bundles().keys()
        missing = known - self._listed().keys()
        return self.node.replica.keys_in(missing) if missing else {}

    def account(self) -> dict[str, int]:
        """How it lies in the object store: entries of the log; bundles, their bytes, and those that nobody wants."""
        replica = self.node.replica
        known, dead = replica.bundles(), {each.bundle for each in replica.dead()}
        there = self._listed()
        unknown = [size for bundle, size in there.items() if bundle not in known and bundle not in dead]
        return {
            "log_entries": replica.head(),
            "bundles": len(known),
            "bundle_bytes": sum(known.values()),
            "bundles_missing": len(known.keys() - there.keys()),
            "bundles_to_be_deleted": len(dead),
            "bundles_unknown": len(unknown),  # of who was killed before the log had them
            "bundle_bytes_unknown": sum(unknown),
        }

    def size(self) -> int:
        """Bytes in use in the replica of this node."""
        return self.node.replica.store.size()

    def _listed(self) -> dict[bytes, int]:
        """Bundles that are there, and their bytes."""
        listed = ((bundle_named(each.name), each.size) for each in self._objects.list("bundles/"))
        return {bundle: size for bundle, size in listed if bundle}


def _folder_name(location: str) -> str:
    """One that people recognise, and that no other store has."""
    return f"{re.sub('[^a-z0-9]+', '-', location.lower())[:40]}-{xxhash.xxh3_64_hexdigest(location)}"


def _name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
